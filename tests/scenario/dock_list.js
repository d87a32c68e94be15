#!/usr/bin/env node
// SPDX-License-Identifier: AGPL-3.0-or-later
'use strict';

/*
 * A dock that runs all the time learns from a courier that a tablet is revoked, and sets aside what the same courier brings of it.
 */

const assert = require('assert');
const path = require('path');
const PouchDB = require('../web/node_modules/pouchdb');
const docs = require('../web/docs');
const { scenario, replicate } = require('../web/scenario');

scenario('a running dock heeds the revocation list that a courier brings', async ({ dir, world, seed }) => {
    const server = await world.server([{ user: 'chw1' }]);
    const running = await world.dock('dock', server);
    const tablet = await world.tablet('t1', { user: 'chw1' });
    const courier = await world.courier('c1'), empty = await world.courier('c2');
    const pouch = new PouchDB(path.join(dir, 'pouch'));

    await docs.load(pouch, { count: 20, seed, user: 'chw1' });
    await tablet.start();
    await replicate(pouch, tablet);
    await courier.plug(tablet);
    await tablet.program.waitLine(/safe to unplug/, 120000);
    await courier.unplug();

    await empty.plug(running);
    running.start();
    await running.program.waitLine(/safe to unplug/, 120000);
    await empty.unplug();

    // Revoked now: the other dock has the new list, and gives it to the courier.
    await world.boda(['revoke', 't1', '--deployment', world.deployment, '--passphrase-file', world.passphrase]);
    const other = await world.dock('dock2', server);
    await courier.plug(other);
    await other.runOnce();
    await courier.unplug();

    await courier.plug(running);
    // And what was on its way to the tablet is withdrawn.
    const { streams } = await running.waitStatus('sets t1\'s batches aside', (b) => b.held === 0 && b.aside > 0);
    assert.deepStrictEqual(streams.filter((s) => s.from === 't1' && s.applied > 0), []);
    assert.strictEqual((await server.stats()).docs_received, 0, 'documents of a revoked tablet');
    await running.stop();
    await courier.unplug();
    await tablet.stop();
});
