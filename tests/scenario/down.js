#!/usr/bin/env node
// SPDX-License-Identifier: AGPL-3.0-or-later
'use strict';

/*
 * The whole way in both directions, with a CHT server and an app that replicates as the CHT webapp does, and with a CouchDB and
 * PouchDB's own sync: what is at the server when the tablet is new, edits, deletions, attachments, conflicts, what the server's workers
 * change, the meta database; with CHT purges, and refusals that the app can see and that drop off the list again. Each time the
 * tablet's PouchDB ends equal, leaf for leaf, and a journey without news fetches no document.
 * timeout 240
 */

const assert = require('assert');
const fs = require('fs');
const path = require('path');
const PouchDB = require('../web/node_modules/pouchdb');
const { Chromium } = require('../web/chromium');
const docs = require('../web/docs');
const { remote, visitTablet, visitDock, roundTrip, chtApp, plainApp, assertEqual, assertSettled } = require('../web/journey');
const { scenario } = require('../web/scenario');
const { World } = require('../web/stations');

const USER = 'chw1';
const person = (id, more = {}) => ({ _id: id, type: 'person', parent: { _id: `facility-${USER}` }, ...more });
const report = (id, patient, more = {}) => ({ _id: id, type: 'data_record', form: 'visit', fields: { patient_uuid: patient },
    ...more });
const photo = (bytes) => ({ _attachments: { 'user-file-photo.jpg': { content_type: 'image/jpeg',
    data: Buffer.alloc(bytes, 7).toString('base64') } } });

class Way {
    constructor(kind, world, dir, seed) {
        Object.assign(this, { kind, world, seed, pouch: new PouchDB(path.join(dir, 'pouch')), meta: new PouchDB(path.join(dir, 'meta')) });
    }

    async open() {
        this.server = await this.world.server([{ user: USER }, { user: 'chw2' }], { kind: this.kind });
        this.there = remote(this.server.admin);
        this.tablet = await this.world.tablet('t1', { user: USER });
        this.courier = await this.world.courier('c1');
        this.dock = await this.world.dock('dock', this.server);
        await this.tablet.start();
        this.app = this.kind === 'cht' ? chtApp(this.pouch, this.tablet) : plainApp(this.pouch, this.tablet);
    }

    trip(options) {
        return roundTrip(this.courier, [this.tablet], this.dock, options);
    }

    // The app synchronizes, a courier goes to and fro, the app synchronizes again; all is equal.
    async journey(options) {
        await this.app.sync();
        await this.trip(options);
        const result = await this.app.sync();
        await assertEqual(this.pouch, this.server, USER);
        return result;
    }

    async firstOfAll() {
        await docs.load(this.there, { count: 200, seed: this.seed, user: USER, photos: 8, conflicts: 5, deleted: 5 });
        await docs.load(this.there, { count: 50, seed: this.seed, user: 'chw2' });
        await this.there.bulkDocs([{ _id: 'form:visit', type: 'form' }, { _id: 'settings', settings: { locale: 'sw' } },
            person('odd/id %2F "é" 👶🏾'), person('big', photo(3e6))]);
        await visitDock(this.courier, this.dock);
        await visitTablet(this.courier, this.tablet);
        const { fetched } = await this.app.sync();
        assert.ok(fetched >= 190, `only ${fetched} documents`);
        await assertEqual(this.pouch, this.server, USER);
    }

    async bothSidesWork() {
        await docs.load(this.pouch, { count: 60, seed: `${this.seed}/tablet`, user: USER, photos: 5, facility: `facility-${USER}` });
        const mine = await this.pouch.get('big');
        await this.pouch.put({ ...mine, notes: 'by the tablet' });
        await this.there.bulkDocs([person('new-at-server'), report('report-at-server', 'new-at-server', photo(30000))]);
        await this.journey();
        // A conflict, made on both sides at once; a deletion on each; what the server's workers change.
        await this.pouch.bulkDocs([person('contested', { by: 'tablet' }), person('of-tablet'), person('no-code')]);
        await this.there.bulkDocs([person('contested', { by: 'server' }), person('of-server', { patient_id: '77' })]);
        await this.journey();
        await this.pouch.put({ ...await this.pouch.get('of-server'), _deleted: true });
        await this.there.bulkDocs([{ ...await this.there.get('of-tablet'), _deleted: true }]);
        await this.server.sentinel();
        await this.journey();
        await assert.rejects(this.pouch.get('of-tablet'), { status: 404 });
        await assert.rejects(this.there.get('of-server'), { status: 404 });
        assert.ok((await this.pouch.get('no-code')).patient_id, 'as the server changed it');
    }

    metaName() { return `medic-user-${USER}-meta`; }
    syncMeta() { return this.meta.sync(remote(this.tablet.url(this.metaName()))); }

    // Both databases of read marks have that of the tablet and that of the server.
    async assertMeta() {
        for (const db of [this.meta, remote(this.server.as(USER, undefined, this.metaName()))]) {
            assert.deepStrictEqual((await db.allDocs()).rows.map((row) => row.id), ['read:report:server', 'read:report:tablet']);
        }
    }

    async metaDatabase() {
        const direct = new PouchDB(this.server.as(USER, undefined, this.metaName()));
        await this.meta.put({ _id: 'read:report:tablet' });
        await direct.info();
        await direct.put({ _id: 'read:report:server' });
        await this.syncMeta();
        await this.trip();
        await this.syncMeta();
        await this.assertMeta();
    }

    async purged() {
        await this.server.purge(USER, ['new-at-server', 'report-at-server']);
        const { purged } = await this.journey();
        assert.strictEqual(purged, 2);
        assert.ok(await this.there.get('new-at-server'), 'a purge is no deletion');
    }

    // The text of the page that the agent shows in a browser.
    async agentsPage() {
        const browser = await Chromium.start(path.join(this.world.dir, 'profile'));
        const page = await browser.open(this.tablet.url('_boda/'));
        const text = await page.run(`for (let i = 0; i < 100 && !document.querySelector('td'); i++) {
                await new Promise((done) => setTimeout(done, 100));
            }
            return document.body.innerText;`);
        await browser.stop();
        return text;
    }

    refusals() {
        return this.tablet.ask('GET', '_boda/status').then(({ status, text, json }) => {
            assert.strictEqual(status, 200);
            return { text, list: json.refused };
        });
    }

    // A report about a patient that this user may not see; then it is corrected.
    async refused() {
        await this.pouch.put(report('foreign', 'nobody-knows'));
        await this.app.sync();
        await this.trip();
        const { list } = await this.refusals();
        assert.deepStrictEqual(list.map((r) => [r.id, r.error]), [['foreign', 'forbidden']]);
        assert.deepStrictEqual((await this.tablet.status()).refusals.map((r) => r.id), ['foreign']);
        assert.match(await this.agentsPage(), /foreign\s+forbidden/);
        await this.pouch.put({ ...await this.pouch.get('foreign'), fields: { patient_uuid: 'no-code' } });
        await this.journey();
        await this.trip();
        assert.deepStrictEqual((await this.refusals()).list, []);
        assert.deepStrictEqual((await this.tablet.status()).refusals, []);
    }

    async nothingNew() {
        await this.trip();
        await this.trip();
        await this.server.reset();
        await this.trip();
        const { docs_served: served, requests } = await this.server.stats();
        assert.deepStrictEqual([served, requests['POST _bulk_get']], [0, undefined], JSON.stringify(requests));
        await assertSettled(this.tablet, this.courier, this.dock);
    }

    // The same app after its data was cleared: from the shelf it gets at once what the server has sent, and with the next
    // journey what it had recorded itself.
    async secondApp(dir) {
        this.pouch = new PouchDB(path.join(dir, 'second'));
        this.app = this.kind === 'cht' ? chtApp(this.pouch, this.tablet) : plainApp(this.pouch, this.tablet);
        const { fetched } = await this.app.sync();
        assert.ok(fetched >= 190, `only ${fetched} documents`);
        this.meta = new PouchDB(path.join(dir, 'second-meta'));
        await this.syncMeta();
        await this.journey();
        await this.syncMeta();
        await this.assertMeta();
    }
}

async function whole(kind, { bin, dir, seed }) {
    const home = path.join(dir, kind === 'cht' ? 'h' : 'c');
    fs.mkdirSync(home);
    const way = new Way(kind, await World.create({ dir: home, bin }), home, seed);
    const steps = ['open', 'firstOfAll', 'bothSidesWork', 'metaDatabase', ...kind === 'cht' ? ['purged', 'refused'] : [],
        'nothingNew', 'secondApp'];
    for (const step of steps) {
        const start_ms = Date.now();
        await way[step](home);
        console.log(`${kind}: ${step} ${((Date.now() - start_ms) / 1000).toFixed(1)} s`);
    }
    await way.tablet.stop();
    await way.server.stop();
}

scenario('both directions, with CHT and with CouchDB', async (test) => {
    for (const kind of process.env.KIND ? [process.env.KIND] : ['cht', 'couchdb']) {
        await whole(kind, test);
    }
});
