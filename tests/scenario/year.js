#!/usr/bin/env node
// SPDX-License-Identifier: AGPL-3.0-or-later
// timeout 420
'use strict';

/*
 * A year (WEEKS, 52) in both directions, in random order from SEED: five tablets, two of them at one place, two couriers, two
 * docks that share nothing but the deployment, a CHT server that is edited and whose workers change contacts. Users work in
 * between and replicate with the server past Boda at times; couriers are lost and replaced, tablets and apps installed anew; visits
 * are repeated and left out; documents are purged and deleted, conflicts made on purpose.
 * After two more visits to everybody each app holds what the server shows its user, leaf for leaf; what the workers recorded is
 * at the server unless listed as refused; nothing waits in any store.
 */

const assert = require('assert');
const fs = require('fs');
const { compareListed } = require('../web/compare');
const { remote, visitTablet, visitDock, assertSettled } = require('../web/journey');
const { scenario } = require('../web/scenario');
const { WebApp } = require('../web/webapp');
const { Worker } = require('../web/worker');

const WEEKS = Number(process.env.WEEKS || 52);
const TABLETS = 5;
const placeOf = (n) => `facility-${Math.min(n, 4)}`;          // the last two share one

class Year {
    constructor({ world, random }) {
        Object.assign(this, { world, random, counts: {}, made: 0, spent_ms: {} });
    }

    below(n) { return Math.floor(this.random() * n); }
    pick(list) { return list[this.below(list.length)]; }
    shuffled(list) { return list.map((x) => [this.random(), x]).sort((a, b) => a[0] - b[0]).map(([, x]) => x); }

    async count(what, fn) {
        const start_ms = Date.now();
        const result = await fn();
        this.counts[what] = (this.counts[what] || 0) + 1;
        this.spent_ms[what] = (this.spent_ms[what] || 0) + Date.now() - start_ms;
        return result;
    }

    async open() {
        const { world, random } = this;
        const numbers = [...Array(TABLETS)].map((_, i) => i + 1);
        this.server = await world.server(numbers.map((n) => ({ user: `chw${n}`, place: placeOf(n) })));
        this.there = remote(this.server.admin);
        this.workers = [];
        for (const n of numbers) {
            const tablet = await world.tablet(`t${n}`, { user: `chw${n}` });
            await tablet.start();
            this.workers.push(new Worker({ tablet, place: placeOf(n), random }));
        }
        this.couriers = [await world.courier('c1'), await world.courier('c2')];
        this.docks = [await world.dock('d1', this.server), await world.dock('d2', this.server)];
        await this.there.bulkDocs([{ _id: 'settings', week: 0 }, { _id: 'form:visit', type: 'form' },
            ...numbers.slice(0, 4).map((n) => ({ _id: placeOf(n), type: 'health_center', parent: { _id: 'district' } }))]);
        await this.there.bulkDocs([...Array(80)].map((_, i) => ({ _id: `person-${i}`, type: 'person', parent: { _id: placeOf(1 + i % 4) } })));
    }

    // ---- the server's side ----

    async edited(week) {
        const docs = (await this.there.allDocs({ include_docs: true })).rows.map((row) => row.doc);
        const shared = docs.filter((doc) => !/^(own|office)-/.test(doc._id)), office = docs.filter((doc) => doc._id.startsWith('office-'));
        const edits = this.shuffled(shared).slice(0, this.below(4)).map((doc) => ({ ...doc, edited_by: 'office', week }));
        const added = [...Array(this.below(3))].map(() => ({ _id: `office-${++this.made}`, type: 'person',
            parent: { _id: placeOf(1 + this.below(4)) } }));
        const dropped = office.length > 5 && this.below(3) === 0 ? [{ ...this.pick(office), _deleted: true }] : [];
        await this.there.bulkDocs([...edits, ...added, ...dropped]);
        await this.server.sentinel();
        this.counts.deleted_at_server = (this.counts.deleted_at_server || 0) + dropped.length;
    }

    async purged() {
        const worker = this.pick(this.workers);
        const listed = await this.direct(worker).listed();
        const ids = this.shuffled(listed.map((row) => row.id).filter((id) => id.startsWith('report-'))).slice(0, 3);
        await this.server.purge(worker.user, ids);
    }

    // The same document changed at two tablets and at the server, before they know of each other.
    async contested() {
        const [a, b] = this.workers.slice(-2);
        const theirs = new Set((await b.docs()).map((doc) => doc._id));
        const both = (await a.docs()).filter((doc) => doc._id.startsWith('person-') && theirs.has(doc._id));
        if (both.length) {
            const { _id: id } = this.pick(both);
            await a.edit(await a.pouch.get(id));
            await b.edit(await b.pouch.get(id));
            await this.there.get(id).then((doc) => this.there.bulkDocs([{ ...doc, edited_by: 'conflict' }]), () => {});
        }
    }

    // ---- what happens to tablets and couriers ----

    urlOf(worker) { return this.server.as(worker.user, undefined, ''); }
    direct(worker) { return new WebApp(worker.pouch, this.urlOf(worker)); }

    // Agent, app, or both anew. What only they have would be lost with them, so it goes to the server before.
    async reinstalled() {
        const worker = this.pick(this.workers), courier = this.pick(this.couriers), what = this.below(3);
        await worker.sync();
        await visitTablet(courier, worker.tablet);
        await visitDock(courier, this.pick(this.docks));
        if (what !== 1) {
            await worker.tablet.stop();
            fs.rmSync(worker.tablet.store, { recursive: true });
            await worker.tablet.start();
        }
        if (what !== 0) {
            worker.newApp();
        }
    }

    async lost() {
        fs.rmSync(this.pick(this.couriers).store, { recursive: true, force: true });
    }

    // A courier's week: some tablets, some of them twice, then perhaps one dock or the other, or both.
    async tour(courier) {
        const stops = this.shuffled(this.workers).slice(0, 1 + this.below(3));
        for (const worker of this.below(5) ? stops : [...stops, stops[0]]) {
            await this.count('visits', () => visitTablet(courier, worker.tablet));
        }
        for (const dock of this.shuffled(this.docks).slice(0, this.pick([0, 1, 1, 1, 2]))) {
            await this.count('dock visits', () => visitDock(courier, dock));
        }
    }

    async week(number) {
        await this.count('edits', () => this.edited(number));
        for (const worker of this.shuffled(this.workers)) {
            if (this.below(10) < 7) {
                await this.count('work', () => worker.work(1 + this.below(5)));
            }
            if (this.below(10) < 7) {
                await this.count('syncs', () => worker.sync());
            }
        }
        const events = { contested: 4, purged: 6, lost: 10, reinstalled: 10 };
        for (const [event, every] of Object.entries(events)) {
            if (this.below(every) === 0) {
                await this.count(event, () => this[event]());
            }
        }
        if (this.below(8) === 0) {
            const worker = this.pick(this.workers);
            await this.count('past Boda', () => worker.sync(this.urlOf(worker)));
        }
        for (const courier of this.shuffled(this.couriers).slice(0, 1 + this.below(2))) {
            await this.tour(courier);
        }
    }

    // ---- the end ----

    async everybody() {
        for (const courier of this.couriers) {
            for (const worker of this.workers) {
                await worker.sync();
                await visitTablet(courier, worker.tablet);
                await worker.sync();
            }
        }
    }

    async bothDocks() {
        for (const courier of this.couriers) {
            for (const dock of this.docks) {
                await visitDock(courier, dock);
            }
        }
    }

    async assertAppsEqual() {
        for (const worker of this.workers) {
            const differences = await worker.differences(this.urlOf(worker));
            const pairs = (await this.direct(worker).listed()).map(({ id, rev }) => [id, rev]);
            differences.push(...differences.length ? [] : await compareListed(worker.pouch, this.there, pairs));
            assert.deepStrictEqual(differences.slice(0, 10), [], `${worker.user}: ${differences.length} of ${pairs.length} differ`);
        }
    }

    async refusedIds() {
        const stations = [...this.docks, ...this.workers.map((worker) => worker.tablet)];
        const all = await Promise.all(stations.map((station) => station.status()));
        return new Set(all.flatMap((status) => status.refusals.map((r) => r.id)));
    }

    // The revisions among those asked for that are not in the server's tree, not as an ancestor of one either.
    async unknown(id, revs) {
        const leaves = await this.there.get(id, { open_revs: 'all', revs: true }).catch(() => []);
        const known = new Set(leaves.filter((leaf) => leaf.ok).flatMap(({ ok: { _revisions: { start, ids } } }) =>
            ids.map((hash, i) => `${start - i}-${hash}`)));
        return revs.filter((rev) => !known.has(rev));
    }

    // Returns how many revisions the workers recorded, and how many of them the server refused.
    async assertNothingMissing() {
        const refused = await this.refusedIds();
        let recorded = 0, excused = 0;
        for (const worker of this.workers) {
            const asked = {};
            worker.recorded.forEach(({ id, rev }) => { (asked[id] = asked[id] || []).push(rev); });
            const missing = new Set();
            for (const [id, { missing: revs }] of Object.entries(await this.there.revsDiff(asked))) {
                if ((await this.unknown(id, revs)).length) {
                    missing.add(id);
                }
            }
            assert.deepStrictEqual([...missing].filter((id) => !refused.has(id)), [], `recorded by ${worker.user}, not at the server`);
            recorded += worker.recorded.size;
            excused += missing.size;
        }
        return { recorded, excused };
    }
}

scenario(`${WEEKS} weeks in both directions`, async (test) => {
    const year = new Year(test);
    await year.open();
    for (let week = 1; week <= WEEKS; week++) {
        await year.week(week);
    }
    console.log(JSON.stringify(year.counts));
    await year.everybody();
    await year.bothDocks();
    await year.everybody();
    await year.assertAppsEqual();
    const { recorded, excused } = await year.assertNothingMissing();
    // What was received last is receipted, and the receipts come home.
    await year.bothDocks();
    await year.everybody();
    await year.bothDocks();
    await assertSettled(...year.workers.map((worker) => worker.tablet), ...year.couriers, ...year.docks);
    for (const worker of year.workers) {
        await worker.tablet.stop();
    }
    const spent = Object.entries(year.spent_ms).map(([what, ms]) => `${what} ${Math.round(ms / 1000)}`);
    console.log(`${recorded} revisions recorded, ${excused} documents refused; seconds: ${spent.join(', ')}`);
});
