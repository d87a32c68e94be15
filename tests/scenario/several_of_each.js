#!/usr/bin/env node
// SPDX-License-Identifier: AGPL-3.0-or-later
'use strict';

/*
 * Three tablets, two couriers that both carry some of the same batches, two docks: the server gets each revision once,
 * every tablet gets its receipts, and every store ends empty of applied batches.
 */

const assert = require('assert');
const path = require('path');
const PouchDB = require('../web/node_modules/pouchdb');
const docs = require('../web/docs');
const { scenario, replicate, assertSame, assertEmpty } = require('../web/scenario');

const NAMES = ['t1', 't2', 't3'];

async function handOver(courier, tablet) {
    const { batches } = await tablet.status();
    const line = tablet.program.lines.length;
    await courier.plug(tablet);
    await tablet.program.waitLine(/safe to unplug/, 30000, line);
    await courier.unplug();
    return batches;
}

scenario('several tablets, couriers and docks lose and double nothing', async ({ dir, world, seed }) => {
    const server = await world.server(NAMES.map((name) => ({ user: `chw-${name}` })));
    const docks = [await world.dock('d1', server), await world.dock('d2', server)];
    const couriers = [await world.courier('c1'), await world.courier('c2')];
    const tablets = [], pouches = [];

    for (const name of NAMES) {
        const tablet = await world.tablet(name, { user: `chw-${name}` });
        const pouch = new PouchDB(path.join(dir, `${name}.pouch`));
        await docs.load(pouch, { count: 120, seed: seed + tablets.length, user: tablet.user, photos: 3 });
        await tablet.start();
        await replicate(pouch, tablet, { batch_size: 25 });
        tablets.push(tablet);
        pouches.push(pouch);
    }

    // The first courier sees all tablets, the second the last two: so both carry the batches of those.
    for (const tablet of tablets) {
        await handOver(couriers[0], tablet);
    }
    for (const tablet of tablets.slice(1)) {
        await handOver(couriers[1], tablet);
    }
    const carried = await Promise.all(couriers.map(async (c) => (await c.status()).batches.held));
    assert.ok(carried[0] > carried[1] && carried[1] > 0, `couriers carry ${carried}`);

    // Both go to both docks; each revision reaches the server once.
    for (const courier of couriers) {
        for (const dock of docks) {
            await courier.plug(dock);
            await dock.runOnce();
            await courier.unplug();
        }
    }
    const { documents } = await assertSame(pouches, server);
    assert.ok(documents >= 3 * 120, `${documents} documents compared`);
    const stats = await server.stats();
    assert.strictEqual(stats.docs_received_again, 0, 'revisions that came to the server twice');

    // Receipts come home with either courier; then nobody holds anything.
    for (const courier of couriers) {
        for (const tablet of tablets) {
            await handOver(courier, tablet);
        }
    }
    for (const courier of couriers) {
        for (const dock of docks) {
            await courier.plug(dock);
            await dock.runOnce();
            await courier.unplug();
        }
    }
    await assertEmpty(...tablets, ...couriers, ...docks);
    for (const tablet of tablets) {
        await tablet.stop();
    }
});
