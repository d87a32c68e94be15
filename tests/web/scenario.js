// SPDX-License-Identifier: AGPL-3.0-or-later
'use strict';

/*
 * The frame of a scenario test: a folder of its own, a deployment in it, and an exit status.
 *
 *   scenario('what it proves', async ({ dir, bin, world, check }) => { ... });
 *
 * The environment: BIN (the programs), SEED (of everything random; printed), KEEP=1 (keep the folder).
 */

const assert = require('assert');
const fs = require('fs');
const os = require('os');
const path = require('path');
const PouchDB = require('pouchdb');
const { compare } = require('./compare');
const { killAll } = require('./program');
const { World } = require('./stations');

const root = path.join(__dirname, '../..');

// Numbers in [0, 1) from a seed (mulberry32).
function random(seed) {
    let state = seed >>> 0;
    return () => {
        state = (state + 0x6d2b79f5) >>> 0;
        let t = Math.imul(state ^ (state >>> 15), state | 1);
        t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
        return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
    };
}

function remote(url) {
    return new PouchDB(url, { skip_setup: true });
}

// One-shot replication into a tablet; throws unless all is written.
async function replicate(pouch, tablet, options = {}) {
    const info = await pouch.replicate.to(tablet.url(), options);
    assert.ok(info.ok && !info.doc_write_failures, JSON.stringify(info));
    return info;
}

// Every document of the tablets' PouchDBs is on the server, leaf for leaf, and nothing else is there.
async function assertSame(pouches, server, options = {}) {
    const result = await compare(pouches, remote(server.admin), { ignoreNeverUp: true, ...options });
    assert.deepStrictEqual(result.differences.slice(0, 10), []);
    return result;
}

// Nothing waits in the store, and nothing that is applied has bytes there, but for a tablet's shelf. The newest receipts of tablets,
// which have no number, stay everywhere.
async function assertEmpty(...stations) {
    for (const station of stations) {
        const { batches, station: { role } } = await station.status();
        const { partial, held, aside } = batches;
        const bytes = batches.held_bytes - batches.unnumbered_bytes - (role === 'tablet' ? batches.kept_bytes : 0);
        assert.deepStrictEqual({ partial, held, aside, bytes }, { partial: 0, held: 0, aside: 0, bytes: 0 }, station.name);
    }
}

function scenario(goal, body) {
    const dir = fs.mkdtempSync(path.join(process.env.WORK || os.tmpdir(), 'b-'));
    const bin = path.resolve(process.env.BIN || path.join(root, 'build/gcc/bin'));
    const seed = Number(process.env.SEED || Math.floor(Math.random() * 2 ** 31));
    const started_ms = Date.now();

    console.log(`${path.basename(process.argv[1])}: ${goal}; SEED=${seed}`);
    World.create({ dir, bin }).then((world) => body({ dir, bin, world, seed, random: random(seed) })).then(() => {
        console.log(`passed in ${((Date.now() - started_ms) / 1000).toFixed(1)} s`);
        process.exitCode = 0;
    }, (e) => {
        console.error(`FAILED with SEED=${seed}: ${e.stack || JSON.stringify(e)}`);
        process.exitCode = 1;
    }).finally(() => {
        killAll();
        if (!process.env.KEEP) {
            fs.rmSync(dir, { recursive: true, force: true, maxRetries: 10 });
        }
        process.exit();
    });
}

module.exports = { scenario, random, remote, replicate, assertSame, assertEmpty };
