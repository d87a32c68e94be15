// SPDX-License-Identifier: AGPL-3.0-or-later
'use strict';

/*
 * A health worker of a simulation: a tablet with its agent, an app with its PouchDB, and what the worker records in it. Three sorts
 * of documents keep the outcome certain, as CHT's own rules leave some open: ids `own-...` are edited and deleted by the worker
 * who made them alone, `office-...` by the server alone, anything else by everybody, but never deleted.
 */

const crypto = require('crypto');
const PouchDB = require('pouchdb').plugin(require('pouchdb-adapter-memory'));
const { neverUp } = require('./docs');
const { WebApp } = require('./webapp');

let pouches = 0;

class Worker {
    constructor({ tablet, place, random }) {
        Object.assign(this, { tablet, place, random, user: tablet.user, made: 0, recorded: new Map() });
        this.newApp();
    }

    // An app without any data, as after an installation.
    newApp() {
        this.pouch = new PouchDB(`worker-${process.pid}-${++pouches}`, { adapter: 'memory' });
    }

    below(n) { return Math.floor(this.random() * n); }
    pick(list) { return list[this.below(list.length)]; }
    id(prefix) { return `${prefix}-${this.user}-${++this.made}`; }

    async docs() {
        return (await this.pouch.allDocs({ include_docs: true })).rows.map((row) => row.doc);
    }

    async put(doc) {
        const { id, rev } = await this.pouch.put(doc);
        this.recorded.set(`${id} ${rev}`, { id, rev });
        return id;
    }

    person(prefix = 'person') {
        return { _id: this.id(prefix), type: 'person', parent: { _id: this.place }, name: `${this.user} ${this.made}` };
    }

    report(patient, prefix = 'report') {
        const hash = crypto.createHash('sha512').update(`${this.user} ${this.made}`).digest('hex');
        const photo = { content_type: 'image/jpeg', data: hash.repeat(1 + this.below(200)) };
        return { _id: this.id(prefix), type: 'data_record', form: 'visit', fields: { patient_uuid: patient },
            note: 'x'.repeat(this.below(2000)), ...this.below(10) === 0 && { _attachments: { 'user-file-photo.jpg': photo } } };
    }

    // One piece of work.
    async act(docs) {
        const mine = docs.filter((doc) => doc._id.startsWith(`own-${this.user}-`));
        const shared = docs.filter((doc) => !/^(own|office|refused)-/.test(doc._id) && !neverUp(doc));
        const dice = this.below(100);
        if (dice < 25 || !shared.length) {
            return this.put(this.person());
        }
        if (dice < 60) {
            const patients = shared.filter((doc) => doc.type === 'person');
            return this.put(this.report(patients.length ? this.pick(patients)._id : this.place, this.below(4) ? 'report' : 'own'));
        }
        if (dice < 64) {
            return this.put(this.report('a-stranger', 'refused'));
        }
        if (dice < 72 && mine.length) {
            return this.put({ ...this.pick(mine), _deleted: true });
        }
        return this.edit(this.pick(mine.length && dice < 80 ? mine : shared));
    }

    edit(doc) {
        return this.put({ ...doc, edited_by: this.user, edits: (doc.edits || 0) + 1 });
    }

    async work(pieces) {
        for (let i = 0; i < pieces; i++) {
            await this.act(await this.docs());
        }
    }

    // The app's own replication, with the agent or past it. A new agent answers 503 until a courier has brought the first list.
    async sync(url = this.tablet.url('')) {
        const app = new WebApp(this.pouch, url);
        return app.sync().catch((e) => {
            if (!/: 503 /.test(e.message)) {
                throw e;
            }
        });
    }

    // What differs between the app and what the server shows this user, but for what the server refuses.
    async differences(url) {
        const there = new WebApp(this.pouch, url);
        return (await there.differences()).filter(({ id }) => !id.startsWith('refused-'));
    }
}

module.exports = { Worker };
