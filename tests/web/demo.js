// SPDX-License-Identifier: AGPL-3.0-or-later
'use strict';

/*
 * The main job with the real programs, both ways: PouchDB -> boda-tablet -> boda-courier -> boda-dock -> server, and the receipt back,
 * with what the server refused; then the office changes documents at the server, and they come to the tablet and its app. Every
 * document is compared, after each way. Called by demo.sh. The environment:
 *
 *   BIN (build/gcc/bin), DOCS_COUNT (1000), KEEP=1 (keep the folder)
 *   DOCS=FILE      NDJSON in _bulk_docs form instead of generated documents
 *   PLACE          whose documents the user of a DOCS file may write; without it the user is unfiltered, and nothing comes down
 *   SERVER=URL     http://name:password@host:port/db instead of the test server. The office only registers people there, with a
 *                  DOCS file not even that: then there is no way down
 *   KIND=couchdb|cht, COMPARE=URL      of SERVER: its kind; how an administrator reads its database. With cht there is no way down
 *   USB=1          in a test machine, tests/vm: the cable is a real USB stack's, the courier and the dock are installed and started
 *                  by udev and systemd
 */

const fs = require('fs');
const os = require('os');
const path = require('path');
const PouchDB = require('pouchdb');
const { compare, compareListed } = require('./compare');
const docs = require('./docs');
const { Office, refusedReport } = require('./demo-office');
const { waitFor } = require('./program');
const { World, secretFile, csv } = require('./stations');
const { WebApp } = require('./webapp');
const { installed } = require('../vm/stations');

const env = process.env;
const say = (text) => console.log(`demo: ${text}`);

function progress(text) {
    let last = '', shown_ms = 0;
    return (value) => {
        const line = `${text}: ${typeof value === 'string' ? value : JSON.stringify(value)}`;
        if (line !== last && Date.now() - shown_ms > 500) {
            say(line);
            last = line;
            shown_ms = Date.now();
        }
    };
}

class Table {
    constructor() {
        this.rows = [['leg', 'documents', 'batches', 'bytes', 'seconds']];
    }
    async leg(name, fn) {
        const start_ms = Date.now();
        const { documents = '', batches = '', bytes = '' } = await fn();
        this.rows.push([name, documents, batches, bytes, ((Date.now() - start_ms) / 1000).toFixed(1)]);
    }
    print() {
        this.rows.forEach(([name, ...cells]) => console.log(name.padEnd(28) + cells.map((c) => String(c).padStart(11)).join('')));
    }
}

// The server that SERVER names, in the shape that World.dock() takes.
async function givenServer(world) {
    const url = new URL(env.SERVER);
    const account = secretFile(path.join(world.dir, 'account.csv'),
        csv([['username', 'password'], [url.username, url.password].map(decodeURIComponent)]));
    const kind = env.KIND || 'couchdb';
    const db = url.pathname.replace(/\//g, '') || 'medic';
    const admin = env.COMPARE || `${url.protocol}//${url.username}:${url.password}@${url.host}/${db}`;
    if (kind === 'couchdb') {
        await new PouchDB(admin).info();        // creates the database
    }
    return { url: url.origin, kind, db, admin, [kind === 'cht' ? 'users' : 'account']: account, user: url.username };
}

async function replicate(pouch, tablet) {
    const show = progress('PouchDB replicates');
    const job = pouch.replicate.to(tablet.url());
    job.on('change', (info) => show(`${info.docs_written} documents`));
    const info = await job;
    if (!info.ok || info.doc_write_failures) {
        throw new Error(`PouchDB: ${info.doc_write_failures} documents were not written${tablet.program.tail()}`);
    }
    return info.docs_written;
}

// What the app's own replication brings from the tablet: as the CHT webapp does it, or PouchDB's.
async function pull(server, pouch, tablet) {
    if (server.kind === 'cht') {
        const { fetched, purged } = await new WebApp(pouch, tablet.url('')).down();
        return { fetched, purged };
    }
    return { fetched: (await pouch.replicate.from(new PouchDB(tablet.url(), { skip_setup: true }))).docs_written };
}

class Demo {
    constructor(dir, count) {
        Object.assign(this, { dir, count, limit_ms: (env.USB ? 240000 : 60000) + count * 50, table: new Table(), differences: [], refusals: [] });
    }

    async open() {
        const bin = path.resolve(env.BIN || path.join(__dirname, '../../build/gcc/bin'));
        const world = await World.create({ dir: this.dir, bin, classes: env.USB ? await installed(say) : {} });
        const unfiltered = env.DOCS && !env.PLACE;
        this.server = env.SERVER ? await givenServer(world)
            : await world.server([{ user: 'chw1', place: env.PLACE, roles: unfiltered ? 'mm-online' : 'chw' }]);
        this.user = this.server.kind === 'cht' && this.server.user || 'chw1';
        this.tablet = await world.tablet('t1', { user: this.user });
        this.courier = await world.courier('c1');
        this.dock = await world.dock('dock', this.server);
        this.pouch = new PouchDB(path.join(this.dir, 'pouch'));
        this.there = new PouchDB(this.server.admin, { skip_setup: true });
        // Somebody else's server, with somebody's own documents or with workers of its own, is left as it is.
        const ours = !env.SERVER && !unfiltered, lent = env.SERVER && !env.DOCS && this.server.kind === 'couchdb';
        this.office = (ours || lent) && new Office(this.there, { user: this.user, place: env.PLACE || `facility-${this.user}`, lent });
        this.expected = !env.SERVER && !env.DOCS ? [refusedReport] : [];
        say(`deployment, tablet, courier and dock made; server ${this.server.url}`);
    }

    async load() {
        const { pouch, user, count } = this;
        const loaded = await docs.load(pouch, { count, user, facility: env.PLACE, never_up: true, file: env.DOCS,
            progress: progress('documents in PouchDB') });
        await pouch.bulkDocs(this.expected);
        say(`${loaded + this.expected.length} documents in PouchDB${env.DOCS ? '' : ', 7 of them such as never go up'}` +
            `${this.expected.length ? ', 1 that the server will refuse' : ''}`);
    }

    // The stream from the server to the tablet, as one station's store has it.
    async toTablet(station) {
        return (await station.status()).streams.find((stream) => stream.to === this.tablet.name) || { waiting: 0, highest: 0 };
    }

    async atTablet(what, predicate) {
        await this.courier.plug(this.tablet);
        const status = await this.tablet.waitStatus(what, predicate,
            { timeout_ms: this.limit_ms, programs: [this.courier.program], progress: progress(what) });
        await this.courier.unplug();
        return status;
    }

    async atDock() {
        await this.courier.plug(this.dock);
        say('courier at the dock');
        await this.dock.runOnce(this.limit_ms);
    }

    async up() {
        const { table, tablet, courier, dock, server } = this;
        let held;
        await table.leg('PouchDB -> tablet', async () => {
            const documents = await replicate(this.pouch, tablet);
            held = (await tablet.status()).batches;
            return { documents, batches: held.held, bytes: held.held_bytes };
        });
        await table.leg('tablet -> courier', async () => {
            await courier.plug(tablet);
            const { batches } = await courier.waitStatus('has all that the tablet holds',
                (b) => b.held >= held.held && b.partial === 0,
                { timeout_ms: this.limit_ms, programs: [tablet.program], progress: progress('courier at the tablet') });
            await courier.unplug();
            return { batches: batches.held, bytes: batches.held_bytes };
        });
        await table.leg('courier -> dock -> server', async () => {
            await this.atDock();
            await courier.unplug();
            const stats = server.stats ? await server.stats() : {};
            return { documents: stats.docs_received, batches: (await dock.status()).batches.applied, bytes: stats.bytes_received };
        });
        await table.leg('comparison', async () => {
            const { documents, differences } = await compare([this.pouch], this.there, { ignoreNeverUp: true, subset: Boolean(env.SERVER) });
            this.differ(differences);
            return { documents };
        });
        await table.leg('receipt -> tablet', async () => {
            const { batches, refusals } = await this.atTablet('freed by the receipt', (b) => b.held === 0);
            this.refusals = refusals;
            return { documents: `${refusals.length} refused`, batches: batches.applied };
        });
    }

    async down() {
        const { table, tablet, dock, courier, server } = this;
        let there;
        await table.leg('the office, at the server', async () => ({ documents: await this.office.work(this.pouch) }));
        await table.leg('server -> dock -> courier', async () => {
            const before = server.stats ? await server.stats() : {};
            await this.atDock();
            await dock.fetched(this.limit_ms);
            await waitFor('courier: has what the tablet should get', async () => {
                there = await this.toTablet(dock);          // which a receipt that came with the courier may still change
                const { highest, waiting } = await this.toTablet(courier);
                return highest === there.highest && waiting === there.waiting;
            }, this.limit_ms);
            const { batches } = await courier.status();
            await courier.unplug();
            const after = server.stats ? await server.stats() : {};
            return { documents: server.stats && after.docs_served - before.docs_served, batches: there.waiting, bytes: batches.held_bytes };
        });
        await table.leg('courier -> tablet', async () => {
            await this.atTablet('tablet: the server\'s updates', (b, { streams }) =>
                streams.some((stream) => stream.to === tablet.name && stream.contiguous >= there.highest));
            return { batches: there.waiting };
        });
        await table.leg('tablet -> PouchDB', async () => {
            const { fetched, purged } = await pull(server, this.pouch, tablet);
            return { documents: purged === undefined ? fetched : `${fetched}, ${purged} gone` };
        });
        await table.leg('comparison', () => this.compareDown());
    }

    // The app holds what the server shows its user.
    async compareDown() {
        if (this.server.kind === 'couchdb') {
            const { documents, differences } = await compare([this.pouch], this.there, { ignoreNeverUp: true, subset: Boolean(env.SERVER) });
            this.differ(differences);
            return { documents };
        }
        const direct = new WebApp(this.pouch, this.server.as(this.user, undefined, ''));
        const wrong = await direct.differences(), listed = await direct.listed();
        const app = new Map((await this.pouch.allDocs({ keys: wrong.map(({ id }) => id), include_docs: true })).rows.map((row) => [row.key, row.doc]));
        this.differ(wrong.filter(({ id, there }) => there || !app.get(id) || !docs.neverUp(app.get(id)))
            .map(({ id, here, there }) => ({ id, rev: here || there, what: `${here || 'nothing'} in the app, ${there || 'nothing'} at the server` })));
        this.differ(await compareListed(this.pouch, this.there, listed.map(({ id, rev }) => [id, rev])));
        return { documents: listed.length };
    }

    differ(differences) {
        this.differences.push(...differences.filter(({ id }) => !this.expected.some((doc) => doc._id === id)));
    }

    print() {
        const { table, differences, refusals, expected } = this;
        table.print();
        differences.slice(0, 20).forEach((d) => console.log(`${d.id} ${d.rev}: ${d.what}`));
        refusals.slice(0, 20).forEach((r) => console.log(`refused ${r.id} ${r.rev}: ${r.error} ${r.reason || ''}`));
        console.log(`differences ${differences.length}`);
        return differences.length === 0 && refusals.map((r) => r.id).join() === expected.map((doc) => doc._id).join();
    }
}

async function demo(dir, count) {
    const it = new Demo(dir, count);
    await it.open();
    await it.load();
    await it.tablet.start();
    await it.up();
    if (it.office) {
        await it.down();
    }
    await it.tablet.stop();
    await it.pouch.close();
    return it.print();
}

async function main() {
    const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'boda-'));
    const count = Number(env.DOCS_COUNT || 1000);
    try {
        process.exitCode = 1;
        process.exitCode = await demo(dir, count) ? 0 : 1;
    } catch (e) {
        console.error(`demo: ${e.message || JSON.stringify(e)}`);
    }
    if (env.KEEP) {
        say(`kept ${dir}`);
    } else {
        fs.rmSync(dir, { recursive: true, force: true });
    }
    process.exit();
}

main();
