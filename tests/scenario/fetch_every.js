#!/usr/bin/env node
// SPDX-License-Identifier: AGPL-3.0-or-later
'use strict';

/*
 * When a dock asks the server for news ([down] in its configuration): at its start, once in every=, and behind a replay that has
 * applied something; not each time it wakes. What is new goes to a courier that is plugged in already. With fetch=no it never asks.
 * timeout 240
 */

const assert = require('assert');
const fs = require('fs');
const path = require('path');
const PouchDB = require('../web/node_modules/pouchdb');
const { remote, visitTablet } = require('../web/journey');
const { sleep, waitFor } = require('../web/program');
const { scenario, replicate } = require('../web/scenario');

const EVERY_S = 2;

scenario('when the dock asks for news', async ({ dir, world }) => {
    const server = await world.server([{ user: 'chw1' }]), there = remote(server.admin);
    const tablet = await world.tablet('t1', { user: 'chw1' }), courier = await world.courier('c1');
    const dock = await world.dock('dock', server), plain = fs.readFileSync(dock.config, 'utf8');
    const pouch = new PouchDB(path.join(dir, 'pouch'));
    const down = (text) => fs.writeFileSync(dock.config, `${plain}[down]\n${text}\n`);
    const listings = async () => (await server.stats()).requests['GET get-ids'] || 0;
    const news = (id) => there.put({ _id: id, type: 'person', parent: { _id: 'facility-chw1' } });
    const forTablet = async (station) => (await station.status()).streams.filter((s) => s.to === 't1')
        .reduce((sum, s) => sum + s.highest, 0);

    // Never, with fetch=no: neither at the start nor behind a replay.
    await tablet.start();
    await pouch.put({ _id: 'mine', type: 'person', parent: { _id: 'facility-chw1' } });
    await replicate(pouch, tablet);
    await visitTablet(courier, tablet);
    down('fetch=no');
    await courier.plug(dock);
    await dock.runOnce();
    await courier.unplug();
    assert.ok(await there.get('mine'));
    assert.deepStrictEqual([await listings(), await forTablet(dock)], [0, 0]);

    // By time: what is new is with the courier that is there, and it is not asked for more often than that.
    await server.reset();
    down(`every=${EVERY_S}`);
    await courier.plug(dock);
    const start_ms = Date.now(), running = dock.start();
    await waitFor('what there is is with the courier', async () => await forTablet(courier) > 0 &&
        await forTablet(courier) === await forTablet(dock), 30000, [running]);
    for (const id of ['first', 'second']) {
        const before = await forTablet(courier), asked = await listings();
        await news(id);
        await waitFor(`${id} is with the courier`, async () => await forTablet(courier) > before, 30000, [running]);
        assert.ok(await listings() > asked);
    }
    await sleep(EVERY_S * 1500);
    const most = (Date.now() - start_ms) / (EVERY_S * 1000) + 2;
    assert.ok(await listings() <= most, `${await listings()} listings, and at most ${most} are due`);
    await dock.stop();
    await courier.unplug();

    // Never by time, with 0: at the start, and then behind a replay that has applied something.
    await server.reset();
    down('every=0');
    await courier.plug(dock);
    const patient = dock.start();
    await patient.waitLine(/safe to unplug/, 60000);
    await waitFor('it asks at its start', async () => await listings() === 1, 30000, [patient]);
    await news('third');
    await sleep(EVERY_S * 1500);
    assert.strictEqual(await listings(), 1);
    await courier.unplug();
    await pouch.put({ _id: 'mine-too', type: 'person', parent: { _id: 'facility-chw1' } });
    await replicate(pouch, tablet);
    await visitTablet(courier, tablet);
    const had = await forTablet(courier);
    await courier.plug(dock);
    await waitFor('third is with the courier', async () => await forTablet(courier) > had, 30000, [patient]);
    assert.ok(await there.get('mine-too'));
    await dock.stop();
    await courier.unplug();
    await tablet.stop();
});
