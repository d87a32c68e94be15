#!/usr/bin/env node
// SPDX-License-Identifier: AGPL-3.0-or-later
'use strict';

/*
 * From the plug to the first payload, and to "safe to unplug", with the real programs in a test machine with virtual time
 * (tests/bench/usb.sh): a tablet with 1,000 documents that wait. And how often an idle courier wakes up. Node's own work is in
 * the figures, as it shares the one processor.
 */

const crypto = require('crypto');
const fs = require('fs');
const path = require('path');
const { sleep } = require('../../web/program');
const { World } = require('../../web/stations');
const { plug, unplug, waitDevice, waitGone } = require('../../vm/usb');

const DOCS = 1000, DOC_BYTES = 2000;
const WAIT_MS = 120000;
const IDLE_S = 30;

async function write(tablet) {
    const docs = [];
    for (let i = 0; i < DOCS; i++) {
        docs.push({ _id: `doc-${i}`, _rev: '1-0123456789abcdef0123456789abcdef', type: 'data_record',
            noise: crypto.randomBytes(DOC_BYTES * 3 / 4).toString('base64'),
            _revisions: { start: 1, ids: ['0123456789abcdef0123456789abcdef'] } });
    }
    for (let i = 0; i < DOCS; i += 100) {
        const answer = await fetch(`http://127.0.0.1:${tablet.port}/medic/_bulk_docs`, { method: 'POST',
            headers: { 'content-type': 'application/json',
                authorization: 'Basic ' + Buffer.from(`${tablet.user}:${tablet.secret}`).toString('base64') },
            body: JSON.stringify({ docs: docs.slice(i, i + 100), new_edits: false }) });
        if (answer.status !== 201) {
            throw new Error(`_bulk_docs: ${answer.status}`);
        }
    }
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
    const world = await World.create({ dir, bin: path.resolve(process.env.BIN) });
    const tablet = await world.tablet('t1', { user: 'chw1' });
    const courier = await world.courier('c1');
    unplug();
    courier.spawn('boda-courier', [...courier.identityArgs(), '--usb', '--log-level', 'debug']);
    await courier.program.waitLine(/USB gadget at/, WAIT_MS);
    await idle(courier);
    tablet.cableArgs = () => ['--usb'];
    await tablet.start();
    const nothing = [];
    for (let i = 0; i < 3; i++) {
        nothing.push(await visit(tablet, courier));
    }
    console.log(`plug to enumeration: ${nothing.map((v) => v.enumeration).join(', ')} ms; from there to the first frame: ${
        nothing.map((v) => v.first).join(', ')} ms (goal <= 1000)`);
    await write(tablet);
    const { batches } = await tablet.status();
    const line = courier.program.lines.length;
    const with_docs = await visit(tablet, courier);
    const [, bytes] = await courier.program.waitLine(/took [1-9]\d* batches \((\d+) bytes\)/, WAIT_MS, line);
    console.log(`${DOCS} documents, ${bytes} bytes in ${batches.held} batches: ${with_docs.safe} ms from plug to safe to unplug, ${
        with_docs.safe - nothing[2].safe} ms more than a visit with nothing to carry (goal <= 2000 beyond the raw transfer)`);
    await tablet.stop();
    await courier.stop();
}

main().then(() => process.exit(0), (e) => {
    console.error(e);
    process.exit(1);
});
