// SPDX-License-Identifier: AGPL-3.0-or-later
'use strict';

/*
 * What an offline user may read and write, by the rules of the CHT server: contacts at or under the user's place, reports about
 * such contacts, the user's own tasks and targets. A report's contact counts if it is stored or comes in the same request.
 */

const CONTACT_TYPES = ['contact', 'person', 'clinic', 'health_center', 'district_hospital'];

const isContact = (doc) => CONTACT_TYPES.includes(doc.type);

function under(doc, place) {
    for (let at = doc; at; at = at.parent) {
        if (at._id === place) {
            return true;
        }
    }
    return false;
}

class Lineage {
    constructor() {
        this.contacts = new Map();      // id and patient_id -> the contact's lineage
    }

    note(doc) {
        if (isContact(doc)) {
            const brief = { _id: doc._id, parent: doc.parent };
            this.contacts.set(doc._id, brief);
            if (doc.patient_id) {
                this.contacts.set(doc.patient_id, brief);
            }
        }
    }

    // The test for one user's request: together are the other documents of the same request.
    filter(user, together = []) {
        const near = new Lineage();
        together.forEach((doc) => near.note(doc));
        const known = (id) => [near, this].some((l) => l.contacts.has(id) && under(l.contacts.get(id), user.place));
        return (doc) => {
            if (isContact(doc)) {
                return under(doc, user.place);
            }
            if (doc.type === 'data_record') {
                const { patient_uuid, patient_id, place_id } = doc.fields || {};
                return known(patient_uuid || patient_id || place_id || (doc.contact || {})._id);
            }
            if (doc.type === 'task' || doc.type === 'target') {
                return doc._id.includes(`~org.couchdb.user:${user.username}`);
            }
            return doc._id === `org.couchdb.user:${user.username}`;
        };
    }
}

module.exports = { Lineage, isContact };
