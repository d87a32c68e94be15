// SPDX-License-Identifier: AGPL-3.0-or-later
'use strict';

/*
 * Replicates as the CHT webapp does (docs/cht.md, "The app on the tablet"), between a PouchDB and a CHT server or boda-tablet.
 * Up: PouchDB's replicate.to with the webapp's filter. Down: get-ids, compared with allDocs; _bulk_get in hundreds, written
 * with new_edits:false; get-deletes for what is not listed, and purge stubs for those.
 *
 *   const app = new WebApp(new PouchDB('x'), 'http://NAME:SECRET@127.0.0.1:5985');
 *   const { up, fetched, purged } = await app.sync();
 */

const PouchDB = require('pouchdb');
const { neverUp } = require('./docs');

const BATCH_DOCS = 100;

class WebApp {
    // url: without the database; name and password in it.
    constructor(local, url, db = 'medic') {
        const { origin, username, password } = new URL(url);
        const user = decodeURIComponent(username), pass = decodeURIComponent(password);
        Object.assign(this, { local, db, origin });
        this.authorization = 'Basic ' + Buffer.from(`${user}:${pass}`).toString('base64');
        this.remote = new PouchDB(`${origin}/${this.db}`, { skip_setup: true, auth: { username: user, password: pass } });
    }

    async ask(method, route, body) {
        const answer = await fetch(`${this.origin}/${route}`, { method, body: body && JSON.stringify(body),
            headers: { authorization: this.authorization, accept: 'application/json', 'content-type': 'application/json' } });
        if (answer.status !== 200) {
            throw new Error(`${method} /${route}: ${answer.status} ${await answer.text()}`);
        }
        return answer.json();
    }

    up() {
        return this.local.replicate.to(this.remote, { filter: (doc) => !neverUp(doc), batch_size: BATCH_DOCS });
    }

    async held() {
        const { rows } = await this.local.allDocs();
        return new Map(rows.map((row) => [row.id, row.value.rev]));
    }

    async listed() {
        return (await this.ask('GET', 'api/v1/replication/get-ids')).doc_ids_revs;
    }

    async fetch(docs) {
        const { results } = await this.ask('POST', `${this.db}/_bulk_get?revs=true&attachments=true`, { docs });
        const found = results.flatMap((r) => r.docs).map((d) => d.ok).filter((doc) => doc);
        await this.local.bulkDocs(found, { new_edits: false });
        return found.length;
    }

    async purge(held, ids) {
        const stubs = ids.map((id) => ({ _id: id, _rev: held.get(id), _deleted: true, purged: true }));
        const results = await this.local.bulkDocs(stubs);
        return results.filter((r) => r.ok).length;
    }

    async down() {
        const [listed, held] = [await this.listed(), await this.held()];
        const missing = listed.filter(({ id, rev }) => held.get(id) !== rev);
        let fetched = 0, purged = 0;
        for (let at = 0; at < missing.length; at += BATCH_DOCS) {
            fetched += await this.fetch(missing.slice(at, at + BATCH_DOCS));
        }
        const names = new Set(listed.map((row) => row.id));
        const unlisted = [...held.keys()].filter((id) => !names.has(id));
        if (unlisted.length) {
            const { doc_ids: ids } = await this.ask('POST', 'api/v1/replication/get-deletes', { doc_ids: unlisted });
            purged = await this.purge(held, ids.filter((id) => held.has(id)));
        }
        return { missing: missing.length, fetched, purged };
    }

    async sync() {
        const up = await this.up();
        return { up: up.docs_written, refused: up.doc_write_failures, ...await this.down() };
    }

    // What differs from what the other side lists: [{id, here, there}], by winning revisions.
    async differences() {
        const [listed, held] = [await this.listed(), await this.held()];
        const there = new Map(listed.map(({ id, rev }) => [id, rev]));
        return [...new Set([...there.keys(), ...held.keys()])].filter((id) => there.get(id) !== held.get(id))
            .map((id) => ({ id, here: held.get(id), there: there.get(id) }));
    }
}

module.exports = { WebApp };
