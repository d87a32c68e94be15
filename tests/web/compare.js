// SPDX-License-Identifier: AGPL-3.0-or-later
'use strict';

/*
 * Compares tablets' databases with the server's, document by document, both ways: every leaf (conflicts and deletions too), its
 * ancestry, its body, its attachments. With several tablets the server must hold the union.
 *
 *   node compare.js --db DIR [--db DIR ...] --server URL/medic [--ignore-never-up] [--subset] [--json]
 *
 * --ignore-never-up: documents that the CHT app never sends are expected not to be on the server. --subset: the server may hold
 * more documents than the tablets. Prints 'differences N' and the first 20; exit status 0 if there are none, else 1.
 */

const { isDeepStrictEqual, parseArgs } = require('util');
const PouchDB = require('pouchdb');
const { neverUp } = require('./docs');

const BATCH_LEAVES = 500;
const SHOWN = 20;

// Map of id to the set of leaf revs.
async function leavesOf(db) {
    const all = await db.changes({ style: 'all_docs', batch_size: 5000 });
    return new Map(all.results.map((row) => [row.id, new Set(row.changes.map((c) => c.rev))]));
}

// The bodies of the given [id, rev] pairs, as a Map of 'id rev' to the document with _revisions.
async function bodiesOf(db, pairs) {
    const found = new Map();
    for (let at = 0; at < pairs.length; at += BATCH_LEAVES) {
        const docs = pairs.slice(at, at + BATCH_LEAVES).map(([id, rev]) => ({ id, rev }));
        const { results } = await db.bulkGet({ docs, revs: true });
        results.flatMap((r) => r.docs).forEach(({ ok }) => ok && found.set(`${ok._id} ${ok._rev}`, ok));
    }
    return found;
}

const ancestors = ({ _revisions: { start, ids } }) => ids.map((hash, i) => `${start - i}-${hash}`);

// What all tablets hold together: id to Map of leaf rev to the database that has it.
async function unionOf(dbs) {
    const union = new Map();
    let shared = [];
    for (const db of dbs) {
        for (const [id, revs] of await leavesOf(db)) {
            const here = union.get(id) || new Map();
            union.set(id, here);
            shared = here.size && [...revs].some((rev) => !here.has(rev)) ? shared.concat(id) : shared;
            revs.forEach((rev) => here.set(rev, db));
        }
    }
    for (const id of new Set(shared)) {         // a leaf of one tablet may be history on another
        for (const [rev, db] of [...union.get(id)]) {
            const doc = (await bodiesOf(db, [[id, rev]])).get(`${id} ${rev}`);
            ancestors(doc).slice(1).forEach((old) => union.get(id).delete(old));
        }
    }
    return union;
}

// Digests may differ where a server compresses what it stores: then the bytes decide.
async function sameAttachment(name, doc, a, b, db, server) {
    if (!b || a.content_type !== b.content_type) {
        return false;
    }
    if (a.digest === b.digest) {
        return true;
    }
    const [x, y] = await Promise.all([db, server].map((d) => d.getAttachment(doc._id, name, { rev: doc._rev })));
    return x.equals(y);
}

async function compareDoc(doc, other, db, server) {
    const { _attachments: mine = {}, _revisions: history, ...body } = doc;
    const { _attachments: theirs = {}, _revisions: otherHistory, ...otherBody } = other;
    const wrong = [];
    if (!isDeepStrictEqual(body, otherBody)) {
        wrong.push('body');
    }
    if (!isDeepStrictEqual(history, otherHistory)) {
        wrong.push('ancestry');
    }
    for (const name of new Set([...Object.keys(mine), ...Object.keys(theirs)])) {
        if (!mine[name] || !await sameAttachment(name, doc, mine[name], theirs[name], db, server)) {
            wrong.push(`attachment ${name}`);
        }
    }
    return wrong;
}

// One leaf that both sides have, among their bodies.
async function compareBodies(id, rev, mine, theirs, db, server) {
    const doc = mine.get(`${id} ${rev}`), other = theirs.get(`${id} ${rev}`);
    if (!doc || !other) {
        return [{ id, rev, what: `no body on the ${doc ? 'server' : 'tablet'}` }];
    }
    return (await compareDoc(doc, other, db, server)).map((what) => ({ id, rev, what: `${what} differs` }));
}

/*
 * Returns {documents, leaves, attachments, differences: [{id, rev, what}]}. dbs and server are PouchDB objects.
 */
async function compare(dbs, server, options = {}) {
    const differences = [];
    const differ = (id, rev, what) => differences.push({ id, rev, what });
    const [union, there] = await Promise.all([unionOf(dbs), leavesOf(server)]);
    const common = new Map(dbs.map((db) => [db, []])), absent = new Map(dbs.map((db) => [db, []]));
    let attachments = 0, expected = 0;

    for (const [id, leaves] of union) {
        for (const [rev, db] of leaves) {
            ((there.get(id) || new Set()).has(rev) ? common : absent).get(db).push([id, rev]);
        }
    }
    for (const [id, revs] of there) {
        const extra = options.subset && !union.has(id) ? [] : [...revs];
        extra.filter((rev) => !(union.get(id) || new Map()).has(rev)).forEach((rev) => differ(id, rev, 'only on the server'));
    }
    for (const [db, pairs] of absent) {
        const bodies = options.ignoreNeverUp ? await bodiesOf(db, pairs) : new Map();
        for (const [id, rev] of pairs) {
            const doc = bodies.get(`${id} ${rev}`);
            if (doc && neverUp(doc)) {
                expected++;
            } else {
                differ(id, rev, 'not on the server');
            }
        }
    }
    for (const [db, pairs] of common) {
        for (let at = 0; at < pairs.length; at += BATCH_LEAVES) {
            const part = pairs.slice(at, at + BATCH_LEAVES);
            const [mine, theirs] = await Promise.all([bodiesOf(db, part), bodiesOf(server, part)]);
            for (const [id, rev] of part) {
                const doc = mine.get(`${id} ${rev}`);
                attachments += Object.keys((doc || {})._attachments || {}).length;
                if (options.ignoreNeverUp && doc && neverUp(doc)) {
                    differ(id, rev, 'should not be on the server');
                } else {
                    differences.push(...await compareBodies(id, rev, mine, theirs, db, server));
                }
            }
        }
    }
    const leaves = [...common.values()].reduce((sum, pairs) => sum + pairs.length, 0);
    return { documents: union.size, leaves, attachments, never_up: expected, differences };
}

// The given [id, rev] pairs on both sides: the same differences.
async function compareListed(db, server, pairs) {
    const differences = [];
    for (let at = 0; at < pairs.length; at += BATCH_LEAVES) {
        const part = pairs.slice(at, at + BATCH_LEAVES);
        const [mine, theirs] = await Promise.all([bodiesOf(db, part), bodiesOf(server, part)]);
        for (const [id, rev] of part) {
            differences.push(...await compareBodies(id, rev, mine, theirs, db, server));
        }
    }
    return differences;
}

async function main() {
    const { values: v } = parseArgs({ options: { db: { type: 'string', multiple: true }, server: { type: 'string' },
        'ignore-never-up': { type: 'boolean' }, subset: { type: 'boolean' }, json: { type: 'boolean' } } });
    if (!v.db || !v.server) {
        console.error('usage: compare.js --db DIR [--db DIR ...] --server URL/medic [--ignore-never-up] [--subset] [--json]');
        process.exit(2);
    }
    process.exitCode = 1;
    const dbs = v.db.map((dir) => new PouchDB(dir));
    const result = await compare(dbs, new PouchDB(v.server, { skip_setup: true }),
        { ignoreNeverUp: v['ignore-never-up'], subset: v.subset });
    await Promise.all(dbs.map((db) => db.close()));
    if (v.json) {
        console.log(JSON.stringify(result));
    } else {
        result.differences.slice(0, SHOWN).forEach((d) => console.log(`${d.id} ${d.rev}: ${d.what}`));
        console.log(`${result.documents} documents, ${result.leaves} leaves on both sides, ${result.attachments} attachments, ` +
            `${result.never_up} that never go up`);
        console.log(`differences ${result.differences.length}`);
    }
    process.exitCode = result.differences.length ? 1 : 0;
}

module.exports = { compare, compareListed };

if (require.main === module) {
    main().catch((e) => { console.error(`compare: ${e.message || JSON.stringify(e)}`); process.exit(1); });
}
