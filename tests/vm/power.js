#!/usr/bin/env node
// SPDX-License-Identifier: AGPL-3.0-or-later
'use strict';

/*
 * What power_test.js runs in the machine: power.js SETTINGS, a JSON object.
 *
 *   bin, user, secret   the programs; the tablet's user
 *   barrier             whether the courier's file system flushes its disk: false is the control
 *   backlog_bytes       so much may wait at the tablet; what is beyond that is written as small documents
 *   requests            what the tablet is given: the bytes of each request's documents
 *   end                 "cut": go on until the power goes; "drain": until the courier has all, then end well;
 *                       "look": only look at what the courier's store holds
 *
 * It says, one a line, "power: " and: "store {...}", what the courier's store held before its program was started ("fault":
 * why it cannot be read); "begins", when both programs are being started; "drained {...}", what it holds in the end. In
 * between come the lines of both programs, at debug level.
 */

const fs = require('fs');
const path = require('path');
const { spawn, spawnSync } = require('child_process');
const { sleep, waitFor } = require('../web/program');

const settings = JSON.parse(process.argv[2]);
const WAIT_MS = 180000;
const REV = '0123456789abcdef0123456789abcdef';
const PORT = 5985;

const stations = '/tmp/stations', courierStore = '/tmp/courier/store', tabletStore = '/tmp/tablet/store';

const say = (word, value) => console.log(`power: ${word}${value ? ' ' + JSON.stringify(value) : ''}`);

function sh(command, ...args) {
    const { status, stdout, stderr } = spawnSync(command, args, { encoding: 'utf8', maxBuffer: 1 << 26 });
    if (status !== 0) {
        throw new Error(`${path.basename(command)} ${args.join(' ')}: ${stderr || status}`);
    }
    return stdout;
}

function mount(device, folder, options) {
    fs.mkdirSync(folder);
    sh('mount', '-t', 'ext4', '-o', options, device, folder);
}

const status = (store) => JSON.parse(sh(`${settings.bin}/boda`, 'status', '--json', '--store', store)).batches;

// A file of no bytes is what a power cut leaves when the store has just begun to be made.
function hasStore(store) {
    const database = path.join(store, 'boda.db');
    return fs.existsSync(database) && fs.statSync(database).size > 0;
}

function look() {
    if (!hasStore(courierStore)) {
        return { held: [], bytes: 0, partial: 0 };
    }
    try {
        const lines = sh(`${settings.bin}/../tests/vm/stored`, courierStore).trim().split('\n');
        const [, bytes, partial] = /^(\d+) bytes, (\d+) partial$/.exec(lines.pop());
        const held = lines.map((line) => line.split(' ')[0]);
        const here = lines.filter((line) => !/ replaced$/.test(line));
        const counts = status(courierStore);
        if (counts.held + counts.unnumbered !== here.length || counts.partial !== Number(partial)) {
            throw new Error(`boda status counts otherwise: ${JSON.stringify(counts)}`);
        }
        return { held, bytes: Number(bytes), partial: Number(partial) };
    } catch (e) {
        return { held: [], bytes: 0, partial: 0, fault: e.message };
    }
}

// ---- the two programs; what they say goes straight out ---------------------------------------------------------------------

let ending = false;

function start(program, name, store, ...args) {
    const child = spawn(`${settings.bin}/${program}`, ['--identity', `${stations}/${name}.p12`, '--passphrase-file',
        `${stations}/${name}.pass`, '--store', store, '--log-level', 'debug', ...args], { stdio: ['ignore', 'inherit', 'inherit'] });
    child.on('error', (e) => { throw e; });
    child.on('exit', (code, signal) => {
        if (!ending || code !== 0) {
            console.log(`power: ${program} ended with ${signal || code}`);
            process.exit(1);
        }
    });
    return child;
}

function stop(child) {
    ending = true;
    child.kill('SIGTERM');
    return new Promise((done) => child.on('exit', done));
}

let written = 0;
async function write(sizes) {
    // Nothing that zstd makes small.
    const docs = sizes.map((bytes) => ({ _id: `${Date.now()}-${written++}`, _rev: `1-${REV}`, _revisions: { start: 1, ids: [REV] },
        type: 'data_record', noise: require('crypto').randomBytes(bytes).toString('base64') }));
    const answer = await fetch(`http://127.0.0.1:${PORT}/medic/_bulk_docs`, { method: 'POST',
        headers: { 'content-type': 'application/json',
            authorization: 'Basic ' + Buffer.from(`${settings.user}:${settings.secret}`).toString('base64') },
        body: JSON.stringify({ docs, new_edits: false }) });
    if (answer.status !== 201) {
        throw new Error(`_bulk_docs: ${answer.status} ${await answer.text()}`);
    }
    await answer.text();
}

async function writeAll(backlog_bytes) {
    for (const sizes of settings.requests) {
        const bytes = sizes.reduce((sum, size) => sum + size, 0);
        const fits = backlog_bytes + bytes <= settings.backlog_bytes;
        await write(fits ? sizes : [1000]);
        backlog_bytes += fits ? bytes : 1000;
    }
}

async function goOn(store) {
    const backlog_bytes = hasStore(tabletStore) ? status(tabletStore).held_bytes - store.bytes : 0;
    const courier = start('boda-courier', 'c1', courierStore, '--usb');
    const tablet = start('boda-tablet', 't1', tabletStore, '--usb', '--http', `127.0.0.1:${PORT}`);
    say('begins');
    await waitFor('the tablet listens', () => fetch(`http://127.0.0.1:${PORT}/`).then((a) => a.text(), () => false), WAIT_MS);
    await writeAll(backlog_bytes);
    while (settings.end === 'cut') {
        await write([1000]);
        await sleep(100);
    }
    await waitFor('the courier has all', () => {
        const [here, there] = [status(tabletStore), status(courierStore)];
        return here.held === there.held && here.held_bytes === there.held_bytes && there.partial === 0;
    }, WAIT_MS);
    await stop(tablet);
    await stop(courier);
    say('drained', look());
}

async function main() {
    mount('/dev/vda', '/tmp/courier', `barrier=${settings.barrier ? 1 : 0}`);
    mount('/dev/vdb', '/tmp/tablet', 'barrier=1');
    // Identities must be this user's own.
    fs.mkdirSync(stations);
    for (const name of fs.readdirSync('/share')) {
        fs.writeFileSync(path.join(stations, name), fs.readFileSync(path.join('/share', name)), { mode: 0o600 });
    }
    const store = look();
    say('store', store);
    if (settings.end !== 'look') {
        await goOn(store);
    }
    sh('umount', '/tmp/courier');
    sh('umount', '/tmp/tablet');
}

main().then(() => process.exit(0), (e) => {
    console.log(`power: failed: ${e.stack}`);
    process.exit(1);
});
