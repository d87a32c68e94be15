#!/usr/bin/env node
// SPDX-License-Identifier: AGPL-3.0-or-later
'use strict';

/*
 * The server is down for the first while, then answers 429, 500, 502, 503, cuts answers in the middle, and is restarted: the dock
 * takes what the courier has all the same, waits, drops nothing, and everything arrives.
 */

const assert = require('assert');
const path = require('path');
const PouchDB = require('../web/node_modules/pouchdb');
const docs = require('../web/docs');
const { sleep, waitFor } = require('../web/program');
const { scenario, replicate, assertSame, assertEmpty } = require('../web/scenario');

const AWAY_MS = Number(process.env.AWAY_MS || 3000);

scenario('outages of the server lose nothing', async ({ dir, world, seed }) => {
    const server = await world.server([{ user: 'chw1' }], { durable: true });
    const tablet = await world.tablet('t1', { user: 'chw1' });
    const courier = await world.courier('c1');
    const dock = await world.dock('dock', server);
    const pouch = new PouchDB(path.join(dir, 'pouch'));

    await docs.load(pouch, { count: 300, seed, user: 'chw1', photos: 3 });
    await tablet.start();
    await replicate(pouch, tablet);
    const { batches: { held } } = await tablet.status();
    await courier.plug(tablet);
    await tablet.program.waitLine(/safe to unplug/, 30000);
    await courier.unplug();

    // Down at first: the courier is emptied into the dock nevertheless, and may go.
    await server.stop();
    await courier.plug(dock);
    const running = dock.start();
    await running.waitLine(/safe to unplug/, 30000);
    assert.strictEqual((await dock.status()).batches.held, held, 'the dock has taken all from the courier');
    await running.waitLine(/not reachable|trying again/, 15000);
    await sleep(AWAY_MS);
    assert.strictEqual(running.ended, null, 'the dock goes on waiting');
    assert.strictEqual((await dock.status()).batches.applied, 0);

    // Back, but unwell.
    await server.start();
    for (const fault of [{ status: 503, path: '_revs_diff' }, { status: 429, retry_after: 1, path: '_bulk_docs' },
        { status: 502, path: '_bulk_docs' }, { status: 500, path: '_bulk_docs' }, { cut: true, path: '_bulk_docs' },
        { cut: true, path: '_revs_diff' }]) {
        await server.fault(fault);
    }
    // What is for the tablet stays until its receipt.
    await waitFor('the dock to apply all', async () =>
        (await dock.status()).streams.every((s) => s.to !== 'server' || s.waiting === 0), 150000, [running]);
    await assertSame([pouch], server);
    await dock.stop();
    assert.deepStrictEqual((await dock.status()).refusals, []);
    await courier.unplug();

    // The receipt was made after the courier had been served: it leaves with its next visit.
    await courier.plug(dock);
    await dock.runOnce();
    await courier.unplug();
    await courier.plug(tablet);
    await tablet.waitStatus('is freed by the receipt', (b) => b.held === 0, { programs: [courier.program] });
    await courier.unplug();
    await courier.plug(dock);
    await dock.runOnce();
    await courier.unplug();
    await assertEmpty(tablet, courier, dock);
    await tablet.stop();
});
