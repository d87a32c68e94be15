#!/usr/bin/env node
// SPDX-License-Identifier: AGPL-3.0-or-later
'use strict';

/*
 * A month in which the server changes the same documents each day. A tablet that nobody has visited costs a courier what is current,
 * at most twice, and not the month; a courier that was not used, while another one brought it all, is rid of it at its next visit to
 * the dock, and brings nothing twice.
 * timeout 240
 */

const assert = require('assert');
const path = require('path');
const PouchDB = require('../web/node_modules/pouchdb');
const { remote, visitTablet, visitDock, chtApp, assertEqual } = require('../web/journey');
const { scenario } = require('../web/scenario');

const DOCS = 20, DAYS = 12;

scenario('a courier that was not used for a month carries no history', async ({ dir, world, random }) => {
    const server = await world.server([{ user: 'chw1' }]), there = remote(server.admin);
    const tablet = await world.tablet('t1', { user: 'chw1' });
    const idle = await world.courier('idle'), busy = await world.courier('busy');
    const dock = await world.dock('dock', server), pouch = new PouchDB(path.join(dir, 'pouch'));
    const text = (bytes) => Array.from({ length: bytes }, () => Math.floor(random() * 36).toString(36)).join('');
    const revs = new Map();

    // Another day's revision of each document; text that does not compress.
    const day = async (number) => {
        const docs = [...Array(DOCS)].map((_, i) => ({ _id: `person-${i}`, _rev: revs.get(i), type: 'person', day: number,
            parent: { _id: 'facility-chw1' }, note: text(8000) }));
        (await there.bulkDocs(docs)).forEach(({ ok, rev }, i) => assert.ok(ok) || revs.set(i, rev));
    };
    const held = async (station) => (await station.status()).batches;

    // Nobody visits the tablet; a courier is at the dock each day.
    await day(0);
    await visitDock(idle, dock);
    const { held_bytes: one } = await held(idle);
    assert.ok(one > DOCS * 4000, `${one} bytes`);
    for (let number = 1; number <= DAYS; number++) {
        await day(number);
        await visitDock(busy, dock);
        const { held_bytes: bytes } = await held(busy);
        assert.ok(bytes <= 2.2 * one, `day ${number}: ${bytes} bytes, and all that is current has ${one}`);
    }
    await tablet.start();
    const app = chtApp(pouch, tablet);
    await visitTablet(busy, tablet);
    await app.sync();
    await assertEqual(pouch, server, 'chw1');
    await visitDock(busy, dock);

    // Now it is visited daily, by one of the two.
    for (let number = DAYS + 1; number <= DAYS + 3; number++) {
        await day(number);
        await visitDock(busy, dock);
        await visitTablet(busy, tablet);
        await visitDock(busy, dock);
    }
    assert.ok((await held(idle)).held > 0, 'the idle one still has the first day');
    await visitDock(idle, dock);
    const { held: left, unnumbered } = await held(idle);
    assert.strictEqual(left, 0, 'the idle one is rid of all that others brought');
    const before = (await held(tablet)).applied;
    await visitTablet(idle, tablet);
    assert.strictEqual((await held(tablet)).applied, before, `it brings nothing; ${unnumbered} receipts`);
    await app.sync();
    await assertEqual(pouch, server, 'chw1');
    await tablet.stop();
});
