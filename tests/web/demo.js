// SPDX-License-Identifier: AGPL-3.0-or-later
'use strict';

/*
 * The main job with the real programs: PouchDB -> boda-tablet -> boda-courier -> boda-dock -> server, and the receipt back; then
 * every document is compared. Called by demo.sh. The environment: BIN (build/gcc/bin), DOCS_COUNT (1000), DOCS=FILE (NDJSON in
 * _bulk_docs form instead of generated documents), PLACE (the place whose documents the user of a DOCS file may write; without it
 * the user is unfiltered), SERVER=URL (http://name:password@host:port/db instead of the test server), KIND=couchdb|cht (of SERVER),
 * COMPARE=URL (how an administrator reads SERVER's database), KEEP=1 (keep the folder),
 * USB=1 (in a test machine, tests/vm: the cable is a real USB stack's, the courier and the dock are installed and started by udev
 * and systemd).
 */

const fs = require('fs');
const os = require('os');
const path = require('path');
const PouchDB = require('pouchdb');
const { compare } = require('./compare');
const docs = require('./docs');
const { World, secretFile, csv } = require('./stations');
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

async function demo(dir, count) {
    const limit_ms = 60000 + count * 50;
    const bin = path.resolve(env.BIN || path.join(__dirname, '../../build/gcc/bin'));
    const world = await World.create({ dir, bin, classes: env.USB ? await installed(say) : {} });
    const unfiltered = env.DOCS && !env.PLACE;
    const server = env.SERVER ? await givenServer(world)
        : await world.server([{ user: 'chw1', place: env.PLACE, roles: unfiltered ? 'mm-online' : 'chw' }]);
    const user = server.kind === 'cht' && server.user || 'chw1';
    const tablet = await world.tablet('t1', { user });
    const courier = await world.courier('c1');
    const dock = await world.dock('dock', server);
    say(`deployment, tablet, courier and dock made; server ${server.url}`);

    const pouch = new PouchDB(path.join(dir, 'pouch'));
    const loaded = await docs.load(pouch, { count, user, facility: env.PLACE, never_up: true, file: env.DOCS,
        progress: progress('documents in PouchDB') });
    say(`${loaded} documents in PouchDB${env.DOCS ? '' : ', 7 of them such as never go up'}`);

    const table = new Table();
    await tablet.start();
    let held;
    await table.leg('PouchDB -> tablet', async () => {
        const documents = await replicate(pouch, tablet);
        held = (await tablet.status()).batches;
        return { documents, batches: held.held, bytes: held.held_bytes };
    });
    await table.leg('tablet -> courier', async () => {
        await courier.plug(tablet);
        const { batches } = await courier.waitStatus('has all that the tablet holds',
            (b) => b.held >= held.held && b.partial === 0,
            { timeout_ms: limit_ms, programs: [tablet.program], progress: progress('courier at the tablet') });
        await courier.unplug();
        return { batches: batches.held, bytes: batches.held_bytes };
    });
    await table.leg('courier -> dock -> server', async () => {
        await courier.plug(dock);
        say('courier at the dock');
        await dock.runOnce(limit_ms);
        await courier.unplug();
        const stats = server.stats ? await server.stats() : {};
        return { documents: stats.docs_received, batches: (await dock.status()).batches.applied, bytes: stats.bytes_received };
    });
    let result;
    await table.leg('comparison', async () => {
        result = await compare([pouch], new PouchDB(server.admin, { skip_setup: true }),
            { ignoreNeverUp: true, subset: Boolean(env.SERVER) });
        return { documents: result.documents };
    });
    let after;
    await table.leg('receipt -> tablet', async () => {
        await courier.plug(tablet);
        after = await tablet.waitStatus('freed by the receipt', (b) => b.held === 0,
            { timeout_ms: limit_ms, programs: [courier.program], progress: progress('tablet at the second visit') });
        await courier.unplug();
        return { batches: after.batches.applied };
    });
    await tablet.stop();
    await pouch.close();
    table.print();
    result.differences.slice(0, 20).forEach((d) => console.log(`${d.id} ${d.rev}: ${d.what}`));
    after.refusals.slice(0, 20).forEach((r) => console.log(`refused ${r.id} ${r.rev}: ${r.error} ${r.reason || ''}`));
    console.log(`differences ${result.differences.length}`);
    return result.differences.length === 0 && after.refusals.length === 0;
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
