#!/usr/bin/env node
// SPDX-License-Identifier: AGPL-3.0-or-later
'use strict';

/*
 * The first replication of a tablet that was never online: enrolled at the office, empty, it gets its DOCS_COUNT (10,000)
 * documents from a courier, and its PouchDB ends with the leaf revisions that the server shows that user. Tablet and dock keep
 * within their memory.
 * timeout 300
 */

const assert = require('assert');
const path = require('path');
const PouchDB = require('../web/node_modules/pouchdb');
const docs = require('../web/docs');
const { remote, visitTablet, chtApp, assertEqual, assertSettled } = require('../web/journey');
const { peakMegabytes } = require('../web/program');
const { scenario } = require('../web/scenario');

const COUNT = Number(process.env.DOCS_COUNT || 10000);

scenario(`an empty tablet gets its ${COUNT} documents offline`, async ({ dir, world, seed }) => {
    const server = await world.server([{ user: 'chw1' }, { user: 'chw2' }]);
    const tablet = await world.tablet('t1', { user: 'chw1' });
    const courier = await world.courier('c1'), dock = await world.dock('dock', server);
    const there = remote(server.admin), pouch = new PouchDB(path.join(dir, 'pouch'));
    const timed = async (what, fn) => {
        const start_ms = Date.now();
        const result = await fn();
        console.log(`${what}: ${((Date.now() - start_ms) / 1000).toFixed(1)} s`);
        return result;
    };

    await timed('made', async () => {
        await docs.load(there, { count: COUNT, seed, user: 'chw1', photos: 50, photo_bytes: 30000, deleted: 0 });
        await docs.load(there, { count: 200, seed, user: 'chw2' });
    });
    await courier.plug(dock);
    const running = dock.start(['--once']);
    let peak = 0;
    const watch = setInterval(() => { peak = Math.max(peak, peakMegabytes(running)); }, 50);
    await timed('dock: fetched and loaded', () => running.wait(120000));
    clearInterval(watch);
    await courier.unplug();
    await tablet.start();
    await timed('tablet: taken', () => visitTablet(courier, tablet));
    const { missing, fetched, purged } = await timed('app: replicated', () => chtApp(pouch, tablet).sync());
    assert.deepStrictEqual([missing, fetched, purged], [COUNT, COUNT, 0]);
    await timed('compared', () => assertEqual(pouch, server, 'chw1'));
    console.log(`memory: dock ${peak.toFixed(0)} MB, tablet ${peakMegabytes(tablet.program).toFixed(0)} MB`);
    if (!world.bin.includes('/san/')) {
        assert.ok(peak <= 128 && peakMegabytes(tablet.program) <= 64, 'memory is bounded');
    }
    // The receipt settles it, and nothing is fetched twice.
    await server.reset();
    await visitTablet(courier, tablet);
    await courier.plug(dock);
    await dock.runOnce();
    await courier.unplug();
    assert.strictEqual((await server.stats()).docs_served, 0);
    await assertSettled(tablet, courier, dock);
    await tablet.stop();
});
