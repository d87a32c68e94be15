#!/usr/bin/env node
// SPDX-License-Identifier: AGPL-3.0-or-later
'use strict';

/*
 * The way down, as ratios measured side by side, RUNS times:
 *   fetch   documents/s of `boda-dock upload` that fetches DOCS_COUNT (10,000) documents for a new tablet, beside PouchDB's
 *           replicate.from the same server, and, with the test server at the pace of a CHT, beside the CHT webapp's own way
 *   pull    PouchDB's replicate.from boda-tablet, beside the same from express-pouchdb (and from a CouchDB)
 *   serve   _bulk_get of 100 documents among DOCS_LARGE (25,000) in sealed batches: in the order of get-ids, and scattered
 *   nothing what a tablet for which nothing has changed costs the server
 * And the memory of both programs. The environment: BIN, DOCS_COUNT, DOCS_LARGE, RUNS (3), SERVER=URL
 * (http://admin:password@host:port of a CouchDB, besides the test server).
 */

const assert = require('assert');
const fs = require('fs');
const http = require('http');
const os = require('os');
const path = require('path');
const PouchDB = require('../web/node_modules/pouchdb');
const docs = require('../web/docs');
const { remote, visitTablet } = require('../web/journey');
const { peakMegabytes } = require('../web/program');
const { World, secretFile, csv } = require('../web/stations');
const { WebApp } = require('../web/webapp');

const env = process.env;
const COUNT = Number(env.DOCS_COUNT || 10000), LARGE = Number(env.DOCS_LARGE || 25000), RUNS = Number(env.RUNS || 3);
const UPLOAD_MS = 600000, REQUESTS = 60;

const say = (text) => console.log(text);
const sorted = (list) => [...list].sort((a, b) => a - b);
const median = (list) => sorted(list)[Math.floor(list.length / 2)];
const percentile = (list, p) => sorted(list)[Math.ceil(list.length * p / 100) - 1];
// Milliseconds of processor time that a program has used, in steps of 10.
const usedMs = (program) => {
    const fields = fs.readFileSync(`/proc/${program.child.pid}/stat`, 'utf8').split(') ')[1].split(' ');
    return (Number(fields[11]) + Number(fields[12])) * 10;
};
const shuffled = (list) => list.map((x) => [Math.random(), x]).sort((a, b) => a[0] - b[0]).map(([, x]) => x);

async function timed(fn) {
    const start_ms = Date.now();
    await fn();
    return (Date.now() - start_ms) / 1000;
}

class Bench {
    constructor(dir, bin) {
        Object.assign(this, { dir, bin, number: 0, dock_mb: 0, tablet_mb: 0 });
    }

    // A deployment of its own in front of a server: nothing is known of any tablet yet.
    async world() {
        const dir = path.join(this.dir, `w${++this.number}`);
        fs.mkdirSync(dir);
        return World.create({ dir, bin: this.bin });
    }

    pouch() {
        return new PouchDB(path.join(this.dir, `pouch${++this.number}`));
    }

    async setup(server) {
        const world = await this.world();
        const tablet = await world.tablet('t1', { user: 'chw1' }), courier = await world.courier('c1');
        return { tablet, courier, dock: await world.dock('dock', server) };
    }

    async upload(dock) {
        const program = dock.command('upload');
        const watch = setInterval(() => { this.dock_mb = Math.max(this.dock_mb, peakMegabytes(program)); }, 20);
        await program.wait(UPLOAD_MS);
        clearInterval(watch);
    }

    // What the dock has fetched goes to the tablet, which runs then.
    async carry({ tablet, courier, dock }) {
        await courier.plug(dock);
        await dock.start().waitLine(/safe to unplug/, UPLOAD_MS);
        await dock.stop();
        await courier.unplug();
        await tablet.start();
        await visitTablet(courier, tablet, UPLOAD_MS);
    }

    async testServer(count, options) {
        const server = await (await this.world()).server([{ user: 'chw1' }], options);
        await docs.load(remote(server.admin), { count, seed: 1, user: 'chw1' });
        return server;
    }

    // A database of a CouchDB that is thrown away behind it.
    async couchServer() {
        const url = new URL(env.SERVER), db = `boda-bench-${process.pid}`;
        const admin = `${url.origin.replace('//', `//${url.username}:${url.password}@`)}/${db}`;
        const account = secretFile(path.join(this.dir, 'account.csv'), csv([['username', 'password'], [url.username, url.password]]));
        await docs.load(new PouchDB(admin), { count: COUNT, seed: 1, user: 'chw1' });
        return { url: url.origin, kind: 'couchdb', db, account, admin, stop: () => new PouchDB(admin).destroy() };
    }

    // Returns stations of which the tablet still lacks what the dock has.
    async fetch(server, what, other, goal) {
        const rates = { dock: [], other: [] };
        let stations;
        for (let i = 0; i < RUNS; i++) {
            rates.other.push(COUNT / await timed(() => other(this.pouch())));
            stations = await this.setup(server);
            rates.dock.push(COUNT / await timed(() => this.upload(stations.dock)));
            const { batches: { held } } = await stations.dock.status();
            assert.ok(held > 0, 'the dock has fetched nothing');
            say(`  dock ${rates.dock[i].toFixed(0)} documents/s, ${what} ${rates.other[i].toFixed(0)}`);
        }
        say(`fetch: boda-dock / ${what} = ${(median(rates.dock) / median(rates.other)).toFixed(2)}${goal}`);
        return stations;
    }

    async pull(stations, sources) {
        const rates = {};
        await this.carry(stations);
        for (let i = 0; i < RUNS; i++) {
            for (const [name, url] of Object.entries({ ...sources, tablet: stations.tablet.url() })) {
                const pouch = this.pouch();
                (rates[name] = rates[name] || []).push(COUNT / await timed(() => pouch.replicate.from(remote(url))));
                const { doc_count: count } = await pouch.info();
                assert.ok(count >= COUNT * 0.9, `${name}: only ${count} documents`);
                say(`  from ${name} ${rates[name][i].toFixed(0)} documents/s`);
            }
        }
        for (const [name, goal] of [['express-pouchdb', 3], ['CouchDB', 1]].filter(([n]) => rates[n])) {
            const ratio = median(rates.tablet) / median(rates[name]);
            say(`pull: PouchDB from boda-tablet / from ${name} = ${ratio.toFixed(2)} (goal >= ${goal})`);
        }
        this.tablet_mb = Math.max(this.tablet_mb, peakMegabytes(stations.tablet.program));
        await stations.tablet.stop();
    }

    bulkGet(tablet, agent, list) {
        const authorization = 'Basic ' + Buffer.from(`${tablet.user}:${tablet.secret}`).toString('base64');
        const options = { method: 'POST', agent, headers: { authorization, 'content-type': 'application/json' } };
        return new Promise((done, failed) => {
            http.request(`http://127.0.0.1:${tablet.port}/medic/_bulk_get?revs=true&attachments=true`, options, (res) => {
                const chunks = [];
                res.on('data', (chunk) => chunks.push(chunk)).on('end', () => done(Buffer.concat(chunks))).on('error', failed);
            }).on('error', failed).end(JSON.stringify({ docs: list }));
        });
    }

    // Milliseconds of each of some _bulk_get, one after the other on one connection.
    async bulkGets(tablet, lists) {
        const agent = new http.Agent({ keepAlive: true, maxSockets: 1 }), times = [];
        for (const list of lists) {
            const start = process.hrtime.bigint();
            const bytes = await this.bulkGet(tablet, agent, list);
            times.push(Number(process.hrtime.bigint() - start) / 1e6);
            const found = JSON.parse(bytes).results.filter((r) => r.docs[0].ok).length;
            assert.strictEqual(found, list.length, 'documents are missing');
        }
        agent.destroy();
        return times;
    }

    async serve() {
        const server = await this.testServer(LARGE, { kind: 'cht' });
        const stations = await this.setup(server), { tablet, courier, dock } = stations;
        await this.upload(dock);
        await this.carry(stations);
        const { json: { doc_ids_revs: all } } = await tablet.ask('GET', 'api/v1/replication/get-ids');
        assert.ok(all.length >= LARGE * 0.95, `only ${all.length} documents are listed`);
        const hundreds = (list) => [...Array(REQUESTS)].map((_, i) => list.slice(i * 100, i * 100 + 100));
        for (const [what, list, goal] of [['in the order of get-ids', all, 50], ['scattered', shuffled(all), 400]]) {
            const before_ms = usedMs(tablet.program), times = await this.bulkGets(tablet, hundreds(list));
            const used_ms = (usedMs(tablet.program) - before_ms) / times.length;
            say(`serve: _bulk_get of 100 documents of ${all.length}, ${what}, 95th percentile: ` +
                `${percentile(times, 95).toFixed(1)} ms (goal <= ${goal}), processor ${used_ms.toFixed(1)} ms each`);
        }
        this.tablet_mb = Math.max(this.tablet_mb, peakMegabytes(tablet.program));
        // Its receipt comes, and then nothing is new.
        for (let i = 0; i < 2; i++) {
            await visitTablet(courier, tablet, UPLOAD_MS);
            await courier.plug(dock);
            await dock.runOnce(UPLOAD_MS);
            await courier.unplug();
        }
        await server.reset();
        await this.upload(dock);
        const { requests, docs_served: served } = await server.stats();
        say(`nothing: an unchanged tablet costs ${served} documents and the requests ${JSON.stringify(requests)}`);
        await tablet.stop();
        await server.stop();
    }

    async run() {
        say(`the way down of ${COUNT} documents, ${RUNS} runs`);
        const express = await this.testServer(COUNT, { kind: 'couchdb' });
        const from = (server) => (pouch) => pouch.replicate.from(remote(server.admin));
        const fromExpress = await this.fetch(express, 'PouchDB replicate.from', from(express), ' (goal >= 3)');
        const sources = { 'express-pouchdb': express.admin };
        if (env.SERVER) {
            const couch = await this.couchServer();
            await this.fetch(couch, 'PouchDB replicate.from the CouchDB', from(couch), ' (goal >= 3)');
            await this.pull(fromExpress, { ...sources, CouchDB: couch.admin });
            await couch.stop();
        } else {
            await this.pull(fromExpress, sources);
        }
        await express.stop();
        const paced = await this.testServer(COUNT, { kind: 'cht', pace: 'cht' });
        await this.fetch(paced, 'the CHT webapp\'s way, from a server at the pace of a CHT (a model: tests/web/server.js)',
            (pouch) => new WebApp(pouch, paced.as('chw1', undefined, '')).down(), '');
        await paced.stop();
        await this.serve();
        say(`memory: boda-dock ${this.dock_mb.toFixed(0)} MB (bound 128), boda-tablet ${this.tablet_mb.toFixed(0)} MB (bound 64)`);
    }
}

async function main() {
    const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'b-'));
    try {
        await new Bench(dir, path.resolve(env.BIN || path.join(__dirname, '../../build/gcc/bin'))).run();
        process.exitCode = 0;
    } catch (e) {
        console.error(`bench: ${e.stack || JSON.stringify(e)}`);
        process.exitCode = 1;
    }
    fs.rmSync(dir, { recursive: true, force: true });
    process.exit();
}

main();
