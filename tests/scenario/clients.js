#!/usr/bin/env node
// SPDX-License-Identifier: AGPL-3.0-or-later
'use strict';

/*
 * Real clients use the tablet's endpoint unchanged: PouchDB 9 by db.sync, one-shot and live, two at once; and the replicator of a
 * CouchDB-protocol server (express-pouchdb's POST /_replicate), pulling and pushing.
 * timeout 240
 */

const assert = require('assert');
const http = require('http');
const path = require('path');
const PouchDB = require('../web/node_modules/pouchdb');
const expressPouchDB = require('../web/node_modules/express-pouchdb');
const docs = require('../web/docs');
const { remote, visitTablet, visitDock, roundTrip, plainApp, assertEqual } = require('../web/journey');
const { waitFor } = require('../web/program');
const { scenario } = require('../web/scenario');

const WAIT_MS = 60000;

// PouchDB 9 asks its source how it is beside each checkpoint, and does not look whether that fails: here it does, when the agent
// is killed.
process.on('unhandledRejection', (e) => {
    if (!['ECONNRESET', 'ECONNREFUSED'].includes(e.code)) {
        throw e;
    }
});

const has = (db, id) => db.get(id).then(() => true, () => false);

async function oneShot({ dir, tablet, server }) {
    const pouches = ['a', 'b'].map((name) => new PouchDB(path.join(dir, name)));
    await Promise.all(pouches.map((pouch) => plainApp(pouch, tablet).sync()));
    for (const pouch of pouches) {
        await assertEqual(pouch, server, 'chw1');
    }
    const { docs_read: again } = await pouches[0].replicate.from(remote(tablet.url()));
    assert.strictEqual(again, 0, 'the checkpoint is kept');
    return pouches[0];
}

// What either side writes while the sync runs arrives by itself.
async function live({ pouch, tablet, server, there, courier, dock }) {
    const sync = pouch.sync(remote(tablet.url()), { live: true, retry: true, batch_size: 50 });
    let failure = null;
    sync.on('error', (e) => { failure = e; });
    sync.on('denied', (e) => { failure = e; });
    const { held } = (await tablet.status()).batches;
    await pouch.put({ _id: 'written-live', type: 'data_record', form: 'x' });
    await tablet.waitStatus('what the app wrote', (batches) => batches.held > held);
    await there.bulkDocs([{ _id: 'edited-meanwhile', type: 'person' }]);
    await roundTrip(courier, [tablet], dock);
    assert.ok(await has(there, 'written-live'));
    await waitFor('what the server wrote', () => failure || has(pouch, 'edited-meanwhile'), WAIT_MS, [tablet.program]);
    assert.strictEqual(failure, null);
    // The agent goes and comes back; the sync goes on.
    await tablet.kill();
    await tablet.start();
    await there.bulkDocs([{ _id: 'edited-later', type: 'person' }]);
    await visitDock(courier, dock);
    await visitTablet(courier, tablet);
    await waitFor('what the server wrote later', () => failure || has(pouch, 'edited-later'), WAIT_MS, [tablet.program]);
    assert.strictEqual(failure, null);
    sync.cancel();
    await assertEqual(pouch, server, 'chw1');
}

// A server of the CouchDB protocol that has a replicator.
async function replicatorServer(dir) {
    const app = expressPouchDB(PouchDB.defaults({ prefix: dir + path.sep }), { mode: 'minimumForPouchDB', overrideMode: { include: ['routes/replicate'] } });
    const server = http.createServer(app);
    await new Promise((done) => server.listen(0, '127.0.0.1', done));
    const url = `http://127.0.0.1:${server.address().port}`, db = new PouchDB(`${url}/medic`);
    await db.info();
    return { db, url };
}

async function replicators({ dir, tablet, server, courier, dock }) {
    const { db, url } = await replicatorServer(dir);
    const post = async (source, target) => {
        const answer = await fetch(`${url}/_replicate`, { method: 'POST', headers: { 'content-type': 'application/json' },
            body: JSON.stringify({ source, target }) });
        const json = await answer.json();
        assert.ok(answer.status === 200 && json.ok, JSON.stringify(json));
        return json;
    };
    // What the first apps recorded themselves is not on the shelf: it comes with the next journey.
    await post(tablet.url(), db.name);
    assert.ok(!await has(db, 'written-live'));
    await roundTrip(courier, [tablet], dock);
    await post(tablet.url(), db.name);
    await assertEqual(db, server, 'chw1');
    await docs.load(db, { count: 30, seed: 'replicator', user: 'chw1', photos: 2 });
    const { docs_written: written } = await post(db.name, tablet.url());
    assert.ok(written >= 20, `only ${written} documents pushed`);
    await roundTrip(courier, [tablet], dock);
    await assertEqual(db, server, 'chw1');
}

scenario('PouchDB and a replicator use the tablet unchanged', async ({ dir, world, seed }) => {
    const server = await world.server([{ user: 'chw1' }], { kind: 'couchdb' });
    const tablet = await world.tablet('t1', { user: 'chw1' });
    const courier = await world.courier('c1'), dock = await world.dock('dock', server);
    const there = remote(server.admin);

    await docs.load(there, { count: 300, seed, user: 'chw1', photos: 10, conflicts: 5, deleted: 5 });
    await visitDock(courier, dock);
    await tablet.start();
    await visitTablet(courier, tablet);
    const pouch = await oneShot({ dir, tablet, server });
    await live({ pouch, tablet, server, there, courier, dock });
    await replicators({ dir, tablet, server, courier, dock });
    await tablet.stop();
});
