// SPDX-License-Identifier: AGPL-3.0-or-later
'use strict';

/*
 * CHT's own replication towards the tablet, as the API does it since 4.3: which documents an offline user should hold (get-ids),
 * which of those that a tablet holds are deleted or purged (get-deletes). And what changes documents at the server meanwhile:
 * purging, and the workers that edit contacts.
 */

const { READ_ONLY_IDS, READ_ONLY_TYPES } = require('./docs');
const { isContact } = require('./lineage');

const WARN_DOCS = 10000;        // CHT warns of users with more

// What every user may read and none may write.
const isPublic = (doc) => READ_ONLY_TYPES.includes(doc.type) || READ_ONLY_IDS.includes(doc._id) ||
    doc._id === '_design/medic-client';

// The members that decide who may read a document.
function brief({ _id, type, parent, contact, fields: { patient_uuid, patient_id, place_id } = {} }) {
    return { _id, type, parent, contact: contact && { _id: contact._id }, fields: { patient_uuid, patient_id, place_id } };
}

class Replication {
    constructor(db, lineage) {
        Object.assign(this, { db, lineage, since: 0, docs: new Map(), purged: new Map() });
    }

    // Takes in what was written since the last time, by whatever route.
    async refresh() {
        const { results, last_seq: last } = await this.db.changes({ since: this.since, include_docs: true });
        for (const { id, doc, deleted } of results) {
            this.docs.delete(id);               // to the end: the order of get-ids is that of the changes
            this.docs.set(id, { rev: doc._rev, deleted: Boolean(deleted), brief: brief(doc) });
            if (!deleted) {
                this.lineage.note(doc);
            }
        }
        this.since = last;
    }

    // The test for one user's reading.
    async readable(user) {
        await this.refresh();
        const may = this.lineage.filter(user);
        return (doc) => isPublic(doc) || may(doc);
    }

    purgedOf(user) {
        return this.purged.get(user.username) || new Set();
    }

    async getIds(user) {
        const may = await this.readable(user);
        const purged = this.purgedOf(user);
        const list = [...this.docs].filter(([id, doc]) => !doc.deleted && !purged.has(id) && may(doc.brief))
            .map(([id, { rev }]) => ({ id, rev }));
        return { doc_ids_revs: list, warn_docs: list.length, last_seq: `${this.since}-test`, warn: list.length >= WARN_DOCS,
            limit: WARN_DOCS };
    }

    async getDeletes(user, ids) {
        await this.refresh();
        const purged = this.purgedOf(user);
        return { doc_ids: ids.filter((id) => purged.has(id) || (this.docs.get(id) || {}).deleted) };
    }

    purge({ user, ids }) {
        this.purged.set(user, new Set([...this.purgedOf({ username: user }), ...ids]));
        return { purged: ids.length };
    }

    // As CHT's sentinel does with new contacts: each that lacks the member gets it, by a new revision.
    async sentinel({ member = 'patient_id', limit = Infinity }) {
        const { rows } = await this.db.allDocs({ include_docs: true });
        const edited = rows.map((row) => row.doc).filter((doc) => isContact(doc) && doc[member] === undefined).slice(0, limit)
            .map((doc, i) => ({ ...doc, [member]: String(100000 + this.since * 1000 + i) }));
        const results = await this.db.bulkDocs(edited);
        await this.refresh();
        return { edited: results.filter((r) => r.ok).length };
    }
}

module.exports = { Replication };
