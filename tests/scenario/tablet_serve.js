#!/usr/bin/env node
// SPDX-License-Identifier: AGPL-3.0-or-later
'use strict';

/*
 * What the tablet serves from its shelf, over real HTTP: every document as the server has it, whatever its id; waiting answers that
 * begin at once, live, and end when something comes; many of them at a time, and clients that leave in the middle, hinder nobody;
 * answers in time and in 64 MB. DOCS= how many documents.
 * timeout 240
 */

const assert = require('assert');
const fs = require('fs');
const http = require('http');
const net = require('net');
const docs = require('../web/docs');
const { remote, visitTablet, visitDock } = require('../web/journey');
const { scenario } = require('../web/scenario');

const MIB = 1 << 20;
const DOCS = Number(process.env.DOCS || 3000);
const ODD = ['a/b', 'a%2Fb', 'q"\'\\', '👶🏾 é', 'a+b?c#d&e=f', '_design/x', 'k'.repeat(1024)];
const encode = (id) => id.split('/').length === 2 && id.startsWith('_design/') ? `_design/${encodeURIComponent(id.slice(8))}` :
    encodeURIComponent(id);

// One request. {status, headers, bytes, json}; onData sees each piece with the time since the beginning.
function ask(tablet, method, where, { body, headers = {}, onData, agent } = {}) {
    return new Promise((done, failed) => {
        const start_ms = performance.now();
        const text = body === undefined ? undefined : JSON.stringify(body);
        const req = http.request({ host: '127.0.0.1', port: tablet.port, method, path: where, agent, auth: `${tablet.user}:${tablet.secret}`,
            headers: { accept: 'application/json', ...(text ? { 'content-type': 'application/json' } : {}), ...headers } }, (res) => {
            const pieces = [];
            res.on('data', (piece) => {
                pieces.push(piece);
                if (onData) {
                    onData(piece.toString(), performance.now() - start_ms, req);
                }
            });
            res.on('end', () => {
                const bytes = Buffer.concat(pieces), ms = performance.now() - start_ms;
                const json = /json/.test(res.headers['content-type'] || '') && bytes.length ? JSON.parse(bytes) : null;
                done({ status: res.statusCode, headers: res.headers, bytes, json, ms });
            });
            res.on('error', failed);
        });
        req.on('error', failed);
        req.setTimeout(60000, () => req.destroy(new Error(`${method} ${where}: no answer`)));
        req.end(text);
    });
}

function peakBytes(tablet) {
    return Number(fs.readFileSync(`/proc/${tablet.program.child.pid}/status`, 'utf8').match(/VmHWM:\s+(\d+)/)[1]) * 1024;
}

const bulkGet = (tablet, rows, agent) => ask(tablet, 'POST', '/medic/_bulk_get?revs=true&attachments=true',
    { agent, body: { docs: rows.map(({ id, changes }) => ({ id, rev: changes[0].rev })) } });

async function oddIds(tablet, there) {
    for (const id of ODD) {
        const { json } = await ask(tablet, 'GET', `/medic/${encode(id)}?revs=true&attachments=true`);
        assert.deepStrictEqual(json, await there.get(id, { revs: true, attachments: true }));
        const attachment = await ask(tablet, 'GET', `/medic/${encode(id)}/${encodeURIComponent('x/y é.txt')}`);
        assert.deepStrictEqual([attachment.status, attachment.bytes.toString()], [200, `of ${id}`]);
        assert.strictEqual(attachment.headers['content-security-policy'], 'sandbox');
        const head = await ask(tablet, 'HEAD', `/medic/${encode(id)}/${encodeURIComponent('x/y é.txt')}`);
        assert.deepStrictEqual([head.status, head.headers['content-length'], head.headers['content-type'], head.bytes.length],
            [200, String(Buffer.byteLength(`of ${id}`)), 'text/plain', 0]);
        assert.match(head.headers.etag, /^"md5-.*"$/);
        const only = await ask(tablet, 'POST', '/medic/_changes?filter=_doc_ids', { body: { doc_ids: [id] } });
        assert.deepStrictEqual(only.json.results.map((row) => row.id), [id]);
    }
    assert.strictEqual((await ask(tablet, 'GET', `/medic/${'k'.repeat(1025)}`)).status, 404);
    assert.strictEqual((await ask(tablet, 'GET', '/medic/a%00b')).status, 400);
    assert.strictEqual((await ask(tablet, 'GET', `/medic/${'k'.repeat(70000)}`)).status, 414);
}

async function limits(tablet) {
    const many = Array.from({ length: 10000 }, (_, i) => `0f9ae2f4-6a4e-4b52-a9f4-3c2c7f1b${i}`);
    const answers = await Promise.all([0, 1, 2].map(() => ask(tablet, 'POST', '/medic/_changes?filter=_doc_ids',
        { body: { doc_ids: [...many, 'a/b'] } })));
    for (const { status, json } of answers) {
        assert.deepStrictEqual([status, json.results.map((row) => row.id)], [200, ['a/b']]);
    }
    for (const where of ['/medic/_changes?filter=_doc_ids', '/medic/_bulk_get', '/api/v1/replication/get-deletes']) {
        assert.strictEqual((await ask(tablet, 'POST', where, { body: { doc_ids: 'x'.repeat(3 * MIB) } })).status, 413);
    }
    for (const query of ['since=x', 'since=-1', 'limit=-1', 'feed=continuous']) {
        assert.strictEqual((await ask(tablet, 'GET', `/medic/_changes?${query}`)).status, 400);
    }
    const { json } = await ask(tablet, 'GET', '/medic/_changes?limit=99999999999999999999999');
    assert.ok(json.results.length > DOCS && json.pending === 0);
    assert.strictEqual((await ask(tablet, 'GET', '/api/v1/replication/get-ids')).status, 503, 'no view: no list, not an empty one');
}

// Milliseconds of processor time that the tablet has used.
function usedMs(tablet) {
    const fields = fs.readFileSync(`/proc/${tablet.program.child.pid}/stat`, 'utf8').split(') ')[1].split(' ');
    return (Number(fields[11]) + Number(fields[12])) * 10;
}

// The 95th percentile of what requests take, and the processor time of each: the machine may be busy with other things.
async function measure(what, tablet, requests) {
    const agent = new http.Agent({ keepAlive: true }), times = [], before_ms = usedMs(tablet);
    for (const rows of requests) {
        const { json, ms } = await bulkGet(tablet, rows, agent);
        assert.deepStrictEqual(json.results.map((each) => each.docs[0].ok._id), rows.map((row) => row.id));
        times.push(ms);
    }
    const used_ms = (usedMs(tablet) - before_ms) / requests.length;
    agent.destroy();
    times.sort((a, b) => a - b);
    console.log(`_bulk_get of 100 ${what}: 95th percentile ${times[Math.floor(times.length * 0.95)].toFixed(1)} ms, ` +
        `processor ${used_ms.toFixed(1)} ms each`);
    return used_ms;
}

async function inTime(tablet) {
    const all = (await ask(tablet, 'GET', '/medic/_changes?style=all_docs')).json.results
        .filter((row) => !row.deleted && row.id !== 'large');
    const ordered = [], scattered = [];
    for (let at = 0; at + 100 <= all.length && ordered.length < 100; at += 100) {
        ordered.push(all.slice(at, at + 100));
    }
    for (let i = 0; i < 30; i++) {
        scattered.push(Array.from({ length: 100 }, (_, n) => all[(i * 31 + n * 7919) % all.length]));
    }
    assert.ok(await measure(`in order among ${all.length}`, tablet, ordered) <= 50);
    assert.ok(await measure('scattered', tablet, scattered) <= 400);
}

// Many who wait, and those who are told at once; when something comes, all of them hear.
async function waiting(tablet, comes) {
    const last = (await ask(tablet, 'GET', '/medic/_changes?since=now')).json.last_seq;
    const beats = [];
    const waits = Array.from({ length: 40 }, (_, i) => ask(tablet, 'GET',
        `/medic/_changes?feed=longpoll&since=${last}&heartbeat=${i === 0 ? 300 : 5000}`,
        { onData: i === 0 ? (text, ms) => beats.push([text, ms]) : undefined }));
    const short = await ask(tablet, 'GET', `/medic/_changes?feed=longpoll&since=${last}&timeout=700`);
    assert.ok(short.ms >= 700 && short.ms < 5000 && short.json.results.length === 0, `${short.ms} ms`);
    assert.ok(beats[0][1] < 500 && beats[0][0].startsWith('{"results":['), 'the answer begins at once');
    assert.ok(beats.filter(([text]) => text === '\n').length >= 1, 'and it lives');
    assert.strictEqual((await ask(tablet, 'GET', '/medic')).status, 200, 'others are served');
    await comes();
    for (const { json } of await Promise.all(waits)) {
        assert.ok(json.results.length > 0 && json.last_seq > last);
    }
}

// More than may wait: those who wait longest are answered, everybody else is served. (64 connections are the most.)
async function tooManyWait(tablet) {
    const sockets = Array.from({ length: 55 }, () => net.connect(tablet.port, '127.0.0.1'));
    let answered = 0;
    const authorization = 'Basic ' + Buffer.from(`${tablet.user}:${tablet.secret}`).toString('base64');
    for (const socket of sockets) {
        socket.on('data', (data) => { answered += /last_seq/.test(data); });
        socket.write(`GET /medic/_changes?feed=longpoll&since=999999&heartbeat=60000 HTTP/1.1\r\nHost: 127.0.0.1\r\n` +
            `Authorization: ${authorization}\r\n\r\n`);
    }
    for (let i = 0; i < 100 && answered < 7; i++) {
        await new Promise((tick) => setTimeout(tick, 50));
    }
    assert.strictEqual(answered, 7);
    assert.strictEqual((await ask(tablet, 'GET', '/medic')).status, 200);
    sockets.forEach((socket) => socket.destroy());
}

// Clients that leave in the middle of what they asked for.
async function leaving(tablet) {
    for (let i = 0; i < 20; i++) {
        await ask(tablet, 'GET', '/medic/_changes?include_docs=true&attachments=true',
            { onData: (text, ms, req) => req.destroy(new Error('leaves')) }).catch((error) => assert.match(error.message, /leaves|aborted/));
    }
    assert.strictEqual((await ask(tablet, 'GET', '/medic')).status, 200);
}

scenario('the tablet serves its shelf', async ({ world, seed }) => {
    const server = await world.server([{ user: 'chw1' }], { kind: 'couchdb' }), there = remote(server.admin);
    const tablet = await world.tablet('t1', { user: 'chw1' }), courier = await world.courier('c1');
    const dock = await world.dock('dock', server);
    await docs.load(there, { count: DOCS, seed, user: 'chw1', photos: 20 });
    await there.bulkDocs(ODD.map((_id) => ({ _id, _attachments: { 'x/y é.txt': { content_type: 'text/plain',
        data: Buffer.from(`of ${_id}`).toString('base64') } } })));
    await there.put({ _id: 'large', _attachments: { a: { content_type: 'image/png', data: Buffer.alloc(7 * MIB, 5).toString('base64') } } });
    await tablet.start();
    await visitDock(courier, dock);
    await visitTablet(courier, tablet);

    await oddIds(tablet, there);
    await limits(tablet);
    await inTime(tablet);
    console.log(`${(peakBytes(tablet) / MIB).toFixed(1)} MB`);
    await waiting(tablet, async () => {
        await there.put({ _id: 'news' });
        await visitDock(courier, dock);
        await visitTablet(courier, tablet);
    });
    await tooManyWait(tablet);
    await leaving(tablet);
    const large = await Promise.all([0, 1].map(() => ask(tablet, 'GET', '/medic/large/a')));
    assert.ok(large.every(({ bytes }) => bytes.equals(Buffer.alloc(7 * MIB, 5))));
    console.log(`${(peakBytes(tablet) / MIB).toFixed(1)} MB`);
    assert.ok(peakBytes(tablet) <= (64 + 4 * 9.4) * MIB);
    const start_ms = Date.now();
    const last = ask(tablet, 'GET', '/medic/_changes?feed=longpoll&since=999999').catch((error) => error);
    await new Promise((tick) => setTimeout(tick, 200));
    await tablet.stop();
    assert.ok(await last instanceof Error, 'half an answer is none');
    assert.ok(Date.now() - start_ms < 3000, 'SIGTERM ends it at once');
});
