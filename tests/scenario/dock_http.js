#!/usr/bin/env node
// SPDX-License-Identifier: AGPL-3.0-or-later
'use strict';

/*
 * The dock and the server's HTTP: one user's wrong password is sent once a run and holds up nobody else, who logs in once; sessions
 * that end in the middle, cut answers and outages are not seen by the documents; with --once the courier is served while it is still
 * plugged in; once the password is mended, the rest arrives.
 */

const assert = require('assert');
const fs = require('fs');
const path = require('path');
const PouchDB = require('../web/node_modules/pouchdb');
const docs = require('../web/docs');
const { secretFile, csv } = require('../web/stations');
const { scenario, replicate, assertSame, assertEmpty } = require('../web/scenario');

scenario('logins and faults of HTTP', async ({ dir, world, seed }) => {
    const server = await world.server([{ user: 'chw1' }, { user: 'chw2' }]);
    const courier = await world.courier('c1');
    const pouches = [];
    const tablets = [];
    for (const n of [1, 2]) {
        const tablet = await world.tablet(`t${n}`, { user: `chw${n}` });
        const pouch = new PouchDB(path.join(dir, `pouch${n}`));
        await docs.load(pouch, { count: 200, seed: seed + n, user: `chw${n}`, photos: 2 });
        await tablet.start();
        await replicate(pouch, tablet);
        await courier.plug(tablet);
        await tablet.program.waitLine(/safe to unplug/, 30000);
        await courier.unplug();
        pouches.push(pouch);
        tablets.push(tablet);
    }

    // The dock's own list has a wrong password for chw2.
    const users = secretFile(path.join(dir, 'dock-users.csv'), csv([['username', 'password'], ['chw1', 'chw1-pw'], ['chw2', 'old']]));
    const dock = await world.dock('dock', { url: server.url, kind: 'cht', db: 'medic', users });
    for (const fault of [{ status: 503, count: 1, path: '_revs_diff' }, { cut: true, count: 1, path: '_bulk_docs' },
        { cut: 'request', count: 1, path: '_bulk_docs' }, { status: 401, json: true, count: 1, path: '_bulk_docs' }]) {
        await server.fault(fault);
    }
    await courier.plug(dock);
    await dock.runOnce(60000, [1]);
    let stats = await server.stats();
    assert.strictEqual(stats.statuses[401], 2, 'the fault, and chw2\'s one login');
    assert.strictEqual(stats.requests['POST login'], 3, 'chw1, again after the 401, and chw2');
    assert.strictEqual(stats.statuses[403], undefined);
    assert.strictEqual(stats.docs_refused, 0);
    assert.ok((await courier.status()).batches.held > 0, 'what is chw2\'s waits');
    await assertSame([pouches[0]], server);

    secretFile(users, csv([['username', 'password'], ['chw1', 'chw1-pw'], ['chw2', 'chw2-pw']]));
    await dock.runOnce();
    await courier.unplug();
    stats = await server.stats();
    assert.strictEqual(stats.docs_refused, 0);
    await assertSame(pouches, server);

    // The receipts are on the courier already.
    for (const tablet of tablets) {
        await courier.plug(tablet);
        await tablet.waitStatus('is freed by the receipt', (b) => b.held === 0, { programs: [courier.program] });
        await courier.unplug();
    }
    await assertEmpty(...tablets, courier);
    assert.ok(!fs.readFileSync(path.join(dir, 'dock.log'), 'utf8').includes('-pw'), 'no password in the log');
    for (const tablet of tablets) {
        await tablet.stop();
    }
});
