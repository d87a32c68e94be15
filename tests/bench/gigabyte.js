#!/usr/bin/env node
// SPDX-License-Identifier: AGPL-3.0-or-later
'use strict';

/*
 * A gigabyte of photographs through tablet, courier and dock: the peak memory of each, whatever the amount. The server remembers
 * which revisions it was sent and forgets the rest. The environment: BIN, MEGABYTES (1000).
 */

const crypto = require('crypto');
const fs = require('fs');
const http = require('http');
const os = require('os');
const path = require('path');
const { World, secretFile, csv } = require('../web/stations');

const env = process.env;
const MEGABYTES = Number(env.MEGABYTES || 1000);
const PHOTO_BYTES = 1000000, DOCS_A_BODY = 20;
const LIMIT_MS = 1800000;

function peak(program) {
    const status = fs.readFileSync(`/proc/${program.child.pid}/status`, 'utf8');
    return (Number(/VmHWM:\s+(\d+)/.exec(status)[1]) / 1024).toFixed(0);
}

function body(first) {
    const docs = [];
    for (let i = first; i < first + DOCS_A_BODY; i++) {
        const rev = crypto.createHash('md5').update(String(i)).digest('hex');
        docs.push({ _id: `photo-${i}`, _rev: `1-${rev}`, _revisions: { start: 1, ids: [rev] }, type: 'data_record', form: 'photo',
            _attachments: { 'user-file-photo.jpg': { content_type: 'image/jpeg', revpos: 1,
                data: crypto.randomBytes(PHOTO_BYTES).toString('base64') } } });
    }
    return JSON.stringify({ docs, new_edits: false });
}

// Answers as a CouchDB would that has what it was sent.
function forgetfulServer() {
    const revs = new Set();
    const missing = (asked) => Object.fromEntries(Object.entries(asked)
        .map(([id, list]) => [id, { missing: list.filter((rev) => !revs.has(`${id} ${rev}`)) }]).filter(([, a]) => a.missing.length));
    const answer = (url, text) => {
        if (url.endsWith('/_revs_diff')) {
            return [200, missing(JSON.parse(text))];
        }
        if (url.endsWith('/_bulk_docs')) {
            JSON.parse(text).docs.forEach((doc) => revs.add(`${doc._id} ${doc._rev}`));
            return [201, []];
        }
        return [200, { couchdb: 'Welcome', version: '3.5.0', uuid: 'f' }];
    };
    const server = http.createServer(async (req, res) => {
        const chunks = [];
        for await (const chunk of req.headers['content-encoding'] === 'gzip' ? req.pipe(require('zlib').createGunzip()) : req) {
            chunks.push(chunk);
        }
        const [status, json] = answer(req.url.split('?')[0], Buffer.concat(chunks).toString());
        res.writeHead(status, { 'Content-Type': 'application/json' }).end(JSON.stringify(json));
    });
    return new Promise((ready) => server.listen(0, '127.0.0.1', () => ready({ revs, url: `http://127.0.0.1:${server.address().port}` })));
}

async function gigabyte(dir) {
    const world = await World.create({ dir, bin: path.resolve(env.BIN || path.join(__dirname, '../../build/gcc/bin')) });
    const server = await forgetfulServer();
    const account = secretFile(path.join(dir, 'account.csv'), csv([['username', 'password'], ['admin', 'password']]));
    const tablet = await world.tablet('t1', { user: 'chw1' }), courier = await world.courier('c1');
    const dock = await world.dock('dock', { url: server.url, kind: 'couchdb', db: 'medic', account });
    const count = Math.ceil(MEGABYTES * 1e6 / PHOTO_BYTES / DOCS_A_BODY) * DOCS_A_BODY;

    await tablet.start();
    const { username, password } = new URL(tablet.url());
    for (let first = 0; first < count; first += DOCS_A_BODY) {
        const answer = await fetch(`http://127.0.0.1:${tablet.port}/medic/_bulk_docs`, { method: 'POST', body: body(first),
            headers: { 'Content-Type': 'application/json', Authorization: `Basic ${btoa(`${username}:${password}`)}` } });
        if (answer.status !== 201) {
            throw new Error(`tablet: ${answer.status} ${await answer.text()}`);
        }
    }
    const { batches: { held, held_bytes: bytes } } = await tablet.status();
    await courier.plug(tablet);
    await courier.waitStatus('has all', (b) => b.held >= held && !b.partial, { timeout_ms: LIMIT_MS, programs: [tablet.program] });
    console.log(`${(bytes / 1e6).toFixed(0)} MB in ${held} batches: tablet's peak memory ${peak(tablet.program)} MB (bound 64), ` +
        `courier's taking it in ${peak(courier.program)} MB (bound 16)`);
    await courier.unplug();
    await tablet.stop();
    await courier.plug(dock);
    const running = dock.start();
    await running.waitLine(/connected/, 30000);
    await dock.waitStatus('has applied all', (b) => b.applied >= held, { timeout_ms: LIMIT_MS, programs: [running] });
    console.log(`dock's peak memory ${peak(running)} MB (bound 128), courier's giving it away ${peak(courier.program)} MB (bound 16); ` +
        `${server.revs.size} of ${count} documents arrived`);
    await dock.stop();
    await courier.unplug();
}

const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'b-'));
gigabyte(dir).catch((e) => {
    console.error(`bench: ${e.stack || JSON.stringify(e)}`);
    process.exitCode = 1;
}).finally(() => {
    fs.rmSync(dir, { recursive: true, force: true });
    process.exit();
});
