// SPDX-License-Identifier: AGPL-3.0-or-later
'use strict';

/*
 * A courier's journey between tablets and docks, and what a tablet's PouchDB should hold at its end.
 */

const assert = require('assert');
const PouchDB = require('pouchdb');
const { compare, compareListed } = require('./compare');
const { WebApp } = require('./webapp');

const VISIT_MS = 120000;

const remote = (url) => new PouchDB(url, { skip_setup: true });

// A whole visit to a running tablet: until nothing moves any more.
async function visitTablet(courier, tablet, timeout_ms = VISIT_MS) {
    const line = tablet.program.lines.length;
    await courier.plug(tablet);
    await tablet.program.waitLine(/safe to unplug/, timeout_ms, line);
    await courier.unplug();
}

// A whole visit to the dock: replay, fetch, receipts.
async function visitDock(courier, dock, { timeout_ms = VISIT_MS, expected = [0] } = {}) {
    await courier.plug(dock);
    const lines = await dock.runOnce(timeout_ms, expected);
    await courier.unplug();
    return lines;
}

// One round trip of a courier: tablets, dock, tablets.
async function roundTrip(courier, tablets, dock, options) {
    for (const tablet of tablets) {
        await visitTablet(courier, tablet);
    }
    await visitDock(courier, dock, options);
    for (const tablet of tablets) {
        await visitTablet(courier, tablet);
    }
}

// The app of a tablet in front of a CHT server, which replicates as the CHT webapp does, ...
function chtApp(pouch, tablet) {
    return new WebApp(pouch, tablet.url(''));
}

// ... and that of one in front of a CouchDB, by PouchDB's own sync.
function plainApp(pouch, tablet) {
    return {
        sync: async () => {
            const { push, pull } = await pouch.sync(remote(tablet.url()));
            assert.ok(push.ok && pull.ok && !push.doc_write_failures && !pull.doc_write_failures, JSON.stringify({ push, pull }));
            return { up: push.docs_written, fetched: pull.docs_written };
        },
    };
}

/*
 * The tablet's PouchDB holds what the server shows its user: with CouchDB every leaf, deleted ones too; with CHT the revisions
 * that get-ids names, and nothing else but what the app never sends. Bodies, ancestry and attachments are the same.
 */
async function assertEqual(pouch, server, user) {
    let differences;
    if (server.kind === 'couchdb') {
        ({ differences } = await compare([pouch], remote(server.admin)));
    } else {
        const direct = new WebApp(pouch, server.as(user, undefined, ''));
        differences = await direct.differences();
        if (!differences.length) {
            const pairs = (await direct.listed()).map(({ id, rev }) => [id, rev]);
            differences = await compareListed(pouch, remote(server.admin), pairs);
        }
    }
    assert.deepStrictEqual(differences.slice(0, 10), [], `${differences.length} differences of ${user}`);
}

// Nothing waits in these stations' stores, and of what is applied no bytes are left: but for the tablets' shelves, documents that
// were refused, which a dock keeps, and the newest receipts of tablets, which have no number and wait for nobody.
async function assertSettled(...stations) {
    for (const station of stations) {
        const { batches: { partial, held, aside, ...b }, station: { role }, refusals } = await station.status();
        const kept = role === 'tablet' || (role === 'dock' && refusals.length) ? b.kept_bytes : 0;
        const applied_bytes = b.held_bytes - b.unnumbered_bytes - kept;
        assert.deepStrictEqual({ partial, held, aside, applied_bytes }, { partial: 0, held: 0, aside: 0, applied_bytes: 0 }, station.name);
    }
}

module.exports = { remote, visitTablet, visitDock, roundTrip, chtApp, plainApp, assertEqual, assertSettled };
