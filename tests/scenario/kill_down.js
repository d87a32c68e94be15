#!/usr/bin/env node
// SPDX-License-Identifier: AGPL-3.0-or-later
// timeout 2400
'use strict';

/*
 * Sudden death (SIGKILL) of tablet and dock at KILLS (20) seeded random moments of a two-way exchange: while the app synchronizes,
 * while a courier is at the tablet, while the dock replays and fetches. Restarted, everything arrives both ways, and all ends equal.
 * The bound above is for 200 kills on a busy machine.
 */

const assert = require('assert');
const path = require('path');
const PouchDB = require('../web/node_modules/pouchdb');
const docs = require('../web/docs');
const { remote, visitTablet, visitDock, roundTrip, chtApp, assertEqual, assertSettled } = require('../web/journey');
const { sleep } = require('../web/program');
const { scenario } = require('../web/scenario');

const KILLS = Number(process.env.KILLS || 20);
const DOCS_A_ROUND = 15;
const USER = 'chw1';

class Campaign {
    constructor({ dir, world, random }) {
        Object.assign(this, { dir, world, random, kills: 0, missed: 0, round: 0, lengths_ms: { app: 300, tablet: 500, dock: 1000 } });
    }

    async open() {
        this.server = await this.world.server([{ user: USER }]);
        this.there = remote(this.server.admin);
        this.tablet = await this.world.tablet('t1', { user: USER });
        this.courier = await this.world.courier('c1');
        this.dock = await this.world.dock('dock', this.server);
        this.pouch = new PouchDB(path.join(this.dir, 'pouch'));
        await this.tablet.start();
        this.app = chtApp(this.pouch, this.tablet);
        await roundTrip(this.courier, [this.tablet], this.dock);        // the first list: get-ids answers 503 before it
    }

    // Moments are drawn from the whole length of the leg as it was seen without a kill.
    async strike(leg, victim) {
        await sleep(this.random() * this.lengths_ms[leg] * 1.1);
        if (victim.program.ended || await victim.kill() !== 'SIGKILL') {
            this.missed++;
        } else {
            this.kills++;
        }
    }

    async timed(leg, fn) {
        const start_ms = Date.now();
        await fn();
        this.lengths_ms[leg] = Date.now() - start_ms;
    }

    // Both sides write: new documents, edits of the other's, a photo now and then, a conflict.
    async bothWrite() {
        const n = this.round++;
        const options = { count: DOCS_A_ROUND, user: USER, photos: n % 3 === 0 ? 2 : 0, photo_bytes: 200000, deleted: 0 };
        await docs.load(this.pouch, { ...options, seed: `tablet ${n}` });
        await docs.load(this.there, { ...options, seed: `server ${n}` });
        for (const db of [this.pouch, this.there]) {
            const { rows } = await db.allDocs({ include_docs: true });
            const persons = rows.map((row) => row.doc).filter((doc) => doc.type === 'person');
            const person = persons[Math.floor(this.random() * persons.length)];
            await db.put({ ...person, visited: n, by: db === this.there ? 'server' : 'tablet' });
        }
        await this.server.sentinel({ member: `seen_${n % 4}`, limit: 5 });
    }

    async useApp(struck) {
        if (struck) {
            const job = this.app.sync().catch(() => {});        // the connection breaks: that is the point
            await this.strike('app', this.tablet);
            await job;
            await this.tablet.start();
        }
        await this.timed('app', () => this.app.sync());
    }

    async atTablet(struck) {
        if (struck) {
            await this.courier.plug(this.tablet);
            await this.strike('tablet', this.tablet);
            await this.courier.unplug();
            await this.tablet.start();
        }
        await this.timed('tablet', () => visitTablet(this.courier, this.tablet));
    }

    async atDock(struck) {
        if (struck) {
            await this.courier.plug(this.dock);
            this.dock.start(['--once']);
            await this.strike('dock', this.dock);
            await this.courier.unplug();
        }
        await this.timed('dock', () => visitDock(this.courier, this.dock));
    }

    async once(leg) {
        await this.bothWrite();
        await this.useApp(leg === 0);
        await this.atTablet(leg === 1);
        await this.atDock(leg === 2);
        await this.atTablet(leg === 3);
        await this.useApp(leg === 4);
    }
}

scenario(`${KILLS} kills of tablet and dock in a two-way exchange`, async (test) => {
    const campaign = new Campaign(test);
    await campaign.open();
    const { pouch, server, tablet, courier, dock } = campaign;

    await campaign.once(-1);
    while (campaign.kills < KILLS) {
        assert.ok(campaign.round < 10 * KILLS + 20, `too many kills came too late: ${campaign.missed}`);
        await campaign.once(Math.floor(test.random() * 5));
    }
    await campaign.app.sync();
    await roundTrip(courier, [tablet], dock);
    await campaign.app.sync();
    await assertEqual(pouch, server, USER);
    await roundTrip(courier, [tablet], dock);
    await visitDock(courier, dock);
    await assertSettled(tablet, courier, dock);
    await tablet.stop();
    console.log(`${campaign.round} rounds, ${campaign.kills} kills, ${campaign.missed} came too late`);
});
