#!/usr/bin/env node
// SPDX-License-Identifier: AGPL-3.0-or-later
'use strict';

/*
 * PouchDB on IndexedDB in a real browser (headless Chromium) syncs with the tablet, one-shot and live: from a page on another
 * origin, which --origin names, and from a page that the agent serves itself. From an origin that is not named it cannot.
 * timeout 240
 */

const assert = require('assert');
const http = require('http');
const path = require('path');
const { Chromium } = require('../web/chromium');
const docs = require('../web/docs');
const { remote, visitTablet, visitDock, roundTrip } = require('../web/journey');
const { scenario } = require('../web/scenario');

const POUCHDB = path.join(__dirname, '../web/node_modules/pouchdb/dist/pouchdb.min.js');

// A web server with one empty page.
async function pageServer() {
    const server = http.createServer((req, res) => {
        res.writeHead(200, { 'Content-Type': 'text/html' });
        res.end('<!doctype html><title>app</title>');
    });
    await new Promise((done) => server.listen(0, '127.0.0.1', done));
    return `http://127.0.0.1:${server.address().port}`;
}

// What the page has to know of the tablet.
function connect(tablet) {
    const { origin, username, password, pathname } = new URL(tablet.url());
    const auth = { username: decodeURIComponent(username), password: decodeURIComponent(password) };
    return `const local = new PouchDB('app'), remote = new PouchDB(${JSON.stringify(origin + pathname)},
        { skip_setup: true, auth: ${JSON.stringify(auth)} });`;
}

// Each document's leaves: run here, and as text in the page.
async function leaves(db) {
    const { results } = await db.changes({ style: 'all_docs' });
    return Object.fromEntries(results.map((row) => [row.id, row.changes.map((change) => change.rev).sort()]));
}
const LEAVES = String(leaves);

async function assertLeaves(page, tablet, there) {
    const mine = await page.run(`${connect(tablet)} return (${LEAVES})(local);`);
    assert.deepStrictEqual(mine, await leaves(there));
}

// The second page's app is new: what that of the first recorded comes to it with a journey after its first sync.
async function oneShot(page, { tablet, there, courier, dock }) {
    for (let n = 0; n < 2; n++) {
        const done = await page.run(`${connect(tablet)}
            const { push, pull } = await local.sync(remote);
            return { adapter: (await local.info()).adapter, ok: push.ok && pull.ok };`, 90000);
        assert.deepStrictEqual(done, { adapter: 'idb', ok: true });
        if (n === 0) {
            await roundTrip(courier, [tablet], dock);
        }
    }
    await assertLeaves(page, tablet, there);
    const [photo] = await page.run(`${connect(tablet)}
        const { rows } = await local.allDocs({ include_docs: true, attachments: true });
        return rows.map((row) => row.doc).filter((doc) => doc._attachments);`);
    const [name] = Object.keys(photo._attachments);
    const original = await there.getAttachment(photo._id, name);
    assert.strictEqual(photo._attachments[name].data, original.toString('base64'));
}

async function live(page, { name, tablet, there, courier, dock }) {
    await page.run(`${connect(tablet)}
        window.failure = null;
        window.job = local.sync(remote, { live: true, retry: true }).on('error', (e) => { window.failure = String(e); });`);
    await page.run(`${connect(tablet)} await local.put({ _id: 'page-${name}', type: 'data_record', photo_taken: true });`);
    await tablet.waitStatus('what the page wrote', (batches) => batches.held > 0);
    await there.bulkDocs([{ _id: `server-${name}`, type: 'person' }]);
    await roundTrip(courier, [tablet], dock);
    await there.get(`page-${name}`);
    const arrived = await page.run(`${connect(tablet)}
        for (let i = 0; i < 300 && !window.failure; i++) {
            if (await local.get('server-${name}').catch(() => null)) { window.job.cancel(); return 'arrived'; }
            await new Promise((done) => setTimeout(done, 100));
        }
        return window.failure || 'not within 30 s';`);
    assert.strictEqual(arrived, 'arrived');
    await assertLeaves(page, tablet, there);
}

scenario('a browser syncs with the tablet', async ({ dir, world, seed }) => {
    const server = await world.server([{ user: 'chw1' }], { kind: 'couchdb' });
    const tablet = await world.tablet('t1', { user: 'chw1' });
    const courier = await world.courier('c1'), dock = await world.dock('dock', server);
    const there = remote(server.admin);
    const origin = await pageServer();
    const journey = { tablet, there, courier, dock };

    await docs.load(there, { count: 200, seed, user: 'chw1', photos: 4, conflicts: 3, deleted: 4 });
    await visitDock(courier, dock);
    await tablet.start(['--origin', origin]);
    await visitTablet(courier, tablet);
    const browser = await Chromium.start(path.join(dir, 'profile'));
    const pages = { 'another origin': `${origin}/`, 'the agent itself': tablet.url('_boda/'),
        'a strange origin': `${await pageServer()}/` };
    for (const [name, url] of Object.entries(pages)) {
        const page = await browser.open(url);
        await page.load(POUCHDB);
        if (name === 'a strange origin') {
            const refused = await page.run(`${connect(tablet)} return remote.info().then(() => null, (e) => String(e.message || e));`);
            assert.match(refused, /fetch/i);
            continue;
        }
        await oneShot(page, journey);
        await live(page, { name: name.slice(-6).trim(), ...journey });
        console.log(`${name}: one-shot and live`);
    }
    await browser.stop();
    await tablet.stop();
});
