#!/usr/bin/env node
// SPDX-License-Identifier: AGPL-3.0-or-later
// timeout 600
'use strict';

/*
 * Several processes of one dock share its store, as when two couriers are plugged into one PC while the timer's upload runs: one
 * replays, the others serve their couriers and take over when it dies; the server gets each revision once, every courier is freed
 * of what any of them has brought, and when nothing is new nobody writes.
 */

const assert = require('assert');
const path = require('path');
const PouchDB = require('../web/node_modules/pouchdb');
const docs = require('../web/docs');
const { run, waitFor } = require('../web/program');
const { scenario, replicate, assertSame, assertEmpty } = require('../web/scenario');

const NAMES = ['t1', 't2', 't3'];

async function handOver(courier, tablet) {
    const line = tablet.program.lines.length;
    await courier.plug(tablet);
    await tablet.program.waitLine(/safe to unplug/, 120000, line);
    await courier.unplug();
}

// How many batches for the server a courier still carries.
async function carried(courier) {
    const { streams } = await courier.status();
    return streams.filter((stream) => stream.to === 'server').reduce((sum, stream) => sum + stream.waiting, 0);
}

// SQLite counts what other connections commit.
async function assertQuiet(dock) {
    const [before, after] = await run('sqlite3', 'sqlite3', ['-readonly', path.join(dock.store, 'boda.db'),
        'PRAGMA data_version', '.shell sleep 3', 'PRAGMA data_version']);
    assert.strictEqual(before, after, 'the store changes though nothing is new');
}

scenario('several processes share a dock\'s store', async ({ dir, world, seed }) => {
    const server = await world.server(NAMES.map((name) => ({ user: `chw-${name}` })), { durable: true });
    const first = await world.dock('dock', server), second = first.beside('dock-2'), third = first.beside('dock-3');
    const couriers = [await world.courier('c1'), await world.courier('c2'), await world.courier('c3')];
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
    // The first two couriers both carry t2's batches, the third t3's.
    for (const [courier, tablet] of [[0, 0], [0, 1], [1, 1], [2, 2]]) {
        await handOver(couriers[courier], tablets[tablet]);
    }

    // Without a server the first process waits for it, and has the turn.
    await server.stop();
    await couriers[0].plug(first);
    first.start();
    await first.program.waitLine(/not reachable/, 120000);

    // The second one takes what its courier has all the same; an upload leaves the work to the first.
    await couriers[1].plug(second);
    second.start();
    await second.program.waitLine(/another boda-dock replays/, 120000);
    await second.program.waitLine(/safe to unplug/, 120000);
    const uploaded = await third.upload(120000);
    assert.ok(uploaded.some((line) => /another boda-dock replays/.test(line)), uploaded.join('\n'));
    assert.strictEqual((await first.status()).batches.applied, 0);

    // The first one dies: the second takes the turn. --once waits for it, and brings its courier the confirmations.
    await first.kill();
    await second.program.waitLine(/not reachable/, 120000);
    await couriers[2].plug(third);
    const once = third.start(['--once']);
    await once.waitLine(/courier c3: gone/, 120000);
    first.start();
    await first.program.waitLine(/another boda-dock replays/, 120000);
    await server.start();
    await once.wait(120000);
    assert.strictEqual(await carried(couriers[2]), 0, 'c3 was told what is applied');
    await couriers[2].unplug();

    // Everything arrives once, and both couriers that stayed are told of it by a process that may not have replayed it.
    for (const courier of couriers.slice(0, 2)) {
        await waitFor(`${courier.name} is freed`, async () => await carried(courier) === 0, 120000, [first.program, second.program]);
    }
    await assertSame(pouches, server);
    assert.strictEqual((await server.stats()).docs_received_again, 0, 'revisions that came to the server twice');
    await assertQuiet(first);
    await first.stop();
    await second.stop();
    for (const courier of couriers.slice(0, 2)) {
        await courier.unplug();
    }

    // The receipts are with one courier or the other, so a tablet may hand its batches over once more and be sent a second
    // receipt; when that is home, too, nothing is left anywhere.
    for (let round = 0; round < 2; round++) {
        for (const courier of couriers) {
            for (const tablet of tablets) {
                await handOver(courier, tablet);
            }
            await courier.plug(first);
            await first.runOnce();
            await courier.unplug();
        }
    }
    await assertEmpty(first, ...couriers, ...tablets);
    for (const tablet of tablets) {
        await tablet.stop();
    }
});
