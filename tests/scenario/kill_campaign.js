#!/usr/bin/env node
// SPDX-License-Identifier: AGPL-3.0-or-later
// timeout 900
'use strict';

/*
 * Sudden death (SIGKILL) of each program at seeded random moments of the whole flow, while new documents keep coming:
 * restarted, everything arrives, nothing is lost, nothing differs, all stores end empty. KILLS of each program (15).
 */

const assert = require('assert');
const path = require('path');
const PouchDB = require('../web/node_modules/pouchdb');
const docs = require('../web/docs');
const { sleep } = require('../web/program');
const { scenario, assertSame, assertEmpty } = require('../web/scenario');

const KILLS = Number(process.env.KILLS || 15);
const DOCS_A_ROUND = 12;
const LEG_MS = 60000;

// Kill the victim's program after a delay; true if it was still alive, so the kill was one.
async function strike(victim, delay_ms) {
    await sleep(delay_ms);
    if (!victim.program || victim.program.ended) {
        return false;
    }
    return await victim.kill() === 'SIGKILL';
}

class Campaign {
    constructor({ dir, world, random }) {
        Object.assign(this, { dir, world, random, kills: { tablet: 0, courier: 0, dock: 0 }, missed: 0, lengths_ms: {} });
    }

    async open() {
        this.server = await this.world.server([{ user: 'chw1' }]);
        this.tablet = await this.world.tablet('t1', { user: 'chw1' });
        this.courier = await this.world.courier('c1');
        this.dock = await this.world.dock('dock', this.server);
        this.pouch = new PouchDB(path.join(this.dir, 'pouch'));
        await this.tablet.start();
    }

    // Moments are drawn from the whole length of the leg as it was seen without a kill.
    delay(leg) {
        return this.random() * (this.lengths_ms[leg] || 300) * 1.1;
    }

    async timed(leg, fn) {
        const start_ms = Date.now();
        await fn();
        this.lengths_ms[leg] = Date.now() - start_ms;
    }

    count(name, struck) {
        if (struck) {
            this.kills[name]++;
        } else {
            this.missed++;
        }
    }

    async newDocs(round) {
        await docs.load(this.pouch, { count: DOCS_A_ROUND, seed: `${round}`, user: 'chw1', photos: round % 4 === 0 ? 2 : 0 });
    }

    async replicate() {
        const info = await this.pouch.replicate.to(this.tablet.url(), { batch_size: 5 });
        assert.ok(info.ok && !info.doc_write_failures, JSON.stringify(info));
    }

    async intoTablet(victim) {
        if (victim === 'tablet') {
            const job = this.replicate().catch(() => {});      // the connection breaks: that is the point
            this.count('tablet', await strike(this.tablet, this.delay('into tablet')));
            await job;
            await this.tablet.start();
        }
        await this.timed('into tablet', () => this.replicate());
    }

    async handedOver() {
        await this.tablet.program.waitLine(/safe to unplug/, LEG_MS, this.line);
    }

    async tabletToCourier(victim) {
        this.line = this.tablet.program.lines.length;
        await this.courier.plug(this.tablet);
        if (victim === 'courier at tablet') {
            this.count('courier', await strike(this.courier, this.delay('to courier')));
            await this.courier.plug(this.tablet);
        } else if (victim === 'tablet at courier') {
            this.count('tablet', await strike(this.tablet, this.delay('to courier')));
            await this.tablet.start();
            this.line = 0;
        }
        await this.timed('to courier', () => this.handedOver());
        await this.courier.unplug();
    }

    async courierToServer(victim) {
        await this.courier.plug(this.dock);
        if (victim === 'dock') {
            this.dock.start(['--once']);
            this.count('dock', await strike(this.dock, this.delay('to server')));
        } else if (victim === 'courier at dock') {
            this.dock.start(['--once']);
            this.count('courier', await strike(this.courier, this.delay('to server')));
            await this.dock.program.exited;                     // 75, or 0 when it had all
            await this.courier.plug(this.dock);
        }
        await this.timed('to server', () => this.dock.runOnce(LEG_MS));
        await this.courier.unplug();
    }

    async round(number, victim) {
        await this.newDocs(number);
        await this.intoTablet(victim);
        await this.tabletToCourier(victim);
        await this.courierToServer(victim);
    }
}

scenario(`${KILLS} kills of each program`, async (test) => {
    const campaign = new Campaign(test);
    const { kills, server, tablet, courier, dock } = (await campaign.open(), campaign);
    const due = () => Object.entries({ tablet: ['tablet', 'tablet at courier'], courier: ['courier at tablet', 'courier at dock'],
        dock: ['dock'] }).filter(([name]) => kills[name] < KILLS).flatMap(([, victims]) => victims);
    let round = 0;

    await campaign.round(round++, null);
    for (let victims = due(); victims.length; victims = due()) {
        assert.ok(round < 40 * KILLS + 40, `too many kills came too late: ${JSON.stringify(kills)}`);
        await campaign.round(round, victims[Math.floor(test.random() * victims.length)]);
        round++;
    }
    // One last quiet visit brings the last receipt; the courier's copies go with its next visit to the dock.
    await campaign.tabletToCourier(null);
    await campaign.courierToServer(null);
    const { documents } = await assertSame([campaign.pouch], server);
    const { refusals } = await dock.status();
    assert.deepStrictEqual(refusals, []);
    await assertEmpty(tablet, courier, dock);
    await tablet.stop();
    console.log(`${round} rounds, kills ${JSON.stringify(kills)}, ${campaign.missed} came too late; ${documents} documents, 0 differences`);
});
