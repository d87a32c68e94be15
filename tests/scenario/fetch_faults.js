#!/usr/bin/env node
// SPDX-License-Identifier: AGPL-3.0-or-later
'use strict';

/*
 * Answers of the server that the fetch cannot use (docs/down.md, "Faults"): cut, slow, HTML, no JSON, an error with status 200,
 * members missing or of other types, documents that were not asked for. Nothing of them is used, and the next turn brings
 * everything: the tablet's app ends equal.
 * timeout 240
 */

const assert = require('assert');
const fs = require('fs');
const path = require('path');
const PouchDB = require('../web/node_modules/pouchdb');
const { remote, visitTablet, visitDock, chtApp, plainApp, assertEqual } = require('../web/journey');
const { scenario } = require('../web/scenario');
const { World } = require('../web/stations');

const HTML = '<html><body><h1>Welcome to the hotel\'s network</h1></body></html>';
const UNUSABLE = [HTML, '', 'true', '[]', '{}', '{"error":"internal_server_error","reason":"timeout"}'];
const STRANGER = '{"results":[{"id":"stranger","docs":[{"ok":{"_id":"stranger","_rev":"1-a","_revisions":{"start":1,"ids":["a"]}}}]}]}';

// Route: the bodies that come with status 200, and that cannot be used.
const LISTINGS = {
    cht: { 'get-ids': [...UNUSABLE, '{"doc_ids_revs":{}}', '{"doc_ids_revs":["a"]}', '{"doc_ids_revs":[{"id":1,"rev":"1-a"}]}',
        '{"doc_ids_revs":[{"id":"a"}]}', '{"doc_ids_revs":[{"id":"a","rev":"1-a"}'] },
    couchdb: { 'medic/_changes': [...UNUSABLE, '{"results":{}}', '{"results":[{"id":"a","seq":1}],"last_seq":1}',
        '{"results":[{"seq":1,"changes":[{"rev":"1-a"}]}],"last_seq":1}', '{"results":[]', '{"results":[{"id":"a","changes":[{}]}],"last_seq":1}'] },
};

class Faults {
    constructor(kind, world, dir) {
        Object.assign(this, { kind, world, pouch: new PouchDB(path.join(dir, 'pouch')), made: 0 });
    }

    async open() {
        this.server = await this.world.server([{ user: 'chw1' }], { kind: this.kind });
        this.there = remote(this.server.admin);
        this.tablet = await this.world.tablet('t1', { user: 'chw1' });
        this.courier = await this.world.courier('c1');
        this.dock = await this.world.dock('dock', this.server);
        await this.tablet.start();
        this.app = this.kind === 'cht' ? chtApp(this.pouch, this.tablet) : plainApp(this.pouch, this.tablet);
    }

    async news() {
        await this.there.bulkDocs([{ _id: `person-${++this.made}`, type: 'person', parent: { _id: 'facility-chw1' } }]);
    }

    // A turn that meets the fault, with one of these exit statuses.
    async meets(fault, expected) {
        await this.news();
        await this.server.reset();
        await this.server.fault(fault);
        await this.dock.upload(60000, expected).catch((e) => { throw new Error(`${JSON.stringify(fault)}: ${e.message}`); });
        assert.ok((await this.server.stats()).faults >= 1, `${JSON.stringify(fault)} was not met`);
    }

    async delivered() {
        await this.server.reset();
        await visitDock(this.courier, this.dock);
        await visitTablet(this.courier, this.tablet);
        await this.app.sync();
        await assertEqual(this.pouch, this.server, 'chw1');
    }

    async run() {
        await this.open();
        for (const [route, bodies] of Object.entries(LISTINGS[this.kind])) {
            for (const body of bodies) {
                await this.meets({ path: route, status: 200, body }, [75]);
            }
            await this.meets({ path: route, cut: true }, [0, 75]);
            await this.meets({ path: route, delay_ms: 1500 }, [0]);
        }
        for (const body of [...UNUSABLE, '{"results":{}}', '{"results":[{"id":"person-1"}]}', '{"results":[{"docs":[{"ok":', STRANGER]) {
            await this.meets({ path: '_bulk_get', status: 200, body }, [0, 75]);
        }
        await this.meets({ path: '_bulk_get', cut: true }, [0, 75]);
        await this.meets({ path: '_bulk_get', status: 413 }, [0, 75]);
        await this.delivered();
        if (this.kind === 'cht') {
            await this.deletes();
        }
        await assert.rejects(this.pouch.get('stranger'));
        await this.tablet.stop();
        await this.server.stop();
    }

    // What is gone is asked for when the tablet has said that it holds it.
    async deletes() {
        await visitTablet(this.courier, this.tablet);
        await visitDock(this.courier, this.dock);
        for (const body of [...UNUSABLE, '{"doc_ids":"person-1"}', '{"doc_ids":[7]}']) {
            await this.there.bulkDocs([{ ...await this.there.get(`person-${this.made}`), _deleted: true }]);
            await this.meets({ path: 'get-deletes', status: 200, body }, [75]);
        }
        await this.delivered();
    }
}

scenario('answers that cannot be used', async ({ bin, dir }) => {
    for (const kind of process.env.KIND ? [process.env.KIND] : ['cht', 'couchdb']) {
        const home = path.join(dir, kind[1]);
        fs.mkdirSync(home);
        await new Faults(kind, await World.create({ dir: home, bin }), home).run();
        console.log(`${kind}: done`);
    }
});
