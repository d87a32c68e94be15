#!/usr/bin/env node
// SPDX-License-Identifier: AGPL-3.0-or-later
'use strict';

/*
 * SIGKILL of the dock at seeded random moments of an upload, KILLS times (12), through the CHT front, which refuses reports that
 * come ahead of their patients: each run goes on where the last one ended, nothing is refused, nothing differs, and no more is sent
 * twice than what was in flight at a kill.
 */

const assert = require('assert');
const fs = require('fs');
const path = require('path');
const PouchDB = require('../web/node_modules/pouchdb');
const docs = require('../web/docs');
const { sleep } = require('../web/program');
const { scenario, replicate, assertSame } = require('../web/scenario');

const KILLS = Number(process.env.KILLS || 12);
const REQUEST_DOCS = 40, IN_FLIGHT = 4 * REQUEST_DOCS;

scenario(`${KILLS} kills of the dock in the middle of an upload`, async ({ dir, world, seed, random }) => {
    const server = await world.server([{ user: 'chw1' }]);
    const tablet = await world.tablet('t1', { user: 'chw1' }), courier = await world.courier('c1');
    const dock = await world.dock('dock', { ...server, url: 'http://127.0.0.1:9' });
    const pouch = new PouchDB(path.join(dir, 'pouch'));

    await docs.load(pouch, { count: 1500, seed, user: 'chw1', photos: 10 });
    await tablet.start();
    await replicate(pouch, tablet, { batch_size: 20 });
    await courier.plug(tablet);
    await tablet.program.waitLine(/safe to unplug/, 60000);
    await courier.unplug();
    await tablet.stop();
    const { batches: { held } } = await courier.status();
    await courier.plug(dock);
    const running = dock.start();
    await running.waitLine(/safe to unplug/, 60000);
    assert.ok((await dock.status()).batches.held >= held);
    await dock.kill();
    await courier.unplug();

    dock.configure(world.deployment, server);
    fs.appendFileSync(dock.config, `[replay]\ndocs=${REQUEST_DOCS}\n`);
    await server.fault({ path: '_bulk_docs', delay_ms: 150, count: 1000000 });      // so that a kill finds something in flight
    let kills = 0, runs = 0;
    while (kills < KILLS) {
        const upload = dock.command('upload');
        await sleep(50 + random() * 400);
        if (upload.ended) {
            break;
        }
        kills += await upload.kill() === 'SIGKILL' ? 1 : 0;
        runs++;
        assert.ok(runs < 10 * KILLS, 'the kills come too late');
    }
    assert.ok(kills > 0, 'no kill found the dock at work');
    await dock.upload(120000);
    const { documents } = await assertSame([pouch], server);
    const { batches, refusals, streams } = await dock.status();
    assert.deepStrictEqual([batches.aside, batches.applied >= held, refusals], [0, true, []]);
    assert.ok(streams.every((s) => s.to !== 'server' || s.waiting === 0), JSON.stringify(streams));
    const counts = await server.stats();
    assert.ok(counts.docs_received_again <= kills * IN_FLIGHT, `${counts.docs_received_again} documents were sent again`);
    assert.strictEqual(counts.docs_refused, 0);
    console.log(`${kills} kills, ${documents} documents, ${counts.docs_received_again} sent again, 0 differences`);
});
