// SPDX-License-Identifier: AGPL-3.0-or-later
'use strict';

/*
 * Proves that the CHT front behaves as the CHT server was seen to, and that compare.js sees each sort of difference.
 *
 *   node selftest.js [NAME]        the tests whose name contains NAME
 */

const assert = require('assert');
const crypto = require('crypto');
const fs = require('fs');
const http = require('http');
const os = require('os');
const path = require('path');
const zlib = require('zlib');
const PouchDB = require('pouchdb').plugin(require('pouchdb-adapter-memory'));
const { compare } = require('./compare');
const docs = require('./docs');
const { Program } = require('./program');
const { Server } = require('./stations');
const { WebApp } = require('./webapp');

const JSON_TYPE = { 'content-type': 'application/json', accept: 'application/json' };
const USERS = [{ user: 'chw1' }, { user: 'chw2', place: 'facility-chw1' }, { user: 'other' }, { user: 'fresh', reset: true },
    { user: 'boss', roles: 'mm-online' }];
const base64 = (text) => Buffer.from(text).toString('base64');
const basic = (user, password = `${user}-pw`) => ({ authorization: `Basic ${base64(`${user}:${password}`)}` });

const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'boda-self-'));
delete process.env.DOCS;           // of a demo: not for the documents here
let server, plain;
let names = 0;

// One request; body may be an object (sent as JSON), text or bytes; null as a value takes a header away.
function ask(method, where, { user = 'chw1', body, headers = {}, to = server, agent } = {}) {
    const asIs = body === undefined || typeof body === 'string' || Buffer.isBuffer(body);
    const bytes = asIs ? body : JSON.stringify(body);
    const length = bytes && { 'content-length': Buffer.byteLength(bytes) };
    const all = { ...JSON_TYPE, ...(user && basic(user)), ...length, ...headers };
    const sent = Object.fromEntries(Object.entries(all).filter(([, value]) => value !== null));
    return new Promise((done, failed) => {
        const req = http.request(to.url + where, { method, headers: sent, agent }, (res) => {
            const chunks = [];
            res.on('data', (c) => chunks.push(c));
            res.on('error', failed);
            res.on('end', () => {
                const text = Buffer.concat(chunks).toString();
                const json = /json|plain/.test(res.headers['content-type']) && /^[[{]/.test(text) ? JSON.parse(text) : null;
                done({ status: res.statusCode, headers: res.headers, text, json });
            });
        });
        req.on('error', failed);
        req.end(bytes);
    });
}

function doc(body, parents = []) {
    const hash = crypto.createHash('md5').update(JSON.stringify([body, parents])).digest('hex');
    const ids = [hash, ...parents];
    return { _id: `doc-${++names}`, ...body, _rev: `${ids.length}-${hash}`, _revisions: { start: ids.length, ids } };
}
const person = (more = {}, facility = 'facility-chw1') => doc({ type: 'person', parent: { _id: facility }, ...more });
const report = (uuid, more = {}) => doc({ type: 'data_record', form: 'f', fields: { patient_uuid: uuid }, ...more });
const photo = (data) => ({ _attachments: { 'a.jpg': { content_type: 'image/jpeg', ...data } } });

const bulk = (list, more) => ask('POST', '/medic/_bulk_docs', { body: { docs: list, new_edits: false }, ...more });

// Which of the documents the server has, by _revs_diff.
async function stored(list, to = server) {
    const body = Object.fromEntries(list.map((d) => [d._id, [d._rev]]));
    const { json } = await ask('POST', '/medic/_revs_diff', { body, to, user: 'boss' });
    return list.map((d) => !json[d._id]);
}

const forbidden = (d) => ({ id: d._id, error: 'forbidden' });
const login = (user, password, headers) => ask('POST', '/medic/login', { user: null, body: { user, password }, headers });

const tests = {
    'login: exact content type, 302 with the path, cookie works': async () => {
        const ok = await login('chw1', 'chw1-pw');
        assert.deepStrictEqual([ok.status, ok.text], [302, '/']);
        const cookie = ok.headers['set-cookie'][0].split(';')[0];
        assert.match(cookie, /^AuthSession=/);
        assert.strictEqual((await ask('GET', '/dbinfo', { user: null, headers: { cookie } })).status, 200);
        const charset = { 'content-type': 'application/json; charset=utf-8' };
        assert.strictEqual((await login('chw1', 'chw1-pw', charset)).status, 400);
        await server.test('expire', {});
        assert.strictEqual((await ask('GET', '/dbinfo', { user: null, headers: { cookie } })).status, 401);
    },
    'login: a first password must be changed': async () => {
        const answer = await login('fresh', 'fresh-pw');
        assert.deepStrictEqual([answer.status, answer.text], [302, '/medic/password-reset']);
        assert.doesNotMatch(String(answer.headers['set-cookie']), /AuthSession/);
    },
    'login: five wrong passwords lock the account': async () => {
        for (let i = 0; i < 5; i++) {
            assert.strictEqual((await login('other', 'no')).status, 401);
        }
        assert.strictEqual((await login('other', 'other-pw')).status, 500);
        assert.strictEqual((await ask('GET', '/', { user: 'other' })).status, 403);
        await server.reset();
        assert.strictEqual((await ask('GET', '/', { user: 'other' })).status, 200);
    },
    'no authentication: 401, or a redirect to HTML without Accept': async () => {
        const json = await ask('GET', '/medic/_local/x', { user: null });
        assert.deepStrictEqual([json.status, json.headers['logout-authorization']], [401, 'CHT-Core API']);
        const html = await ask('GET', '/medic/_local/x', { user: null, headers: { accept: null } });
        assert.deepStrictEqual([html.status, html.headers['content-type']], [302, 'text/html']);
        assert.strictEqual((await ask('GET', '/', { user: null, headers: basic('chw1', 'wrong') })).status, 401);
        await server.reset();
    },
    'lineage: own contacts, reports about them, own tasks': async () => {
        const own = person(), foreign = person({}, 'elsewhere');
        const nested = person({ parent: { _id: 'x', parent: { _id: 'facility-chw1' } } });
        const list = [report(own._id), own, nested, foreign, report(foreign._id), doc({ type: 'form' }),
            doc({ _id: `task~org.couchdb.user:chw1~${names}`, type: 'task' }),
            doc({ _id: `task~org.couchdb.user:chw2~${names}`, type: 'task' }),
            doc({ _id: `target~2024-01~x~org.couchdb.user:chw1`, type: 'target' })];
        const { status, json } = await bulk(list);
        const refused = [foreign, list[4], list[5], list[7]];
        assert.deepStrictEqual([status, json], [201, refused.map(forbidden)]);
        assert.deepStrictEqual(await stored(list), list.map((d) => !refused.includes(d)));
    },
    'order: a report ahead of its patient is refused, later accepted': async () => {
        const patient = person({ patient_id: '4711' }), byCode = report(undefined, { fields: { patient_id: '4711' } });
        const list = [report(patient._id), byCode];
        assert.deepStrictEqual((await bulk(list)).json, list.map(forbidden));
        assert.deepStrictEqual((await bulk([patient])).json, []);
        assert.deepStrictEqual((await bulk(list)).json, []);
    },
    'tombstones: a bare one is refused, one with its body accepted': async () => {
        const first = person();
        await bulk([first]);
        const parents = first._revisions.ids, _id = first._id;
        const bare = doc({ _id, _deleted: true }, parents);
        const full = doc({ _id, type: 'person', parent: first.parent, _deleted: true }, parents);
        assert.deepStrictEqual((await bulk([bare])).json, [forbidden(bare)]);
        assert.deepStrictEqual((await bulk([full])).json, []);
    },
    'bad document: base64 400, none stored': async () => {
        const list = [person(), person(photo({ data: 'AAA*' }))];
        assert.strictEqual((await bulk(list)).status, 400);
        assert.deepStrictEqual(await stored(list), [false, false]);
    },
    'bad document: unknown _field 400, none stored': async () => {
        const list = [person(), person({ _odd: 1 })];
        assert.strictEqual((await bulk(list)).status, 400);
        assert.deepStrictEqual(await stored(list), [false, false]);
    },
    'bad document: unknown stub 412, others partly stored': async () => {
        const stub = { stub: true, digest: 'md5-AAAAAAAAAAAAAAAAAAAAAA==', length: 3, revpos: 1 };
        const list = [person(), person(photo(stub)), person()];
        assert.strictEqual((await bulk(list)).status, 412);
        assert.deepStrictEqual(await stored(list), [true, false, false]);
    },
    'bad document: contact null 500, none stored': async () => {
        const list = [person(), person({ contact: null })];
        assert.strictEqual((await bulk(list)).status, 500);
        assert.deepStrictEqual(await stored(list), [false, false]);
    },
    'bad document: malformed JSON 500; over 8 MB 413': async () => {
        assert.strictEqual((await ask('POST', '/medic/_bulk_docs', { body: '{"docs":[{]}' })).status, 500);
        assert.strictEqual((await bulk([person({ notes: 'x'.repeat(8e6) })])).status, 413);
        const big = person(photo({ data: Buffer.alloc(9e6).toString('base64') }));
        assert.deepStrictEqual((await bulk([big])).json, []);
    },
    'request above 32 MB: 413 as HTML': async () => {
        const answer = await ask('POST', '/medic/_bulk_docs', { body: Buffer.alloc(33 * 1024 * 1024, ' ') });
        assert.deepStrictEqual([answer.status, answer.headers['content-type']], [413, 'text/html']);
    },
    'request gzip: 400 on CHT, accepted by CouchDB': async () => {
        const one = person();
        const body = zlib.gzipSync(JSON.stringify({ docs: [one], new_edits: false }));
        const more = { body, headers: { 'content-encoding': 'gzip' } };
        assert.strictEqual((await ask('POST', '/medic/_bulk_docs', more)).status, 400);
        assert.strictEqual((await ask('POST', '/medic/_bulk_docs', { ...more, to: plain })).status, 201);
        assert.deepStrictEqual([...await stored([one]), ...await stored([one], plain)], [false, true]);
    },
    'Expect and chunked bodies: 500 on CHT, accepted by CouchDB': async () => {
        const body = { docs: [person()], new_edits: false };
        for (const headers of [{ expect: '100-continue' }, { 'content-length': null, 'transfer-encoding': 'chunked' }]) {
            assert.strictEqual((await ask('POST', '/medic/_bulk_docs', { body, headers })).status, 500);
            assert.strictEqual((await ask('POST', '/medic/_bulk_docs', { body, headers, to: plain })).status, 201);
        }
    },
    'answers: gzip if asked, connections kept': async () => {
        const body = Object.fromEntries([...Array(200)].map((_, i) => [`none-${i}`, ['1-a']]));
        const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
        const before = (await server.stats()).connections;
        for (let i = 0; i < 3; i++) {
            const { headers } = await ask('POST', '/medic/_revs_diff', { body, agent, headers: { 'accept-encoding': 'gzip' } });
            assert.strictEqual(headers['content-encoding'], 'gzip');
        }
        agent.destroy();
        assert.ok((await server.stats()).connections - before <= 3);    // ours, and the two that ask for the counts
    },
    'offline user: what is closed': async () => {
        for (const [method, where] of [['GET', '/medic/'], ['POST', '/medic/_find'], ['POST', '/medic/_ensure_full_commit'],
            ['PUT', '/medic'], ['GET', '/medic-user-chw2-meta/'], ['POST', '/medic/_compact']]) {
            assert.strictEqual((await ask(method, where)).status, 403, where);
        }
        const own = person(), foreign = person({}, 'elsewhere');
        await bulk([own, foreign], { user: 'boss' });
        const body = { docs: [own, foreign].map((d) => ({ id: d._id })) };
        assert.deepStrictEqual((await ask('POST', '/medic/_bulk_get', { body })).json.results.map((r) => r.id), [own._id]);
        assert.deepStrictEqual((await ask('GET', '/medic/_all_docs')).json.rows, []);
        assert.deepStrictEqual((await ask('GET', '/medic/_changes')).json.results, []);
        assert.strictEqual((await ask('GET', `/medic/${foreign._id}`)).status, 403);
        for (const status of [201, 412]) {
            assert.strictEqual((await ask('PUT', '/medic-user-chw1-meta/')).status, status);
        }
        assert.strictEqual((await ask('GET', '/medic-user-chw1-meta/')).status, 200);
        const put = await ask('PUT', '/medic/_local/x', { body: { _id: '_local/x', last_seq: 5 } });
        assert.deepStrictEqual([put.status, (await ask('GET', '/medic/_local/x')).json.last_seq], [201, 5]);
    },
    'get-ids: what a user should hold, without what is deleted or purged': async () => {
        const [own, gone, purged] = [person(), person(), person()], about = report(own._id);
        const form = doc({ type: 'form' }), foreign = person({}, 'elsewhere'), rival = { ...doc({ ...own, rival: true }), _id: own._id };
        await bulk([own, gone, purged, about, form, foreign, rival], { user: 'boss' });
        await bulk([doc({ ...gone, _deleted: true }, gone._revisions.ids)], { user: 'boss' });
        await server.test('purge', { user: 'chw1', ids: [purged._id] });
        const getIds = async (user) => (await ask('GET', '/api/v1/replication/get-ids', { user })).json.doc_ids_revs;
        const mine = await getIds('chw1'), theirs = await getIds('chw2');
        const names = [own, gone, purged, about, form, foreign].map((d) => d._id);
        const listed = (list) => names.map((id) => list.some((row) => row.id === id));
        assert.deepStrictEqual(listed(mine), [true, false, false, true, true, false]);
        assert.deepStrictEqual(listed(theirs), [true, false, true, true, true, false]);
        const winner = own._rev > rival._rev ? own._rev : rival._rev;
        assert.strictEqual(mine.find((row) => row.id === own._id).rev, winner);
        const deletes = await ask('POST', '/api/v1/replication/get-deletes', { body: { doc_ids: [...names, 'never-heard-of'] } });
        assert.deepStrictEqual(deletes.json, { doc_ids: [gone._id, purged._id] });
    },
    'sentinel: contacts that lack a member get it, by a new revision': async () => {
        const patient = person();
        await bulk([patient]);
        assert.ok((await server.test('sentinel', {})).edited >= 1);
        assert.strictEqual((await server.test('sentinel', {})).edited, 0);
        const { json } = await ask('GET', `/medic/${patient._id}`);
        assert.deepStrictEqual([json._rev[0], typeof json.patient_id], ['2', 'string']);
        assert.deepStrictEqual((await bulk([report(undefined, { fields: { patient_id: json.patient_id } })])).json, []);
    },
    'webapp: up and down, deletes and purges; purge stubs stay': async () => {
        const local = memory(), app = new WebApp(local, server.url.replace('//', '//chw1:chw1-pw@'));
        const [kept, gone, edited] = [person(), person(), person(photo({ data: base64('one') }))];
        await bulk([kept, gone, edited]);
        await app.sync();
        const first = await local.get(edited._id, { attachments: true });
        assert.strictEqual(first._attachments['a.jpg'].data, base64('one'));
        await local.put({ ...first, notes: 'by the app' });
        await local.put({ _id: 'form:local', type: 'form' });
        await bulk([doc({ ...gone, _deleted: true }, gone._revisions.ids)], { user: 'boss' });
        await server.test('purge', { user: 'chw1', ids: [kept._id] });
        const { purged } = await app.sync();
        assert.ok(purged >= 2);
        await app.sync();
        assert.strictEqual((await ask('GET', `/medic/${edited._id}`)).json.notes, 'by the app');
        assert.strictEqual((await ask('GET', `/medic/${kept._id}`)).json._rev, kept._rev);
        assert.strictEqual((await ask('GET', '/medic/form:local', { user: 'boss' })).status, 404);
        assert.deepStrictEqual((await app.differences()).map((d) => d.id), ['form:local']);
    },
    'changes: pending, and the filter _selector': async () => {
        const list = [person({ village: 'a' }), person({ village: 'b' }), person({ village: 'a' })];
        await bulk(list, { to: plain });
        const all = (await ask('GET', '/medic/_changes', { to: plain })).json;
        assert.strictEqual(all.pending, 0);
        const few = (await ask('GET', '/medic/_changes?limit=1', { to: plain })).json;
        assert.deepStrictEqual([few.results.length, few.pending], [1, all.results.length - 1]);
        const body = { selector: { village: 'a' } };
        const { json } = await ask('POST', '/medic/_changes?filter=_selector&style=all_docs', { to: plain, body });
        assert.deepStrictEqual(json.results.map((r) => r.id).sort(), [list[0]._id, list[2]._id].sort());
    },
    'faults: statuses, with count, after and Retry-After': async () => {
        await server.fault({ path: '_revs_diff', status: 503, count: 2, after: 1, retry_after: 7 });
        const seen = [];
        for (let i = 0; i < 4; i++) {
            seen.push(await ask('POST', '/medic/_revs_diff', { body: {} }));
        }
        assert.deepStrictEqual(seen.map((a) => a.status), [200, 503, 503, 200]);
        assert.deepStrictEqual([seen[1].headers['retry-after'], seen[1].headers['content-type']], ['7', 'text/html']);
        await server.fault({ status: 429, json: true });
        assert.strictEqual((await ask('GET', '/')).json.code, 429);
    },
    'faults: connection cut in mid-answer, after the write or before': async () => {
        const [kept, lost] = [person(), person()];
        await server.fault({ path: '_bulk_docs', cut: true });
        await assert.rejects(bulk([kept]));
        await server.fault({ path: '_bulk_docs', cut: 'request' });
        await assert.rejects(bulk([lost]));
        assert.deepStrictEqual(await stored([kept, lost]), [true, false]);
    },
    'counts: documents, again received, in flight': async () => {
        await server.reset();
        await server.fault({ path: '_bulk_docs', delay_ms: 200, count: 3 });
        const one = person();
        await Promise.all([1, 2, 3].map(() => bulk([one])));
        const s = await server.stats();
        assert.deepStrictEqual([s.docs_received, s.docs_received_again, s.in_flight_peak, s.faults], [3, 2, 3, 3]);
    },
    'durable: documents and lineage survive a restart': async () => {
        const patient = person();
        await bulk([patient]);
        await server.kill();
        await server.start();
        assert.deepStrictEqual((await bulk([report(patient._id)])).json, []);
    },
    'generator: the same seed gives the same documents': async () => {
        const text = (options) => JSON.stringify([...docs.generate({ count: 300, photo_bytes: 100, ...options })]);
        assert.strictEqual(text({}), text({}));
        assert.notStrictEqual(text({}), text({ seed: 2 }));
        const all = [...docs.generate({ count: 1000 })];
        const last = all.map((item) => item.versions[item.versions.length - 1]);
        assert.deepStrictEqual([all.length, new Set(last.map((d) => d._id)).size], [1000, 1000]);
        assert.deepStrictEqual([last.filter((d) => d._attachments).length, last.filter((d) => d._deleted).length], [20, 20]);
        const few = [...docs.generate({ count: 5, never_up: true })].flatMap(docs.leaves);
        assert.deepStrictEqual([few.length, few.filter(docs.neverUp).length], [12, 7]);
    },
    'compare: nothing differs after a replication': async () => {
        const { a, b } = await pair();
        await a.replicate.to(b);
        const result = await compare([a], b);
        assert.deepStrictEqual([result.differences, result.attachments], [[], 6]);
    },
    'compare: sees each sort of difference': async () => {
        const { a, b } = await pair();
        const plant = async (body, other) => {
            await a.bulkDocs([body], { new_edits: false });
            await (other ? b.bulkDocs([other], { new_edits: false }) : b);
        };
        await a.replicate.to(b);
        const atts = (text) => photo({ data: base64(text) });
        const v1 = doc({ _id: 'leaf' });
        const twin = (id, x, y) => plant({ ...doc({ _id: id }), ...x, _id: id }, { ...doc({ _id: id }), ...y, _id: id });
        await plant(doc({ _id: 'missing' }));
        await b.bulkDocs([doc({ _id: 'extra' })], { new_edits: false });
        await twin('body', { x: 1 }, { x: '1' });
        await twin('photo', atts('one'), atts('two'));
        await twin('no-photo', atts('one'), {});
        await twin('deleted', {}, { _deleted: true });
        await plant(doc({ _id: 'leaf', n: 2 }, v1._revisions.ids), v1);
        await plant({ _id: 'ancestry', _rev: '2-a', _revisions: { start: 2, ids: ['a', 'b'] } },
            { _id: 'ancestry', _rev: '2-a', _revisions: { start: 2, ids: ['a', 'c'] } });
        const rival = doc({ _id: 'conflict', rival: true });
        await plant(doc({ _id: 'conflict' }), doc({ _id: 'conflict' }));
        await plant(rival);
        const { differences } = await compare([a], b);
        assert.deepStrictEqual(differences.map((d) => `${d.id}: ${d.what}`).sort(), ['ancestry: ancestry differs',
            'body: body differs', 'conflict: not on the server', 'deleted: body differs', 'extra: only on the server',
            'leaf: not on the server', 'leaf: only on the server', 'missing: not on the server',
            'no-photo: attachment a.jpg differs', 'photo: attachment a.jpg differs']);
        assert.strictEqual((await compare([a], b, { subset: true })).differences.length, 9);
    },
    'compare: never-up documents, and the union of several tablets': async () => {
        const { a, b } = await pair({ never_up: true });
        const c = memory();
        await a.replicate.to(b, { filter: (d) => !docs.neverUp(d) });
        assert.strictEqual((await compare([a], b)).differences.length, 7);
        const ok = await compare([a], b, { ignoreNeverUp: true });
        assert.deepStrictEqual([ok.differences, ok.never_up], [[], 7]);
        await a.replicate.to(c);
        const { rows: [{ doc: first }] } = await c.allDocs({ include_docs: true, limit: 1, startkey: 'chw-chw1' });
        await c.put({ ...first, newer: true });         // what a holds of it is history now
        await c.put({ _id: 'only-on-c' });
        assert.strictEqual((await compare([a, c], b, { ignoreNeverUp: true })).differences.length, 3);
        await c.replicate.to(b, { filter: (d) => !docs.neverUp(d) });
        assert.deepStrictEqual((await compare([a, c], b, { ignoreNeverUp: true })).differences, []);
    },
    'client: loads, replicates straight to the front, compares': async () => {
        const db = path.join(dir, 'client');
        const client = (...args) => new Program(args[0], process.execPath, [path.join(__dirname, 'client.js'), ...args]);
        await client('load', '--db', db, '--count', '300', '--user', 'boss').wait();
        const [line] = (await client('replicate', '--db', db, '--to', plain.admin).wait()).slice(-1);
        assert.ok(JSON.parse(line).docs_written >= 300, line);
        const live = client('replicate', '--db', db, '--to', plain.admin, '--live');
        await live.waitLine(/"paused"/);
        await live.kill();              // as an app that is swiped away: all is replicated by now
        const out = await new Program('compare', process.execPath, [path.join(__dirname, 'compare.js'), '--db', db,
            '--server', plain.admin, '--subset']).wait();
        assert.strictEqual(out[out.length - 1], 'differences 0');
    },
    'null server: takes a replication': async () => {
        const { a } = await pair();
        const nothing = new Program('null', process.execPath, [path.join(__dirname, 'null-server.js')]);
        const [, url] = await nothing.waitLine(/^listening (.*)$/);
        assert.ok((await a.replicate.to(`${url}/medic`)).docs_written >= 300);
        await nothing.stop();
    },
};

const memory = () => new PouchDB(`memory-${++names}`, { adapter: 'memory' });

async function pair(options) {
    const [a, b] = [memory(), memory()];
    await docs.load(a, { count: 300, photo_bytes: 1000, ...options });
    return { a, b };
}

async function main() {
    const world = (name) => ({ dir: fs.mkdtempSync(path.join(dir, name)) });
    server = new Server(world('cht'), USERS, { durable: true });
    plain = new Server(world('couchdb'), USERS, { kind: 'couchdb' });
    await Promise.all([server.start(), plain.start()]);
    let passed = 0, failed = 0;
    for (const [name, test] of Object.entries(tests).filter(([n]) => n.includes(process.argv[2] || ''))) {
        try {
            await server.reset();
            await test();
            passed++;
            console.log(`ok - ${name}`);
        } catch (e) {
            failed++;
            console.log(`not ok - ${name}\n${e.stack || JSON.stringify(e)}`);
        }
    }
    fs.rmSync(dir, { recursive: true, force: true });
    console.log(`${passed} passed, ${failed} failed`);
    process.exit(failed ? 1 : 0);
}

main();
