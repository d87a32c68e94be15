// SPDX-License-Identifier: AGPL-3.0-or-later
'use strict';

/*
 * Documents shaped like those of a community health worker's tablet. The same seed and user give the same documents, byte for
 * byte. generate() yields {versions, conflict}: the successive bodies of one document, the last with _deleted where it ends
 * deleted, and for a few documents a body that another device wrote beside the last one.
 *
 *   node docs.js --count 1000 --seed 1 > docs.ndjson     one document a line, as _bulk_docs takes it with new_edits:false
 */

const crypto = require('crypto');
const fs = require('fs');
const readline = require('readline');
const { parseArgs } = require('util');

const FIRST = ['Amina', 'Baraka', 'Zawadi', 'Neema', 'Juma', 'Mwanaidi', 'Ng’endo', 'Wanjikũ', 'सीता', 'राम बहादुर', 'गीता कुमारी',
    'Aïcha', 'José', 'Łucja'];
const LAST = ['Mwangi', 'Otieno', 'Nyong’o', 'Kılıç', 'थापा', 'तामाङ', 'श्रेष्ठ', 'Abdallah', 'Chebet', 'N’Diaye'];
const WORDS = ['homa', 'kikohozi', 'mtoto', 'mjamzito', 'dawa', 'chanjo', 'ज्वरो', 'बच्चा', 'खोप', 'referral', 'follow-up', '🤰', '👶🏾', '💉',
    'maji safi', 'chandarua'];
const FORMS = ['pregnancy', 'assessment', 'immunization_visit', 'delivery', 'postnatal_visit'];

const READ_ONLY_TYPES = ['form', 'translations', 'ui-extension'];
const READ_ONLY_IDS = ['resources', 'branding', 'service-worker-meta', 'zscore-charts', 'settings', 'partners', 'extension-libs'];

// True for what the CHT app never sends: configuration, design documents, purge stubs.
function neverUp(doc) {
    if (READ_ONLY_TYPES.includes(doc.type) || READ_ONLY_IDS.includes(doc._id) || doc._id.startsWith('_design/')) {
        return true;
    }
    const keys = Object.keys(doc).filter((k) => k !== '_revisions');
    return doc._deleted === true && doc.purged !== undefined &&
        keys.every((k) => ['_id', '_rev', '_deleted', 'purged'].includes(k));
}

// xorshift128 (Marsaglia 2003), seeded from a string.
class Random {
    constructor(text) {
        const hash = crypto.createHash('sha256').update(text).digest();
        this.s = [0, 4, 8, 12].map((at) => hash.readUInt32LE(at) | 1);
    }
    next() {
        const s = this.s;
        let t = s[3];
        t ^= t << 11;
        t ^= t >>> 8;
        s[3] = s[2]; s[2] = s[1]; s[1] = s[0];
        s[0] ^= t ^ (s[0] >>> 19);
        return s[0] >>> 0;
    }
    below(n) { return this.next() % n; }
    pick(list) { return list[this.below(list.length)]; }
    bytes(n) {
        const words = new Uint32Array(Math.ceil(n / 4));
        for (let i = 0; i < words.length; i++) {
            words[i] = this.next();
        }
        return Buffer.from(words.buffer).subarray(0, n);
    }
    uuid() {
        const h = this.bytes(16).toString('hex');
        return `${h.slice(0, 8)}-${h.slice(8, 12)}-4${h.slice(13, 16)}-a${h.slice(17, 20)}-${h.slice(20)}`;
    }
    text(bytes) {
        let out = '';
        while (Buffer.byteLength(out) < bytes) {
            out += this.pick(WORDS) + ' ';
        }
        return out.trimEnd();
    }
}

const EPOCH_MS = 1700000000000;

function makePlace(r, id, type, parent, at) {
    return { _id: id, type, name: `${r.pick(LAST)} ${type === 'clinic' ? 'household' : 'area'}`, parent, reported_date: at,
        geolocation: { latitude: r.below(90e6) / 1e6, longitude: r.below(180e6) / 1e6 }, notes: r.text(40 + r.below(60)) };
}

function makePerson(r, id, parent, at) {
    return { _id: id, type: 'person', name: `${r.pick(FIRST)} ${r.pick(LAST)}`, short_name: r.pick(FIRST),
        date_of_birth: `${1940 + r.below(84)}-0${1 + r.below(9)}-1${r.below(10)}`, phone: `+2547${10000000 + r.below(89999999)}`,
        sex: r.pick(['female', 'male']), role: 'patient', patient_id: String(10000 + r.below(9990000)), parent, reported_date: at,
        notes: r.text(60 + r.below(120)) };
}

function makeReport(r, chw, patient, at) {
    const fields = { patient_id: patient.patient_id, patient_uuid: patient._id, patient_name: patient.name,
        inputs: { source: 'contact', contact: { _id: patient._id, name: patient.name, sex: patient.sex } }, visit: {} };
    for (let i = 0; i < 8 + r.below(16); i++) {
        fields.visit[`question_${i}`] = r.pick(['yes', 'no', 'unknown', String(r.below(400) / 10)]);
    }
    fields.note = r.text(r.below(8) ? 200 + r.below(600) : 2000 + r.below(3500));
    return { _id: r.uuid(), form: r.pick(FORMS), type: 'data_record', content_type: 'xml', reported_date: at,
        contact: { _id: chw._id, parent: chw.parent }, from: chw.phone, fields, hidden_fields: ['inputs'], geolocation_log: [] };
}

function makeTask(r, user, patient, report, at) {
    const emission = `${report ? report._id : r.uuid()}~${r.pick(FORMS)}~${r.below(9)}`;
    const state = r.pick(['Draft', 'Ready', 'Completed', 'Cancelled']);
    return { _id: `task~org.couchdb.user:${user}~${emission}~${at}`, type: 'task', authoredOn: at, state,
        user: `org.couchdb.user:${user}`, requester: patient._id, owner: patient._id, stateHistory: [{ state, timestamp: at }],
        emission: { _id: emission, forId: patient._id, title: r.text(20), dueDate: '2024-05-06', icon: 'icon-healthcare' } };
}

function makeTarget(r, user, chw, month) {
    const tag = `20${20 + Math.floor(month / 12)}-${String(1 + month % 12).padStart(2, '0')}`;
    const targets = FORMS.map((id) => ({ id, value: { pass: r.below(50), total: 50 } }));
    return { _id: `target~${tag}~${chw._id}~org.couchdb.user:${user}`, type: 'target', user: `org.couchdb.user:${user}`,
        owner: chw._id, reporting_period: tag, updated_date: EPOCH_MS + month, targets };
}

function makeNeverUp(r) {
    const id = r.uuid().slice(0, 8);
    return [{ _id: 'settings', settings: { locale: 'sw' } }, { _id: 'resources', resources: {} },
        { _id: 'branding', title: 'Boda' }, { _id: '_design/medic-client', views: {} },
        { _id: `form:${id}`, type: 'form', internalId: id }, { _id: 'messages-sw', type: 'translations', code: 'sw' }]
        .map((doc) => ({ versions: [doc] }))
        .concat({ versions: [{ _id: `purged-${id}` }, { _id: `purged-${id}`, _deleted: true, purged: true }] });
}

function* plain(o) {
    const r = new Random(`${o.seed}/${o.user}`);
    const facility = makePlace(new Random(o.facility), o.facility, 'health_center', { _id: 'district' }, EPOCH_MS);
    const chw = makePerson(new Random(o.user), `chw-${o.user}`, { _id: o.facility, parent: { _id: 'district' } }, EPOCH_MS);
    const months = Math.min(12, Math.ceil(o.count / 300));
    let home = null, people = [chw], report = null;

    for (let i = 0; i < o.count; i++) {
        const at = EPOCH_MS + i * 60000 + r.below(60000);
        const dice = r.below(100);
        if (i === 0) {
            yield facility;
        } else if (i === 1) {
            yield chw;
        } else if (i >= o.count - months) {
            yield makeTarget(r, o.user, chw, o.count - 1 - i);
        } else if (i === 2 || dice < 8) {
            home = makePlace(r, r.uuid(), 'clinic', { _id: o.facility, parent: { _id: 'district' } }, at);
            yield home;
        } else if (dice < 36) {
            const person = makePerson(r, r.uuid(), { _id: home._id, parent: home.parent }, at);
            people.push(person);
            yield person;
        } else if (dice < 84) {
            report = makeReport(r, chw, r.pick(people), at);
            yield report;
        } else {
            yield makeTask(r, o.user, r.pick(people), report, at);
        }
    }
}

function addPhoto(doc, bytes) {
    return { ...doc, _attachments: { 'user-file-photo.jpg': { content_type: 'image/jpeg', data: bytes.toString('base64') } } };
}

/*
 * Options: count, seed, user, facility (the place id that bounds what the user may write), photos, photo_bytes, deleted,
 * conflicts, bare (deletions without a body, which CHT refuses), never_up (adds seven documents that never go up). The numbers
 * of photos, deleted and conflicts default to what is usual among count documents. Only reports are deleted.
 */
function* generate(options) {
    const o = { count: 1000, seed: 1, user: 'chw1', photo_bytes: 40000, bare: 0, never_up: false, ...options };
    o.facility = o.facility || `facility-${o.user}`;
    const share = (name, per_mille) => (o[name] === undefined ? Math.round(o.count * per_mille / 1000) : o[name]);
    const every = (n) => (n ? Math.max(1, Math.floor(o.count * 0.45 / n)) : Infinity);
    const left = { photo: share('photos', 20), del: share('deleted', 20), conflict: share('conflicts', 5), bare: o.bare };
    const gap = { photo: every(left.photo), del: every(left.del), conflict: every(left.conflict), bare: every(left.bare) };
    const r = new Random(`${o.seed}/${o.user}/history`);
    const due = (what, n, at) => left[what] > 0 && n % gap[what] === at % gap[what] && left[what]--;
    let reports = 0;

    for (const doc of plain(o)) {
        const isReport = doc.type === 'data_record';
        let body = isReport && due('photo', ++reports, 0) ? addPhoto(doc, r.bytes(o.photo_bytes)) : doc;
        const versions = [body];
        let conflict;
        const edits = doc._id === o.facility || r.below(10) < 7 ? 0 : 1 + r.below(3);
        for (let n = 0; n < edits; n++) {
            body = { ...body, edited: (body.edited || 0) + 1, notes: r.text(80) };
            versions.push(body);
        }
        if (isReport && due('del', reports, 3)) {
            versions.push({ ...body, _deleted: true });
        } else if (isReport && due('conflict', reports, 5)) {
            versions.push({ ...body, verified: true });
            conflict = { ...body, verified: false, notes: r.text(80) };
        } else if (isReport && due('bare', reports, 7)) {
            versions.push({ _id: body._id, _deleted: true });
        }
        yield { versions, conflict };
    }
    if (o.never_up) {
        yield* makeNeverUp(r);
    }
}

const revHash = (body, parent) => crypto.createHash('md5').update(JSON.stringify([parent, body])).digest('hex');

// The leaves of a generated document in _bulk_docs form. The revs are hashes of the content, as CouchDB's are, but not its own.
function leaves({ versions, conflict }) {
    const ids = [];
    const form = (body, list) => ({ ...body, _rev: `${list.length}-${list[0]}`, _revisions: { start: list.length, ids: list } });
    versions.forEach((body) => ids.unshift(revHash(body, ids[0])));
    const out = [form(versions[versions.length - 1], [...ids])];
    if (conflict) {
        out.push(form(conflict, [revHash(conflict, ids[1]), ...ids.slice(1)]));
    }
    return out;
}

async function* readNdjson(file) {
    const lines = readline.createInterface({ input: fs.createReadStream(file), crlfDelay: Infinity });
    let n = 0;
    for await (const line of lines) {
        n++;
        if (line.trim() !== '') {
            try {
                yield JSON.parse(line);
            } catch (e) {
                throw new Error(`${file}: line ${n}: ${e.message}`);
            }
        }
    }
}

function check(results, what) {
    const bad = results.filter((x) => x.error);
    if (bad.length) {
        throw new Error(`${what}: ${bad.length} not stored, the first ${JSON.stringify(bad[0])}`);
    }
}

// Real edits: each version is written upon the one before, so that the revs are PouchDB's own. What the database has already
// (another seed's facility, worker, targets) stays as it is.
async function storeEdits(db, all) {
    const found = await db.allDocs({ keys: all.map((item) => item.versions[0]._id) });
    const items = all.filter((item, i) => found.rows[i].error === 'not_found');
    const revs = new Map(), parents = new Map();
    for (let step = 0; ; step++) {
        const round = items.filter((item) => item.versions.length > step).map((item) => item.versions[step]);
        if (!round.length) {
            break;
        }
        const results = await db.bulkDocs(round.map((d) => (revs.has(d._id) ? { ...d, _rev: revs.get(d._id) } : d)));
        check(results, `version ${step + 1}`);
        results.forEach((x) => { parents.set(x.id, revs.get(x.id)); revs.set(x.id, x.rev); });
    }
    const rivals = items.filter((item) => item.conflict).map(({ conflict }) => {
        const [gen, hash] = parents.get(conflict._id).split('-');
        const ids = [revHash(conflict, hash), hash];
        return { ...conflict, _rev: `${+gen + 1}-${ids[0]}`, _revisions: { start: +gen + 1, ids } };
    });
    check(await db.bulkDocs(rivals, { new_edits: false }), 'conflicts');
}

const BATCH_DOCS = 500, BATCH_BYTES = 16e6;

// Loads the documents of a file, or generated ones, into a PouchDB. Returns how many documents were read.
async function load(db, options) {
    let batch = [], bytes = 0, count = 0;
    const flush = async () => {
        if (options.file) {
            check(await db.bulkDocs(batch, { new_edits: false }), options.file);
        } else {
            await storeEdits(db, batch);
        }
        count += batch.length;
        if (options.progress) {
            options.progress(count);
        }
        batch = [];
        bytes = 0;
    };
    for await (const item of options.file ? readNdjson(options.file) : generate(options)) {
        batch.push(item);
        const atts = Object.values((item.versions ? item.versions[0] : item)._attachments || {});
        bytes += atts.reduce((sum, a) => sum + (a.data || '').length, 1000);
        if (batch.length === BATCH_DOCS || bytes > BATCH_BYTES) {
            await flush();
        }
    }
    if (batch.length) {
        await flush();
    }
    return count;
}

const OPTIONS = { count: { type: 'string' }, seed: { type: 'string' }, user: { type: 'string' }, facility: { type: 'string' },
    photos: { type: 'string' }, 'photo-bytes': { type: 'string' }, deleted: { type: 'string' }, conflicts: { type: 'string' },
    bare: { type: 'string' }, 'never-up': { type: 'boolean' }, docs: { type: 'string' } };

// Command line values, as text, to the options of generate() and load().
function fromArgs(values) {
    const out = {};
    for (const [key, value] of Object.entries(values)) {
        if (key in OPTIONS && key !== 'docs') {
            const number = !['user', 'facility', 'never-up', 'seed'].includes(key);
            out[key.replace('-', '_')] = number ? Number(value) : value;
        }
    }
    return Object.assign(out, { file: values.docs || process.env.DOCS || undefined });
}

async function main() {
    const options = fromArgs(parseArgs({ options: OPTIONS }).values);
    for await (const item of options.file ? readNdjson(options.file) : generate(options)) {
        for (const doc of options.file ? [item] : leaves(item)) {
            if (!process.stdout.write(JSON.stringify(doc) + '\n')) {
                await new Promise((done) => process.stdout.once('drain', done));
            }
        }
    }
}

module.exports = { generate, leaves, load, readNdjson, neverUp, fromArgs, OPTIONS, READ_ONLY_IDS, READ_ONLY_TYPES };

if (require.main === module) {
    main().catch((e) => { console.error(`docs: ${e.message}`); process.exit(1); });
}
