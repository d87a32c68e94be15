// SPDX-License-Identifier: AGPL-3.0-or-later
'use strict';

/*
 * What happens at the server of the demo while the courier is away: the office registers people, reviews reports, deletes some, and
 * the server's own workers give contacts their codes. And a report that the server refuses, as its patient is nobody's.
 */

const { isContact } = require('./lineage');

const REGISTERED = 20, REVIEWED = 10, DELETED = 3;

const refusedReport = { _id: 'report-about-a-stranger', type: 'data_record', form: 'visit', content_type: 'xml',
    reported_date: 1700000000000, fields: { patient_uuid: 'nobody-knows' } };

class Office {
    // there: the server's database, for an administrator; place: the user's; lent: the server will be there for a later demo, which
    // is to find the documents as they came. So people are registered, and that is all.
    constructor(there, { user, place, lent = false }) {
        Object.assign(this, { there, user, place, lent });
    }

    registered() {
        const run = Date.now().toString(36);
        return [...Array(REGISTERED)].map((_, i) => ({ _id: `registered-${this.user}-${run}-${i + 1}`, type: 'person', name: `Office ${i + 1}`,
            parent: { _id: this.place }, patient_id: String(900000 + i), reported_date: 1700000000000 }));
    }

    // The server's present versions of what the app has recorded, and the server has.
    async shared(pouch) {
        const { rows } = await pouch.allDocs();
        const found = await this.there.allDocs({ keys: rows.map((row) => row.id), include_docs: true });
        return found.rows.map((row) => row.doc).filter((doc) => doc && !doc._attachments);
    }

    // Returns how many documents were changed.
    async work(pouch) {
        const shared = this.lent ? [] : await this.shared(pouch);
        const reports = shared.filter((doc) => doc.type === 'data_record');
        const coded = shared.filter((doc) => isContact(doc) && doc.patient_id === undefined).map((doc, i) => ({ ...doc, patient_id: String(800000 + i) }));
        const changes = [...this.registered(), ...coded, ...reports.slice(0, REVIEWED).map((doc) => ({ ...doc, reviewed: true })),
            ...reports.slice(-DELETED).map((doc) => ({ ...doc, _deleted: true }))];
        const failed = (await this.there.bulkDocs(changes)).filter((result) => result.error);
        if (failed.length) {
            throw new Error(`the office: ${failed.length} documents not written, the first ${JSON.stringify(failed[0])}`);
        }
        return changes.length;
    }
}

module.exports = { Office, refusedReport };
