#!/usr/bin/env node
// SPDX-License-Identifier: AGPL-3.0-or-later
'use strict';

/*
 * A batch to a tablet that is lost on the way, so that a number of its stream never comes: all the others are applied and served,
 * whatever their order; boda status, in text and JSON, and the agent's page show the gap and since when. It stays at the dock, and
 * closes when the batch comes after all.
 */

const assert = require('assert');
const { spawnSync } = require('child_process');
const fs = require('fs');
const path = require('path');
const PouchDB = require('../web/node_modules/pouchdb');
const { remote, visitTablet, visitDock, chtApp, assertEqual } = require('../web/journey');
const { sleep, waitFor } = require('../web/program');
const { batchFiles, command } = require('../web/files');
const { scenario } = require('../web/scenario');

const TIME = /^20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ$/;
const NUMBER = /\/server-[0-9a-f]{16}-(\d+)-/;

scenario('a gap that does not fill is shown with its age', async ({ dir, bin, world }) => {
    const server = await world.server([{ user: 'chw1' }]), there = remote(server.admin);
    const tablet = await world.tablet('t1', { user: 'chw1' }), courier = await world.courier('c1');
    const dock = await world.dock('dock', server);
    const pouch = new PouchDB(path.join(dir, 'pouch'));
    const stick = path.join(dir, 'stick'), lost = path.join(dir, 'lost');
    [stick, lost].forEach((folder) => fs.mkdirSync(folder));

    // Each turn makes a batch with documents, and a view that takes the place of the one before.
    for (let n = 1; n <= 3; n++) {
        await there.bulkDocs([1, 2, 3].map((i) => ({ _id: `person-${n}${i}`, type: 'person', parent: { _id: 'facility-chw1' } })));
        await dock.upload();
    }
    await command(dock, 'export', stick);
    const files = Object.fromEntries(batchFiles(stick).map((file) => [NUMBER.exec(file)[1], file]));
    const numbers = Object.keys(files).map(Number).sort((a, b) => a - b);
    assert.ok(numbers.length >= 4 && numbers[0] === 1, `numbers ${numbers}`);

    const gone = path.join(lost, path.basename(files[1]));
    fs.renameSync(path.join(stick, files[1]), gone);
    await tablet.start();
    const app = chtApp(pouch, tablet);
    for (const number of numbers.slice(1).reverse()) {
        await command(tablet, 'import', path.join(stick, files[number]));
    }
    const down = (status) => status.streams.find((s) => s.from === 'server' && s.to === 't1');
    const stream = await waitFor('all that came is applied', async () => {
        const found = down(await tablet.status());
        return found && found.waiting === 0 && found.highest === numbers[numbers.length - 1] && found;
    }, 30000, [tablet.program]);
    assert.deepStrictEqual([stream.missing, stream.contiguous], [1, 0], 'what was withdrawn is not missing');
    assert.match(stream.missing_since, TIME);
    assert.ok(Math.abs(Date.now() - Date.parse(stream.missing_since)) < 120000, stream.missing_since);

    // The rest is served; the app is told of the three that it lacks, as when the server forbids them.
    await app.sync();
    assert.deepStrictEqual((await pouch.allDocs()).rows.map((row) => row.id).filter((id) => id.startsWith('person-')),
        ['person-21', 'person-22', 'person-23', 'person-31', 'person-32', 'person-33']);

    // It grows older, and is seen.
    await sleep(1100);
    const { streams } = (await tablet.ask('GET', '_boda/status')).json;
    assert.deepStrictEqual(streams.filter((s) => s.missing).map((s) => [s.from, s.missing, s.missing_since]),
        [['server', 1, stream.missing_since]]);
    const text = () => spawnSync(path.join(bin, 'boda'), ['status', '--store', tablet.store], { encoding: 'utf8' }).stdout;
    assert.ok(text().includes(`; 1 have not come, others behind them since ${stream.missing_since}\n`), text());

    // A courier takes the receipt to the dock, which still has the batch and says since when.
    await visitTablet(courier, tablet);
    await visitDock(courier, dock);
    const waits = down(await dock.status());
    assert.deepStrictEqual([waits.waiting, waits.missing], [1, 0]);
    assert.match(waits.oldest_waiting, TIME);

    await command(tablet, 'import', gone);
    const closed = await waitFor('the lost one is applied', async () => {
        const found = down(await tablet.status());
        return found.applied > stream.applied && found;
    }, 30000, [tablet.program]);
    assert.deepStrictEqual([closed.missing, closed.missing_since, closed.contiguous], [0, '', closed.highest]);
    assert.ok(!text().includes('have not come'), text());
    await app.sync();
    await assertEqual(pouch, server, 'chw1');
    await visitTablet(courier, tablet);
    await visitDock(courier, dock);
    assert.strictEqual(down(await dock.status()).waiting, 0);
    await tablet.stop();
});
