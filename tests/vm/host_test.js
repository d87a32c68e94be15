#!/usr/bin/env node
// SPDX-License-Identifier: AGPL-3.0-or-later
// machine --udev --ports 2
// timeout 900
'use strict';

/*
 * A tablet and a dock as hosts of couriers at USB ports: found at once, whoever stands in the way is named, nobody keeps them
 * from a courier that can be used, and every end of a cable or a program is survived.
 */

const assert = require('assert');
const fs = require('fs');
const path = require('path');
const { spawnSync } = require('child_process');
const { Program, sleep, waitFor } = require('../web/program');
const { World } = require('../web/stations');
const { plug, unplug, waitDevice, waitGone } = require('./usb');

const WAIT_MS = 60000;
const bin = path.resolve(process.env.BIN || path.join(__dirname, '../../build/gcc/bin'));
const RULES = '/usr/lib/udev/rules.d/70-boda.rules';
const COURIER = { vid: '1d6b' };

const three = (number) => String(number).padStart(3, '0');
const nodeOf = (device) => `/dev/bus/usb/${three(device.bus)}/${three(device.dev)}`;
const addressOf = (device) => `usb:${three(device.bus)}:${three(device.dev)}`;

let world, tablet;

async function startCourier(courier, port = 0) {
    courier.spawn('boda-courier', [...courier.identityArgs(), '--usb', '--udc', `dummy_udc.${port}`, '--log-level', 'debug']);
    courier.device = await waitDevice({ ...COURIER, port });
    return courier;
}

const tabletArgs = (...cable) => [...tablet.identityArgs(), '--http', '127.0.0.1:0', '--log-level', 'debug', ...cable];

const startTablet = (...cable) => tablet.spawn('boda-tablet', tabletArgs(...(cable.length ? cable : ['--usb'])));

const connected = (name = 'c1') => tablet.program.waitLine(new RegExp(`courier ${name}: connected`), WAIT_MS);

// A tablet whose documents go up: COUNT of them with BYTES each, as one request.
let written = 0;
async function write(count, bytes) {
    const [, port] = await tablet.program.waitLine(/http: listening on 127\.0\.0\.1:(\d+)/, WAIT_MS);
    const text = 'x'.repeat(64), docs = [];
    for (let i = 0; i < count; i++, written++) {
        // Nothing that zstd makes small.
        const noise = require('crypto').randomBytes(Math.ceil(bytes * 3 / 4)).toString('base64');
        docs.push({ _id: `doc-${written}`, _rev: '1-0123456789abcdef0123456789abcdef', type: 'data_record', text, noise,
            _revisions: { start: 1, ids: ['0123456789abcdef0123456789abcdef'] } });
    }
    const answer = await fetch(`http://127.0.0.1:${port}/medic/_bulk_docs`, { method: 'POST',
        headers: { 'content-type': 'application/json',
            authorization: 'Basic ' + Buffer.from(`${tablet.user}:${tablet.secret}`).toString('base64') },
        body: JSON.stringify({ docs, new_edits: false }) });
    assert.strictEqual(answer.status, 201, await answer.text());
}

// Everything that the tablet has is in the courier's store as well.
async function carried(courier) {
    const { batches } = await tablet.status();
    await courier.waitStatus(`carries ${batches.held} batches`, (there) => there.held === batches.held && there.partial === 0,
        { timeout_ms: WAIT_MS, programs: [tablet.program] });
}

async function plain(courier) {
    startTablet();
    await startCourier(courier);
    await connected();
    await write(5, 1000);
    await carried(courier);
    // Plugged in again: the session begins soon after the device is there.
    const line = tablet.program.lines.length;
    unplug();
    await waitGone({ port: 0 });
    await tablet.program.waitLine(/courier c1: gone/, WAIT_MS, line);
    plug();
    courier.device = await waitDevice({ ...COURIER, port: 0 });
    const from_ms = Date.now();
    await tablet.program.waitLine(/courier c1: connected/, WAIT_MS, line);
    const took_ms = Date.now() - from_ms;
    console.log(`session ${took_ms} ms after the device was there`);
    assert.ok(took_ms < 10000);
    // SIGTERM ends a session cleanly.
    await tablet.stop();
    assert.ok(!tablet.program.lines.some((l) => /libusb|warning/.test(l)), tablet.program.tail());
}

// An open session keeps the device awake, whatever the settings are.
async function autosuspend(courier) {
    const power = `/sys/bus/usb/devices/${courier.device.name}/power`;
    const state = () => fs.readFileSync(`${power}/runtime_status`, 'utf8').trim();
    fs.writeFileSync(`${power}/autosuspend_delay_ms`, '0');
    fs.writeFileSync(`${power}/control`, 'auto');
    await waitFor('the idle device is suspended', () => state() === 'suspended', WAIT_MS);
    startTablet();
    await connected();
    for (let i = 0; i < 20; i++) {
        assert.strictEqual(state(), 'active');
        await sleep(100);
    }
    await tablet.stop();
    await waitFor('the device is suspended again', () => state() === 'suspended', WAIT_MS);
    fs.writeFileSync(`${power}/control`, 'on');
}

const HOLDER = `
import fcntl, struct, sys
node = open(sys.argv[1], 'r+b', buffering=0)
fcntl.ioctl(node, 0x8004550f, struct.pack('I', 0))     # USBDEVFS_CLAIMINTERFACE
print('claimed', flush=True)
sys.stdin.read() if len(sys.argv) < 3 else __import__('time').sleep(600)
`;

// Another program has the interface: it is named, and when it lets go, the tablet goes on by itself.
async function busy(courier) {
    const holder = new Program('holder', 'python3', ['-c', HOLDER, nodeOf(courier.device), 'stay']);
    await holder.waitLine(/claimed/, WAIT_MS);
    startTablet();
    const words = `courier at ${addressOf(courier.device)}: python3 (process ${holder.child.pid}) has it; `;
    await waitFor('the holder is named', () => tablet.program.lines.some((l) => l.includes(words)), WAIT_MS, [tablet.program]);
    await sleep(3000);
    assert.strictEqual(tablet.program.lines.filter((l) => l.includes(words) && l.startsWith('warning')).length, 1, 'said once');
    await holder.kill();
    await connected();
    await tablet.stop();
}

// A user without permission is told what is missing.
async function permission(courier) {
    const dir = path.join(world.dir, 'nobody');
    fs.mkdirSync(dir);
    spawnSync('chmod', ['755', world.dir]);
    const identity = path.join(dir, 'id.p12'), passphrase = path.join(dir, 'pass'), store = path.join(dir, 'store');
    fs.copyFileSync(tablet.identity, identity);
    fs.copyFileSync(tablet.passphrase, passphrase);
    spawnSync('chown', ['-R', 'nobody', dir]);
    spawnSync('chmod', ['-R', 'go-rwx', dir]);
    fs.chmodSync(nodeOf(courier.device), 0o600);
    const start = () => new Program('nobody', 'setpriv', ['--reuid', 'nobody', '--regid', 'nogroup', '--clear-groups',
        path.join(bin, 'boda-tablet'), '--identity', identity, '--passphrase-file', passphrase, '--store', store,
        '--http', '127.0.0.1:0', '--usb']);
    assert.ok(!fs.existsSync(RULES));
    const without = start();
    await without.waitLine(/permission denied, as the file .*70-boda.rules is missing; install it/, WAIT_MS);
    await without.stop();
    fs.writeFileSync(RULES, '');
    const withRules = start();
    await withRules.waitLine(/permission denied, as this user is neither .* nor in the group boda/, WAIT_MS);
    await withRules.stop();
    fs.rmSync(RULES);
}

// A device node that somebody else has opened; the end of the device is the end of the program.
async function openNode(courier) {
    tablet.program = new Program('tablet', '/bin/sh', ['-c', 'node=$1; shift; exec "$@" 3<>"$node"', 'sh', nodeOf(courier.device),
        path.join(bin, 'boda-tablet'), ...tabletArgs('--usb-fd', '3')]);
    await connected();
    await write(3, 1000);
    await carried(courier);
    unplug();
    await tablet.program.wait(WAIT_MS, [0]);
    plug();
    courier.device = await waitDevice({ ...COURIER, port: 0 });
}

async function oneDevice(courier) {
    const { bus, dev } = courier.device;
    startTablet(`--usb=${bus}:${three(dev)}`);
    await connected();
    unplug();
    await tablet.program.wait(WAIT_MS, [0]);
    await startTablet(`--usb=${bus}:${dev}`).wait(WAIT_MS, [75]);
    assert.match(tablet.program.tail(), /has gone before it could be visited/);
    plug();
    courier.device = await waitDevice({ ...COURIER, port: 0 });
    // A root hub is a device and no courier; it is not waited for by the one who has --once.
    await startTablet('--usb', '--connect', 'unix:x').wait(WAIT_MS, [2]);
}

// Killed in the middle of a transfer, again and again: the next one goes on, and nothing is lost.
async function killed(courier) {
    startTablet();
    await connected();
    await write(10, 1000000);
    for (let i = 0; i < 4; i++) {
        await sleep(150 * i);
        await tablet.kill();
        startTablet();
        await connected();
        if (i < 3) {
            await write(3, 1000000);
        }
    }
    await carried(courier);
    await tablet.stop();
    const { batches } = await courier.status();
    console.log(`carried after kills: ${JSON.stringify(batches)}`);
}

// A courier that does not answer (its program is stopped) is told of, does not keep the tablet from its end, and is visited
// when it answers again.
async function silent(courier) {
    const pids = spawnSync('pgrep', ['-P', String(courier.program.child.pid)], { encoding: 'utf8' }).stdout.trim().split('\n');
    const all = [courier.program.child.pid, ...pids.filter((p) => p).map(Number)];
    all.forEach((pid) => process.kill(pid, 'SIGSTOP'));
    startTablet();
    await tablet.program.waitLine(/courier at usb:\d+:\d+: does not answer as a courier does/, WAIT_MS);
    await sleep(500);
    const from_ms = Date.now();
    await tablet.stop();            // within its bound
    console.log(`ended ${Date.now() - from_ms} ms after SIGTERM in the face of a silent courier`);
    startTablet();
    await sleep(1000);
    all.forEach((pid) => process.kill(pid, 'SIGCONT'));
    await connected();
    await tablet.stop();
}

// Two couriers, the first of which belongs to another deployment: the other one is visited all the same.
async function strangers(courier) {
    const dir = path.join(world.dir, 'other');
    fs.mkdirSync(dir);
    const other = await World.create({ dir, bin });
    await courier.stop();
    const stranger = await startCourier(await other.courier('x1'), 0);
    await startCourier(courier, 1);
    startTablet();
    await connected();
    await tablet.program.waitLine(/warning: .*x1/, WAIT_MS);
    await write(2, 1000);
    await carried(courier);
    await tablet.stop();
    // The same with one that another program holds.
    const holder = new Program('holder', 'python3', ['-c', HOLDER, nodeOf(stranger.device), 'stay']);
    await holder.waitLine(/claimed/, WAIT_MS);
    startTablet();
    await connected();
    await tablet.stop();
    await holder.kill();
    await stranger.stop();
    await courier.stop();
}

// The dock of one device ends with it, though its server is away and batches wait.
async function dock(courier) {
    const users = path.join(world.dir, 'users.csv');
    fs.writeFileSync(users, `username,password\n${tablet.user},x\n`, { mode: 0o600 });
    const d1 = await world.dock('d1', { url: 'http://127.0.0.1:9', kind: 'couchdb', db: 'medic', users });
    await startCourier(courier);
    const { batches } = await courier.status();
    assert.ok(batches.held > 0);
    d1.command('run', '--usb', `${courier.device.bus}:${courier.device.dev}`);
    await d1.program.waitLine(/courier c1: .*took \d+, .*safe to unplug/, WAIT_MS);
    unplug();
    const from_ms = Date.now();
    await d1.program.wait(WAIT_MS, [0]);
    console.log(`dock ended ${Date.now() - from_ms} ms after its device`);
    assert.strictEqual((await d1.status()).batches.held, batches.held);
    await d1.command('run', '--usb', `${courier.device.bus}:${courier.device.dev}`).wait(WAIT_MS, [75]);
    plug();
    courier.device = await waitDevice({ ...COURIER, port: 0 });
    d1.command('run', '--usb', 'any');
    await d1.program.waitLine(/courier c1: connected/, WAIT_MS);
    await d1.stop();
    await courier.stop();
}

async function main() {
    const dir = fs.mkdtempSync('/tmp/b-');
    world = await World.create({ dir, bin });
    tablet = await world.tablet('t1', { user: 'chw1' });
    const courier = await world.courier('c1');
    const only = process.argv[2];
    const steps = [plain, autosuspend, busy, permission, openNode, oneDevice, killed, silent, strangers, dock];
    for (const step of steps.filter((s) => !only || s === plain || only.split(',').includes(s.name))) {
        const from_ms = Date.now();
        await step(courier).catch((e) => {
            throw new Error(`${step.name}: ${e.stack}${courier.program ? courier.program.tail() : ''}${
                tablet.program ? tablet.program.tail() : ''}`);
        });
        console.log(`${step.name}: ${((Date.now() - from_ms) / 1000).toFixed(1)} s`);
    }
}

main().then(() => process.exit(0), (e) => {
    console.error(e);
    process.exit(1);
});
