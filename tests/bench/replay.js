#!/usr/bin/env node
// SPDX-License-Identifier: AGPL-3.0-or-later
'use strict';

/*
 * Replay: documents/s of `boda-dock upload` beside (a) PouchDB's replicate.to the same server and (b) prepared _bulk_docs bodies
 * posted by curl (500 documents, 4 in flight: the limit), one after the other, RUNS times, each into an empty database.
 * And the tablet: PouchDB's replicate.to boda-tablet beside the same into a server that stores nothing.
 * The environment: BIN, DOCS_COUNT (10000), RUNS (3), SERVER=URL (http://admin:password@host:port of a CouchDB; else the test server).
 */

const assert = require('assert');
const fs = require('fs');
const os = require('os');
const path = require('path');
const PouchDB = require('../web/node_modules/pouchdb');
const docs = require('../web/docs');
const { Program, run } = require('../web/program');
const { World, secretFile, csv } = require('../web/stations');

const env = process.env;
const COUNT = Number(env.DOCS_COUNT || 10000), RUNS = Number(env.RUNS || 3);
const BODY_DOCS = 500, BODY_BYTES = 8 << 20;

const median = (list) => [...list].sort((a, b) => a - b)[Math.floor(list.length / 2)];
const say = (text) => console.log(text);

async function timed(fn) {
    const start_ms = Date.now();
    await fn();
    return (Date.now() - start_ms) / 1000;
}

function peakMemory(program) {
    const status = fs.readFileSync(`/proc/${program.child.pid}/status`, 'utf8');
    return Number(/VmHWM:\s+(\d+)/.exec(status)[1]) / 1024;
}

// The documents of the PouchDB, in the order of its changes, as files of _bulk_docs bodies.
async function writeBodies(pouch, dir) {
    const files = [];
    let part = [], bytes = 0;
    const flush = () => {
        const file = path.join(dir, `body-${files.length}.json`);
        fs.writeFileSync(file, `{"new_edits":false,"docs":[${part.join(',')}]}`);
        files.push(file);
        part = [];
        bytes = 0;
    };
    const { results } = await pouch.changes({ style: 'all_docs' });
    for (const { id, changes } of results) {
        for (const { rev } of changes) {
            const text = JSON.stringify(await pouch.get(id, { rev, revs: true, attachments: true }));
            if (part.length && (part.length >= BODY_DOCS || bytes + text.length > BODY_BYTES)) {
                flush();
            }
            part.push(text);
            bytes += text.length;
        }
    }
    flush();
    return files;
}

class ReplayBench {
    constructor(dir, world) {
        Object.assign(this, { dir, world, number: 0, rates: { pouchdb: [], curl: [], dock: [] }, memory_mb: [] });
    }

    // An empty server to write to.
    async fresh() {
        if (!env.SERVER) {
            const server = await this.world.server([{ user: 'chw1' }], { kind: 'couchdb' });
            return { base: server.url, user: 'admin', password: 'password', db: 'medic', end: () => server.stop() };
        }
        const url = new URL(env.SERVER), db = `boda-bench-${process.pid}-${this.number++}`;
        const remote = new PouchDB(`${url.origin.replace('//', `//${url.username}:${url.password}@`)}/${db}`);
        await remote.info();
        return { base: url.origin, user: url.username, password: url.password, db, end: () => remote.destroy() };
    }

    async measure(name, fn) {
        const server = await this.fresh();
        const url = `${server.base.replace('//', `//${server.user}:${server.password}@`)}/${server.db}`;
        const seconds = await fn(server, url);
        const { doc_count: live, doc_del_count: deleted = 0 } = await new PouchDB(url, { skip_setup: true }).info();
        assert.ok(live + deleted >= this.least, `${name}: ${live} documents arrived`);
        await server.end();
        this.rates[name].push(this.documents / seconds);
        say(`  ${name.padEnd(8)} ${(this.documents / seconds).toFixed(0).padStart(6)} documents/s`);
    }

    byPouchDb(server, url) {
        return timed(async () => {
            const info = await this.pouch.replicate.to(new PouchDB(url, { skip_setup: true }));
            assert.ok(info.ok && !info.doc_write_failures);
        });
    }

    byCurl(server, url) {
        const config = path.join(this.dir, 'curl.conf');
        fs.writeFileSync(config, this.bodies.map((file) => `url="${url}/_bulk_docs"\nheader="Content-Type: application/json"\n` +
            `header="Expect:"\ndata-binary="@${file}"\noutput="/dev/null"\nfail\n`).join('next\n'));
        return timed(() => run('curl', 'curl', ['-sS', '-Z', '--parallel-max', '4', '-K', config], { timeout_ms: 600000 }));
    }

    // A dock whose store has all batches, as the courier left it.
    async byDock(server) {
        const account = secretFile(path.join(this.dir, 'account.csv'), csv([['username', 'password'], [server.user, server.password]]));
        this.dock.configure(this.world.deployment, { url: server.base, kind: 'couchdb', db: server.db, account });
        fs.rmSync(this.dock.store, { recursive: true, force: true });
        fs.cpSync(this.filled, this.dock.store, { recursive: true });
        return timed(async () => {
            const program = this.dock.command('upload');
            const watch = setInterval(() => {
                try { this.peak = peakMemory(program) || this.peak; } catch (e) { /* it has just ended */ }
            }, 50);
            await program.wait(600000);
            clearInterval(watch);
            this.memory_mb.push(this.peak);
        });
    }

    async fillDock() {
        const tablet = await this.world.tablet('t1', { user: 'chw1' }), courier = await this.world.courier('c1');
        const nowhere = { url: 'http://127.0.0.1:9', kind: 'couchdb', db: 'medic',
            account: secretFile(path.join(this.dir, 'nobody.csv'), csv([['username', 'password'], ['a', 'b']])) };
        this.dock = await this.world.dock('dock', nowhere);
        await tablet.start();
        await this.pouch.replicate.to(tablet.url(), { batch_size: 100 });
        say(`  tablet: peak memory ${peakMemory(tablet.program).toFixed(0)} MB`);
        const { batches: { held } } = await tablet.status();
        await courier.plug(tablet);
        await courier.waitStatus('has all', (b) => b.held >= held && !b.partial, { timeout_ms: 120000, programs: [tablet.program] });
        say(`  courier: peak memory ${peakMemory(courier.program).toFixed(0)} MB`);
        await courier.unplug();
        await tablet.stop();
        await courier.plug(this.dock);
        const running = this.dock.start();
        await this.dock.waitStatus('has all', (b) => b.held >= held && !b.partial, { timeout_ms: 120000, programs: [running] });
        await this.dock.stop().catch(() => {});
        await courier.unplug();
        this.filled = `${this.dock.store}.filled`;
        fs.renameSync(this.dock.store, this.filled);
    }

    async run() {
        this.pouch = new PouchDB(path.join(this.dir, 'pouch'));
        say(`replay of ${COUNT} documents, ${RUNS} runs`);
        this.least = await docs.load(this.pouch, { count: COUNT, seed: 1, user: 'chw1' });
        this.documents = this.least;
        this.bodies = await writeBodies(this.pouch, this.dir);
        await this.fillDock();
        for (let i = 0; i < RUNS; i++) {
            await this.measure('pouchdb', (...a) => this.byPouchDb(...a));
            await this.measure('curl', (...a) => this.byCurl(...a));
            await this.measure('dock', (...a) => this.byDock(...a));
        }
        const [dock, pouchdb, curl] = ['dock', 'pouchdb', 'curl'].map((name) => median(this.rates[name]));
        say(`replay: boda-dock upload / PouchDB replicate.to = ${(dock / pouchdb).toFixed(2)} (goal >= 3)`);
        say(`replay: boda-dock upload / curl with prepared bodies = ${(dock / curl).toFixed(2)} (goal >= 0.8)`);
        say(`replay: boda-dock peak memory ${Math.max(...this.memory_mb).toFixed(0)} MB (bound 128)`);
    }
}

class TabletBench {
    constructor(dir, world, pouch) {
        Object.assign(this, { dir, world, pouch, seconds: { tablet: [], nothing: [] } });
    }

    async intoNothing() {
        const server = new Program('null-server', process.execPath, [path.join(__dirname, '../web/null-server.js'), '--port', '0']);
        const [, url] = await server.waitLine(/^listening (\S+)$/);
        this.seconds.nothing.push(await timed(() => this.pouch.replicate.to(`${url}/medic`)));
        await server.kill();
    }

    async intoTablet(number) {
        const tablet = await this.world.tablet(`bench${number}`, { user: 'chw1' });
        await tablet.start();
        this.seconds.tablet.push(await timed(() => this.pouch.replicate.to(tablet.url())));
        say(`  tablet: peak memory ${peakMemory(tablet.program).toFixed(0)} MB (bound 64)`);
        await tablet.stop();
    }

    async run() {
        for (let i = 0; i < RUNS; i++) {
            await this.intoNothing();
            await this.intoTablet(i);
        }
        const { tablet, nothing } = this.seconds;
        say(`tablet: PouchDB into boda-tablet / into a server that stores nothing = ${(median(nothing) / median(tablet)).toFixed(2)} ` +
            '(speed, goal >= 0.8)');
    }
}

async function main() {
    const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'b-'));
    try {
        const world = await World.create({ dir, bin: path.resolve(env.BIN || path.join(__dirname, '../../build/gcc/bin')) });
        const replay = new ReplayBench(dir, world);
        await replay.run();
        await new TabletBench(dir, world, replay.pouch).run();
        process.exitCode = 0;
    } catch (e) {
        console.error(`bench: ${e.stack || JSON.stringify(e)}`);
        process.exitCode = 1;
    }
    fs.rmSync(dir, { recursive: true, force: true });
    process.exit();
}

main();
