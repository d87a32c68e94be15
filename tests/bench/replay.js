#!/usr/bin/env node
// SPDX-License-Identifier: AGPL-3.0-or-later
'use strict';

/*
 * Replay: documents/s of `boda-dock upload` beside (a) PouchDB's replicate.to the same server, (b) prepared _bulk_docs bodies posted
 * by curl (500 documents, 4 in flight: the limit), and (c) the same with prepared _revs_diff questions before and after (500 ids, 4 in
 * flight: the limit for whoever proves what was stored), one after the other, RUNS times, each into an empty database.
 * And the tablet: PouchDB's replicate.to boda-tablet beside the same into a server that stores nothing.
 * Without SERVER both are measured: the test server at the pace of a real CouchDB, in which writing is what takes time, and as fast
 * as it can, in memory, where the two questions of a proven replay alone cost it half as much as the documents.
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

// User and system time of the programs that this one has started and that have ended, in seconds.
function childrensCpu() {
    const stat = fs.readFileSync('/proc/self/stat', 'utf8');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');        // proc(5): from field 3 on, in ticks of 10 ms
    return (Number(fields[13]) + Number(fields[14])) / 100;
}

// The documents of the PouchDB, in the order of its changes, as files of _bulk_docs bodies, and of the questions for them.
async function writeBodies(pouch, dir) {
    const files = { _bulk_docs: [], _revs_diff: [] };
    let part = [], question = {}, bytes = 0;
    const write = (route, text) => {
        const file = path.join(dir, `${route}-${files[route].length}.json`);
        fs.writeFileSync(file, text);
        files[route].push(file);
    };
    const flush = () => {
        write('_bulk_docs', `{"new_edits":false,"docs":[${part.join(',')}]}`);
        write('_revs_diff', JSON.stringify(question));
        part = [];
        question = {};
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
            (question[id] = question[id] || []).push(rev);
            bytes += text.length;
        }
    }
    flush();
    return files;
}

class ReplayBench {
    constructor(dir, world) {
        Object.assign(this, { dir, world, number: 0 });
    }

    // An empty server to write to.
    async fresh() {
        if (!env.SERVER) {
            const server = await this.world.server([{ user: 'chw1' }], { kind: 'couchdb', pace: this.pace });
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
        const { results } = await new PouchDB(url, { skip_setup: true }).changes();        // has the deleted ones, too
        assert.ok(results.length >= this.least, `${name}: ${results.length} of ${this.least} documents arrived`);
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

    post(url, route) {
        const config = path.join(this.dir, 'curl.conf');
        fs.writeFileSync(config, this.bodies[route].map((file) => `url="${url}/${route}"\nheader="Content-Type: application/json"\n` +
            `header="Expect:"\ndata-binary="@${file}"\noutput="/dev/null"\nfail\n`).join('next\n'));
        return timed(() => run('curl', 'curl', ['-sS', '-Z', '--parallel-max', '4', '-K', config], { timeout_ms: 600000 }));
    }

    byCurl(server, url) {
        return this.post(url, '_bulk_docs');
    }

    async byCurlProven(server, url) {
        return await this.post(url, '_revs_diff') + await this.post(url, '_bulk_docs') + await this.post(url, '_revs_diff');
    }

    // A dock whose store has all batches, as the courier left it.
    async byDock(server) {
        const account = secretFile(path.join(this.dir, 'account.csv'), csv([['username', 'password'], [server.user, server.password]]));
        this.dock.configure(this.world.deployment, { url: server.base, kind: 'couchdb', db: server.db, account });
        fs.rmSync(this.dock.store, { recursive: true, force: true });
        fs.cpSync(this.filled, this.dock.store, { recursive: true });
        const before_s = childrensCpu();
        const seconds = await timed(async () => {
            const program = this.dock.command('upload');
            const watch = setInterval(() => {
                try { this.peak = peakMemory(program) || this.peak; } catch (e) { /* it has just ended */ }
            }, 50);
            await program.wait(600000);
            clearInterval(watch);
            this.memory_mb.push(this.peak);
        });
        this.cpu_s.push(childrensCpu() - before_s);
        return seconds;
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
        await tablet.program.waitLine(/safe to unplug/, 120000);
        say(`  courier: peak memory ${peakMemory(courier.program).toFixed(0)} MB`);
        await courier.unplug();
        await tablet.stop();
        await courier.plug(this.dock);
        await this.dock.start().waitLine(/safe to unplug/, 120000);
        assert.ok((await this.dock.status()).batches.held >= held);
        await this.dock.kill();
        await courier.unplug();
        this.filled = `${this.dock.store}.filled`;
        fs.renameSync(this.dock.store, this.filled);
    }

    async prepare() {
        this.pouch = new PouchDB(path.join(this.dir, 'pouch'));
        say(`replay of ${COUNT} documents, ${RUNS} runs`);
        this.least = await docs.load(this.pouch, { count: COUNT, seed: 1, user: 'chw1' });
        this.documents = this.least;
        this.bodies = await writeBodies(this.pouch, this.dir);
        await this.fillDock();
    }

    // Into a server at PACE: 'couchdb', or undefined: as fast as it can.
    async compare(what, pace) {
        Object.assign(this, { pace, rates: { pouchdb: [], curl: [], proven: [], dock: [] }, memory_mb: [], cpu_s: [] });
        say(what);
        for (let i = 0; i < RUNS; i++) {
            await this.measure('pouchdb', (...a) => this.byPouchDb(...a));
            await this.measure('curl', (...a) => this.byCurl(...a));
            await this.measure('proven', (...a) => this.byCurlProven(...a));
            await this.measure('dock', (...a) => this.byDock(...a));
        }
        const [dock, pouchdb, curl, proven] = ['dock', 'pouchdb', 'curl', 'proven'].map((name) => median(this.rates[name]));
        say(`replay: boda-dock upload / PouchDB replicate.to = ${(dock / pouchdb).toFixed(2)} (goal >= 3)`);
        say(`replay: boda-dock upload / curl with prepared bodies = ${(dock / curl).toFixed(2)} (goal >= 0.8)`);
        say(`replay: boda-dock upload / curl with prepared bodies and _revs_diff before and after = ${(dock / proven).toFixed(2)}`);
        say(`replay: boda-dock CPU ${median(this.cpu_s).toFixed(2)} s, load ${os.loadavg()[0].toFixed(1)} on ${os.cpus().length} CPUs`);
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
        await replay.prepare();
        if (env.SERVER) {
            await replay.compare(`into ${new URL(env.SERVER).host}`);
        } else {
            await replay.compare('into the test server at the pace of a CouchDB that writes to disk (a model: tests/web/server.js)', 'couchdb');
            await replay.compare('into the test server in memory, as fast as it can');
        }
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
