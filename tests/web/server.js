// SPDX-License-Identifier: AGPL-3.0-or-later
'use strict';

/*
 * A test server: what the CHT API does in front of CouchDB, in front of express-pouchdb.
 *
 *   node server.js --port N [--kind cht|couchdb] [--users FILE] [--store DIR] [--db medic] [--control] [--cert FILE --key FILE]
 *       [--pace couchdb|cht]
 *
 * --port 0 takes a free one; the line 'listening URL' tells when it is ready. Without --store the documents are in memory.
 * --pace couchdb answers _bulk_docs and _revs_diff no faster than a CouchDB 3.5 that writes to disk, --pace cht answers _bulk_get no
 * faster than a CHT 4.22 (see Pace).
 * --kind couchdb has no filter and none of CHT's oddities. --control adds POST /_test/fault, POST /_test/reset, GET /_test/stats,
 * POST /_test/expire (ends all sessions), POST /_test/purge {user, ids} and POST /_test/sentinel {member, limit} (replication.js).
 */

const crypto = require('crypto');
const fs = require('fs');
const http = require('http');
const https = require('https');
const path = require('path');
const zlib = require('zlib');
const { parseArgs, promisify } = require('util');
const PouchDB = require('pouchdb').plugin(require('pouchdb-adapter-memory'));
const expressPouchDB = require('express-pouchdb');
const { Accounts, readUsers } = require('./accounts');
const { Faults, Stats } = require('./faults');
const { Lineage, isContact } = require('./lineage');
const { Replication } = require('./replication');

const REQUEST_BYTES_MAX = 32 * 1024 * 1024;     // nginx before CHT
const DOCUMENT_BYTES_MAX = 8000000;             // CouchDB's max_document_size, attachments not counted
const SPECIAL = ['_id', '_rev', '_revisions', '_deleted', '_attachments', '_conflicts', '_deleted_conflicts', '_revs_info',
    '_local_seq'];
const gunzip = promisify(zlib.gunzip);

class Refusal extends Error {
    constructor(status, error, reason) {
        super(reason);
        Object.assign(this, { status, error });
    }
}

function sendJson(res, status, body, headers = {}) {
    const text = JSON.stringify(body) + '\n';
    res.writeHead(status, { 'Content-Type': 'application/json', 'Content-Length': Buffer.byteLength(text), ...headers });
    res.end(text);
}

function sendText(res, status, text, headers = {}) {
    res.writeHead(status, { 'Content-Type': 'text/html', 'Content-Length': Buffer.byteLength(text), ...headers });
    res.end(text);
}

async function readBody(req, limit) {
    const chunks = [];
    let bytes = 0;
    for await (const chunk of req) {
        bytes += chunk.length;
        if (bytes <= limit) {
            chunks.push(chunk);
        }
    }
    return bytes > limit ? null : Buffer.concat(chunks);
}

// Lets fn see and change the JSON that express-pouchdb is about to answer; the fn that was given last sees it first.
function onJson(res, fn) {
    const before = Object.getOwnPropertyDescriptor(res, 'send');
    res.send = (body) => {
        delete res.send;
        Object.defineProperties(res, before ? { send: before } : {});
        return res.send(Buffer.from(JSON.stringify(fn(JSON.parse(body.toString()), res.statusCode)) + '\n'));
    };
}

// The faults of one document that make CouchDB refuse a whole request.
function checkDocs(docs, bytes) {
    for (const doc of docs) {
        const odd = Object.keys(doc).find((k) => k.startsWith('_') && !SPECIAL.includes(k));
        if (odd) {
            throw new Refusal(400, 'doc_validation', `Bad special document member: ${odd}`);
        }
        for (const att of Object.values(doc._attachments || {})) {
            if (att.data !== undefined && (att.data.length % 4 || !/^[A-Za-z0-9+/]*={0,2}$/.test(att.data))) {
                throw new Refusal(400, 'bad_request', 'Attachment data must be base64 encoded');
            }
        }
        if (bytes > DOCUMENT_BYTES_MAX && JSON.stringify({ ...doc, _attachments: {} }).length > DOCUMENT_BYTES_MAX) {
            throw new Refusal(413, 'document_too_large', doc._id);
        }
    }
}

/*
 * The pace of a real server, so that what a client waits for weighs as it does there. _bulk_docs fitted to a CouchDB 3.5 on a PC:
 * requests of 100 documents one by one 934 documents/s, of 500 one by one 1,999, of 500 four at a time 2,626: that is 60 ms a request,
 * in parallel, and 0.38 ms a document, one after the other. _revs_diff only reads: assumed 5 ms and a tenth of that. _bulk_get
 * fitted to a CHT 4.22: requests of 100 documents one by one 381 documents/s, four at a time 685, of 500 four at a time 1,962: 116 ms a
 * request in parallel, 118 ms a request and 0.27 ms a document one after the other.
 */
class Pace {
    constructor(of) {
        Object.assign(this, { of, free_ms: 0 });
    }

    async wait(request_ms, docs_ms) {
        const now_ms = Date.now();
        this.free_ms = Math.max(this.free_ms, now_ms) + docs_ms;
        await new Promise((done) => setTimeout(done, this.free_ms - now_ms + request_ms));
    }

    bulkDocs(docs) { return this.of === 'couchdb' && this.wait(60, 0.38 * docs); }
    revsDiff(docs) { return this.of === 'couchdb' && this.wait(5, 0.038 * docs); }
    bulkGet(docs) { return this.of === 'cht' && this.wait(116, 118 + 0.27 * docs); }
}

class Front {
    constructor({ kind, users, dir, db, control, pace }) {
        Object.assign(this, { kind, control, pace: pace && new Pace(pace), name: db, accounts: new Accounts(users) });
        this.faults = new Faults();
        this.stats = new Stats();
        this.lineage = new Lineage();
        this.names = new Set(dir ? fs.readdirSync(dir) : []);
        this.Pouch = PouchDB.defaults(dir ? { prefix: dir + path.sep } : { adapter: 'memory' });
        this.Pouch.allDbs = (done) => (done ? done(null, [...this.names]) : Promise.resolve([...this.names]));
        this.Pouch.setMaxListeners(0);
        this.app = expressPouchDB(this.Pouch, { mode: 'minimumForPouchDB' });
        this.uuid = dir ? crypto.createHash('md5').update(path.resolve(dir)).digest('hex') : crypto.randomBytes(16).toString('hex');
    }

    async open() {
        this.names.add(this.name);
        this.db = new this.Pouch(this.name);
        this.replication = new Replication(this.db, this.lineage);
        await this.replication.refresh();
    }

    async handle(req, res) {
        const url = new URL(req.url, 'http://front');
        if (this.control && url.pathname.startsWith('/_test/')) {
            return this.test(req, res, url.pathname.slice(7));
        }
        this.stats.begin(req, res);
        try {
            if (await this.faults.strike(req, res)) {
                return undefined;
            }
            await this.answer(req, res, url.pathname.split('/').filter((p) => p).map(decodeURIComponent));
        } catch (e) {
            if (!(e instanceof Refusal)) {
                console.error(`${req.method} ${req.url}: ${e.stack}`);
            }
            if (!res.headersSent) {
                sendJson(res, e.status || 500, { error: e.error || 'internal', reason: e.message });
            }
        }
        return undefined;
    }

    async answer(req, res, parts) {
        const cht = this.kind === 'cht';
        if (cht && (req.headers.expect || req.headers['transfer-encoding'])) {
            return sendJson(res, 500, { code: 500, error: 'Server error' }, { Connection: 'close' });
        }
        const body = await readBody(req, cht ? REQUEST_BYTES_MAX : 4 * REQUEST_BYTES_MAX);
        if (!body) {
            return cht ? sendText(res, 413, '<html><head><title>413 Request Entity Too Large</title></head></html>\n')
                : sendJson(res, 413, { error: 'too_large', reason: 'the request entity is too large' });
        }
        this.stats.body(body.length);
        if (cht && req.url === '/medic/login' && req.method === 'POST') {
            return this.login(req, res, body);
        }
        const { user, failure } = this.accounts.fromRequest(req);
        if (failure) {
            return this.refuseUser(req, res, failure);
        }
        if (req.method === 'GET' && ['', 'dbinfo'].includes(parts.join('/'))) {
            return sendJson(res, 200, { couchdb: 'Welcome', version: '3.5.0', uuid: this.uuid, vendor: { name: 'Boda test' } });
        }
        if (cht && parts[0] === 'api') {
            return this.api(req, res, parts.slice(1).join('/'), user, body);
        }
        return this.route(req, res, { parts, body, user, filtered: cht && !this.accounts.online(user) });
    }

    login(req, res, body) {
        if (req.headers['content-type'] !== 'application/json') {
            return sendJson(res, 400, { error: 'Bad request' });
        }
        const { user: name, password } = JSON.parse(body.toString());
        const { user, failure } = this.accounts.check(name, password);
        if (failure) {
            const [status, error] = failure === 'locked' ? [500, 'Server error'] : [401, 'Not logged in'];
            return sendJson(res, status, { error });
        }
        const to = user.reset ? '/medic/password-reset' : '/';
        return sendText(res, 302, to, { Location: to, 'Set-Cookie': user.reset ? 'userCtx=; Path=/' : this.accounts.cookie(user) });
    }

    async api(req, res, route, user, body) {
        if (req.method === 'GET' && route === 'v1/replication/get-ids') {
            return sendJson(res, 200, await this.replication.getIds(user));
        }
        if (req.method === 'POST' && route === 'v1/replication/get-deletes') {
            return sendJson(res, 200, await this.replication.getDeletes(user, JSON.parse(body.toString()).doc_ids));
        }
        throw new Refusal(404, 'not_found', 'missing');
    }

    refuseUser(req, res, failure) {
        if (failure === 'locked') {
            return sendJson(res, 403, { error: 'forbidden', reason: 'Account is temporarily locked' });
        }
        if (this.kind === 'cht' && !/application\/json/.test(req.headers.accept || '')) {
            const to = `/medic/login?redirect=${encodeURIComponent(req.url)}`;
            return sendText(res, 302, `<p>Found. Redirecting to ${to}</p>\n`, { Location: to });
        }
        return sendJson(res, 401, { code: 401, error: 'unauthorized', reason: 'Name or password is incorrect.' },
            this.kind === 'cht' ? { 'logout-authorization': 'CHT-Core API' } : {});
    }

    async route(req, res, ask) {
        const [db, what] = ask.parts;
        const bulkDocs = what === '_bulk_docs' && req.method === 'POST';
        const gzipped = req.headers['content-encoding'] === 'gzip';
        if (bulkDocs && gzipped && this.kind === 'cht') {
            throw new Refusal(400, 'bad_request', 'Request body is not properly gzipped');
        }
        if (req.method === 'POST' || req.method === 'PUT') {
            if (req.headers['content-type'] && !/^application\/json\b/.test(req.headers['content-type'])) {
                throw new Refusal(415, 'bad_content_type', 'Content-Type must be application/json');
            }
            const text = gzipped ? await gunzip(ask.body) : ask.body;
            try {
                req.body = text.length ? JSON.parse(text.toString()) : {};
            } catch (e) {
                throw new Refusal(bulkDocs && ask.filtered ? 500 : 400, 'bad_request', 'invalid UTF-8 JSON');
            }
            delete req.headers['content-encoding'];
        }
        req._body = true;               // express-pouchdb need not parse it again
        if (what === '_bulk_get') {
            onJson(res, (answer) => this.stats.served(answer));
        }
        if (ask.filtered && !await this.mayAsk(req, res, ask, db, what)) {
            throw new Refusal(403, 'forbidden', 'Insufficient privileges');
        }
        if (req.method === 'PUT' && ask.parts.length === 1 && !this.names.has(db)) {
            this.names.add(db);
            return sendJson(res, 201, { ok: true });
        }
        if (what === '_ensure_full_commit') {
            return sendJson(res, 201, { ok: true, instance_start_time: '0' });
        }
        if (this.pace && what === '_revs_diff') {
            await this.pace.revsDiff(Object.keys(req.body).length);
        }
        if (what === '_changes' && this.kind === 'couchdb') {
            return this.changes(req, res, new this.Pouch(db));
        }
        if (this.pace && what === '_bulk_get') {
            await this.pace.bulkGet((req.body.docs || []).length);
        }
        if (bulkDocs) {
            await (this.pace && this.pace.bulkDocs((req.body.docs || []).length));
            return this.bulkDocs(req, res, ask, db);
        }
        return this.app(req, res);
    }

    // The limits of an offline user outside _bulk_docs.
    async mayAsk(req, res, { parts, user }, db, what) {
        if (db === `medic-user-${user.username}-meta`) {
            return true;
        }
        if (db !== this.name || what === undefined) {
            return false;
        }
        if (req.method === 'GET' && (what === '_changes' || what === '_all_docs')) {
            const own = (row) => row.id === '_design/medic-client' || row.id === `org.couchdb.user:${user.username}`;
            onJson(res, (body) => ({ ...body, results: body.results && body.results.filter(own),
                rows: body.rows && body.rows.filter(own) }));
            return true;
        }
        const may = await this.replication.readable(user);
        if (what === '_bulk_get') {
            onJson(res, (body) => ({ results: body.results.filter((r) => r.docs.every((d) => d.ok && may(d.ok))) }));
            return true;
        }
        if (what.startsWith('_')) {
            return ['_bulk_docs', '_revs_diff', '_local'].includes(what);
        }
        return req.method === 'GET' && parts.length === 2 && this.db.get(what).then(may, () => false);
    }

    // What CouchDB has and express-pouchdb has not: the filter _selector, and how many changes are pending.
    async changes(req, res, db) {
        const query = new URL(req.url, 'http://front').searchParams;
        if (!['', 'normal'].includes(query.get('feed') || '')) {
            return this.app(req, res);
        }
        const options = { since: Number(query.get('since') || 0), style: query.get('style') || 'main_only',
            ...query.has('limit') && { limit: Number(query.get('limit')) },
            ...query.get('descending') === 'true' && { descending: true },
            ...query.get('include_docs') === 'true' && { include_docs: true },
            ...query.get('filter') === '_selector' && { selector: (req.body || {}).selector },
            ...(req.body || {}).doc_ids && { doc_ids: req.body.doc_ids } };
        const answer = await db.changes(options);
        const rest = options.limit > answer.results.length ? [] : (await db.changes({ ...options, limit: undefined,
            since: answer.last_seq })).results;
        return sendJson(res, 200, { ...answer, pending: rest.length });
    }

    async bulkDocs(req, res, { user, filtered, body }, db) {
        const docs = Array.isArray(req.body.docs) ? req.body.docs : [];
        this.stats.docs(docs);
        checkDocs(docs, body.length);
        let refused = [];
        if (filtered && db === this.name) {
            if (docs.some((d) => isContact(d) && d.contact === null)) {
                throw new Refusal(500, 'Server error', "Cannot read properties of null (reading '_id')");
            }
            const may = this.lineage.filter(user, docs);
            refused = docs.filter((d) => !may(d)).map((d) => ({ id: d._id, error: 'forbidden' }));
            req.body.docs = docs.filter(may);
            this.stats.counts.docs_refused += refused.length;
        }
        const stored = req.body.docs || [];
        const note = (status) => db === this.name && status === 201 && stored.forEach((d) => this.lineage.note(d));
        if (req.body.new_edits === false && stored.some((d) => Object.values(d._attachments || {}).some((a) => a.stub))) {
            await this.storeOneByOne(db, stored);
            note(201);
            return sendJson(res, 201, refused);
        }
        onJson(res, (results, status) => {
            note(status);
            return Array.isArray(results) ? results.concat(refused) : results;
        });
        return this.app(req, res);
    }

    // With attachment stubs: those before an unknown stub are stored, then the request fails.
    async storeOneByOne(name, docs) {
        const db = new this.Pouch(name);
        for (const doc of docs) {
            await db.bulkDocs([doc], { new_edits: false }).catch(() => {
                throw new Refusal(412, 'missing_stub', `Invalid attachment stub in ${doc._id}`);
            });
        }
    }

    async test(req, res, what) {
        const body = await readBody(req, 1e6);
        if (what === 'fault') {
            this.faults.add(JSON.parse(body.toString()));
        } else if (what === 'expire') {
            this.accounts.endSessions();
        } else if (what === 'reset') {
            this.faults = new Faults();
            this.stats.reset();
            this.accounts.reset();
        } else if (what === 'purge' || what === 'sentinel') {
            return sendJson(res, 200, await this.replication[what](JSON.parse(body.toString())));
        }
        return sendJson(res, 200, { ...this.stats.counts, faults: this.faults.fired });
    }
}

async function main() {
    const { values: v } = parseArgs({ options: { port: { type: 'string', default: '0' }, kind: { type: 'string', default: 'cht' },
        users: { type: 'string' }, store: { type: 'string' }, db: { type: 'string', default: 'medic' }, pace: { type: 'string' },
        control: { type: 'boolean', default: false }, cert: { type: 'string' }, key: { type: 'string' } } });
    if (v.store) {
        fs.mkdirSync(v.store, { recursive: true });
    }
    const front = new Front({ ...v, dir: v.store, users: v.users ? readUsers(v.users) : [] });
    await front.open();

    const tls = v.cert && { cert: fs.readFileSync(v.cert), key: fs.readFileSync(v.key) };
    const handle = front.handle.bind(front);
    const server = tls ? https.createServer(tls, handle) : http.createServer(handle);
    server.keepAliveTimeout = 60000;
    server.on('connection', () => front.stats.counts.connections++);
    if (v.kind === 'cht') {
        server.on('checkContinue', handle);
    }
    server.listen(Number(v.port), '127.0.0.1', () => {
        console.log(`listening ${tls ? 'https' : 'http'}://127.0.0.1:${server.address().port}`);
    });
    for (const signal of ['SIGTERM', 'SIGINT']) {
        process.on(signal, () => process.exit(0));
    }
}

main().catch((e) => { console.error(`server: ${e.message}`); process.exit(1); });
