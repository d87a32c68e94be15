#!/usr/bin/env node
// SPDX-License-Identifier: AGPL-3.0-or-later
'use strict';

/*
 * No room, on each station in turn: a clear word, nothing half-written, and everything goes on once there is room. A full disk is
 * made by a limit on the size of the program's files, lifted while it runs; a full quota by --quota.
 */

const assert = require('assert');
const path = require('path');
const PouchDB = require('../web/node_modules/pouchdb');
const docs = require('../web/docs');
const { run } = require('../web/program');
const { scenario, replicate, assertSame, assertEmpty } = require('../web/scenario');

const SMALL_BYTES = 600000;

// Only the soft limit, so that it can be lifted.
function limitFiles(station, bytes) {
    return run('prlimit', 'prlimit', [`--pid=${station.program.child.pid}`, `--fsize=${bytes}:`]);
}

async function fullTablet(tablet, pouch) {
    await limitFiles(tablet, SMALL_BYTES);
    await assert.rejects(pouch.replicate.to(tablet.url(), { batch_size: 100 }), 'a full tablet must not acknowledge');
    await tablet.program.waitLine(/full|too large|no room|space/i, 5000);
    const { batches: { partial } } = await tablet.status();
    assert.strictEqual(partial, 0, 'nothing half-written');
    await limitFiles(tablet, 'unlimited');
    await replicate(pouch, tablet, { batch_size: 10 });     // batches that fit a small quota
}

async function handOver(courier, tablet, extra) {
    const line = tablet.program.lines.length;
    await courier.plug(tablet, extra);
    await tablet.program.waitLine(/safe to unplug/, 30000, line);
}

async function fullCourier(courier, tablet) {
    await handOver(courier, tablet, ['--quota', '1']);
    await courier.program.waitLine(/full|quota|no room/i, 10000);
    await courier.unplug();
}

scenario('full disks and quotas lose nothing', async ({ dir, world, seed }) => {
    const server = await world.server([{ user: 'chw1' }]);
    const tablet = await world.tablet('t1', { user: 'chw1' });
    const courier = await world.courier('c1');
    const dock = await world.dock('dock', server);
    const pouch = new PouchDB(path.join(dir, 'pouch'));

    await docs.load(pouch, { count: 400, seed, user: 'chw1', photos: 60 });
    await tablet.start();
    await fullTablet(tablet, pouch);
    await fullCourier(courier, tablet);

    // The dock's disk is full while it takes from the courier: it says so, and takes the rest later.
    await courier.plug(dock);
    const running = dock.start();
    await limitFiles(dock, 400000);       // enough for an empty store, not for what the courier has
    await running.waitLine(/full|too large|no room|space/i, 20000);
    await limitFiles(dock, 'unlimited');
    await dock.stop();
    await courier.unplug();

    // With a quota of 1 MB the courier needs several journeys; each moves something.
    for (let journeys = 0; ; journeys++) {
        assert.ok(journeys < 12, 'too many journeys');
        await handOver(courier, tablet, ['--quota', '1']);
        await courier.unplug();
        if ((await tablet.status()).batches.held === 0) {
            break;
        }
        await courier.plug(dock);
        await dock.runOnce();
        await courier.unplug();
    }
    await assertSame([pouch], server);
    await courier.plug(dock);
    await dock.runOnce();
    await courier.unplug();
    await assertEmpty(tablet, courier, dock);
    await tablet.stop();
});
