#!/usr/bin/env node
// SPDX-License-Identifier: AGPL-3.0-or-later
'use strict';

/*
 * Three tablets of two users, one of whom has a wrong password in the dock's file: the other's batches arrive, the account is not
 * locked by trying, nothing is refused or dropped, and with the right password the rest arrives. And a revision that two tablets
 * of one user both carry is stored once.
 */

const assert = require('assert');
const path = require('path');
const PouchDB = require('../web/node_modules/pouchdb');
const docs = require('../web/docs');
const { scenario, replicate, assertSame } = require('../web/scenario');
const { secretFile, csv } = require('../web/stations');

scenario('a wrong password holds back one user alone', async ({ dir, world, seed }) => {
    const server = await world.server([{ user: 'chw1' }, { user: 'chw2' }]);
    const users = secretFile(path.join(dir, 'dock-users.csv'),
        csv([['username', 'password'], ['chw1', 'chw1-pw'], ['chw2', 'no such password']]));
    const dock = await world.dock('dock', { ...server, users });
    const courier = await world.courier('c1');
    const pouches = {};

    for (const user of ['chw1', 'chw2']) {
        pouches[user] = new PouchDB(path.join(dir, `${user}.pouch`));
        await docs.load(pouches[user], { count: 150, seed: `${seed} ${user}`, user, photos: 2 });
    }
    for (const [name, user] of [['t1', 'chw1'], ['t2', 'chw1'], ['t3', 'chw2']]) {
        const tablet = await world.tablet(name, { user });
        await tablet.start();
        await replicate(pouches[user], tablet, { batch_size: 25 });
        await courier.plug(tablet);
        await tablet.program.waitLine(/safe to unplug/, 60000);
        await courier.unplug();
        await tablet.stop();
    }
    await courier.plug(dock);
    await dock.runOnce(120000, [1]);
    await courier.unplug();
    await dock.upload(120000, [1]);
    await assertSame([pouches.chw1], server);
    const { batches, refusals, streams } = await dock.status();
    assert.ok(batches.held > 0 && batches.aside === 0, JSON.stringify(batches));
    assert.deepStrictEqual(refusals, []);
    assert.ok(streams.every((s) => s.to !== 'server' || (s.waiting > 0) === (s.from === 't3')), JSON.stringify(streams));
    const { docs_received_again: again, docs_refused: refused } = await server.stats();
    assert.deepStrictEqual([again, refused], [0, 0]);

    dock.configure(world.deployment, server);
    await dock.upload(120000);
    await assertSame([pouches.chw1, pouches.chw2], server);
    assert.ok((await dock.status()).streams.every((s) => s.to !== 'server' || s.waiting === 0));
});
