#!/usr/bin/env node
// SPDX-License-Identifier: AGPL-3.0-or-later
'use strict';

/*
 * From the plug to the first payload, and to "safe to unplug", with the real programs in a test machine with virtual time
 * (tests/bench/usb.sh): a tablet with 1,000 documents that wait. And how often an idle courier wakes up. Node's own work is in
 * the figures, as it shares the one processor.
 *
 * While all of the machine waits, its clock leaps to the next timer; and as files come from outside, in no virtual time at all,
 * it would leap over time-outs whenever a page of a program is fetched. So something runs that never waits and yields to all
 * others, but for the idle courier's 30 s.
 */

const { spawn } = require('child_process');
const crypto = require('crypto');
const fs = require('fs');
const path = require('path');
const { sleep } = require('../../web/program');
const { World } = require('../../web/stations');
const { plug, unplug, waitDevice, waitGone } = require('../../vm/usb');

const DOCS = 1000, DOC_BYTES = 2000; // once sealed
const BARE_BYTES_A_MS = 370000; // of the link in this machine, as usb.c measures it
const WAIT_MS = 120000;
const IDLE_S = 30;

// Has the tablet take the documents, so many a request, each time under new names.
async function write(tablet, series, docs_a_request) {
    const docs = [];
    for (let i = 0; i < DOCS; i++) {
        docs.push({ _id: `${series}-${i}`, _rev: '1-0123456789abcdef0123456789abcdef', type: 'data_record',
            noise: crypto.randomBytes(DOC_BYTES).toString('base64'),
            _revisions: { start: 1, ids: ['0123456789abcdef0123456789abcdef'] } });
    }
    for (let i = 0; i < DOCS; i += docs_a_request) {
        const answer = await fetch(`http://127.0.0.1:${tablet.port}/medic/_bulk_docs`, { method: 'POST',
            headers: { 'content-type': 'application/json',
                authorization: 'Basic ' + Buffer.from(`${tablet.user}:${tablet.secret}`).toString('base64') },
            body: JSON.stringify({ docs: docs.slice(i, i + docs_a_request), new_edits: false }) });
        if (answer.status !== 201) {
            throw new Error(`_bulk_docs: ${answer.status}`);
        }
    }
}

// Runs while nothing else does; returns what ends it.
function neverWait() {
    const child = spawn('chrt', ['--idle', '0', 'sh', '-c', 'while :; do :; done'], { stdio: 'ignore' });
    const exited = new Promise((done) => child.on('exit', done));
    return async () => {
        child.kill('SIGKILL');
        await exited;
    };
}

// The context switches of a process's threads.
function switches(pid) {
    return fs.readdirSync(`/proc/${pid}/task`).reduce((sum, task) => sum +
        Number(/^voluntary_ctxt_switches:\s+(\d+)/m.exec(fs.readFileSync(`/proc/${pid}/task/${task}/status`, 'utf8'))[1]), 0);
}

async function idle(courier) {
    const keeper = courier.program.child.pid;
    const worker = Number(fs.readFileSync(`/proc/${keeper}/task/${keeper}/children`, 'utf8'));
    await sleep(2000);
    const before = switches(keeper) + switches(worker);
    await sleep(IDLE_S * 1000);
    const each = (switches(keeper) + switches(worker) - before) / IDLE_S;
    console.log(`idle courier without a host: ${each.toFixed(2)} wake-ups a second (goal <= 1)`);
}

// Milliseconds from the plug, or from the enumeration, to lines of the programs.
async function visit(tablet, courier) {
    const tablet_line = tablet.program.lines.length, courier_line = courier.program.lines.length;
    const first = courier.program.waitLine(/frame: HELLO comes/, WAIT_MS, courier_line).then(() => Date.now());
    const safe = tablet.program.waitLine(/safe to unplug/, WAIT_MS, tablet_line).then(() => Date.now());
    const plugged_ms = Date.now();
    plug();
    await waitDevice({ vid: '1d6b' });
    const enumerated_ms = Date.now();
    const result = { enumeration: enumerated_ms - plugged_ms, first: await first - enumerated_ms, safe: await safe - plugged_ms };
    unplug();
    await waitGone({ vid: '1d6b' });
    return result;
}

async function main() {
    const dir = fs.mkdtempSync('/tmp/b-');
    let mayWait = neverWait();
    const world = await World.create({ dir, bin: path.resolve(process.env.BIN) });
    const tablet = await world.tablet('t1', { user: 'chw1' });
    const courier = await world.courier('c1');
    unplug();
    courier.spawn('boda-courier', [...courier.identityArgs(), '--usb', '--log-level', 'debug']);
    await courier.program.waitLine(/USB gadget at/, WAIT_MS);
    await mayWait();
    await idle(courier);
    mayWait = neverWait();
    tablet.cableArgs = () => ['--usb'];
    await tablet.start();
    const nothing = [];
    for (let i = 0; i < 3; i++) {
        nothing.push(await visit(tablet, courier));
    }
    console.log(`plug to enumeration: ${nothing.map((v) => v.enumeration).join(', ')} ms; from there to the first frame: ${
        nothing.map((v) => v.first).join(', ')} ms (goal <= 1000)`);
    for (const docs_a_request of [100, 1]) {
        await write(tablet, `by-${docs_a_request}`, docs_a_request);
        const line = courier.program.lines.length;
        const { safe } = await visit(tablet, courier);
        const [, batches, bytes] = await courier.program.waitLine(/took ([1-9]\d*) batches \((\d+) bytes\)/, WAIT_MS, line);
        const raw = Math.round(bytes / BARE_BYTES_A_MS);
        console.log(`${DOCS} documents, ${bytes} bytes in ${batches} batches: ${safe} ms from plug to safe to unplug, less ${raw} ms ` +
            `of raw transfer ${safe - raw} ms (goal <= 2000); a visit with nothing to carry: ${nothing[2].safe} ms`);
    }
    await tablet.stop();
    await courier.stop();
}

main().then(() => process.exit(0), (e) => {
    console.error(e);
    process.exit(1);
});
