#!/usr/bin/env node
// SPDX-License-Identifier: AGPL-3.0-or-later
// machine --udev --env SESSIONS
// timeout 1800
'use strict';

/*
 * A tablet and a courier that are never started again, and whatever may befall the cable between them, SESSIONS times in all
 * (40): each ends the session cleanly at both, and the next one carries a document. Nobody comes to hold more than in the first.
 */

const assert = require('assert');
const fs = require('fs');
const { spawn } = require('child_process');
const { sleep, waitFor } = require('../web/program');
const { scenario } = require('../web/scenario');
const { Documents } = require('./documents');
const { aioContexts, childOf, held } = require('./held');
const { plug, unplug, waitDevice } = require('./usb');

const SESSIONS = Number(process.env.SESSIONS || 40);
const WAIT_MS = 120000;
const GROWTH_KB = 4096;
const COURIER = { vid: '1d6b' };
const DRIVER = '/sys/bus/platform/drivers/dummy_udc';
const UDC = 'dummy_udc.0';
const GADGET = '/sys/kernel/config/usb_gadget/boda-c1/UDC';

// Requests to device nodes, a line each. A port's state changes when it is asked for it, 20 ms after the end of the suspension.
const NODES = `
import ctypes, fcntl, struct, sys, time

def control(node, kind, request, value, size):
    data = ctypes.create_string_buffer(max(size, 1))
    fcntl.ioctl(node, 0xc0185500, struct.pack('BBHHHIP', kind, request, value, 1, size, 1000, ctypes.addressof(data)))

def reset(node):
    fcntl.ioctl(node, 0x5514)                       # USBDEVFS_RESET

def suspend(node):
    control(node, 0x23, 3, 2, 0)                    # SetPortFeature(PORT_SUSPEND), USB 2.0 section 11.24.2

def resume(node):
    control(node, 0x23, 1, 2, 0)
    time.sleep(0.05)
    control(node, 0xa3, 0, 0, 4)

for line in sys.stdin:
    what, path = line.split()
    try:
        with open(path, 'r+b', buffering=0) as node:
            globals()[what](node)
        print('done', flush=True)
    except OSError as error:
        print(error, flush=True)
`;

const three = (number) => String(number).padStart(3, '0');
const nodeOf = ({ bus, dev }) => `/dev/bus/usb/${three(bus)}/${three(dev)}`;

class Nodes {
    constructor() {
        this.child = spawn('python3', ['-c', NODES], { stdio: ['pipe', 'pipe', 'inherit'] });
        process.on('exit', () => this.child.kill('SIGKILL'));
    }

    async ask(what, path) {
        const answer = new Promise((done) => this.child.stdout.once('data', (text) => done(String(text).trim())));
        this.child.stdin.write(`${what} ${path}\n`);
        assert.strictEqual(await answer, 'done', `${what} ${path}`);
    }
}

class Cable {
    constructor(tablet, courier, nodes, random) {
        Object.assign(this, { tablet, courier, nodes, random });
    }

    power(name, value) {
        fs.writeFileSync(`/sys/bus/usb/devices/${this.device.name}/power/${name}`, value);
    }

    ms(most) {
        return sleep(this.random() * most);
    }

    get hub() {
        return nodeOf({ bus: this.device.bus, dev: 1 });
    }

    async pulled() {
        unplug();
        await this.ms(500);
        plug();
    }

    // In and out faster than anybody looks.
    async rattled() {
        for (let i = 0; i < 3; i++) {
            unplug();
            await this.ms(50);
            plug();
            await this.ms(300);
        }
        unplug();
        plug();
    }

    reset() {
        return this.nodes.ask('reset', nodeOf(this.device));
    }

    // A suspended port, which some controllers show instead of an unplugged cable: not long, and until the courier takes it for
    // one, by its 2 s for that and not by the 15 s that a host may be silent.
    async suspendedShortly() {
        await this.nodes.ask('suspend', this.hub);
        await sleep(300);
        await this.nodes.ask('resume', this.hub);
    }

    async suspendedLong() {
        await this.nodes.ask('suspend', this.hub);
        await this.courier.program.waitLine(/tablet t1: gone/, 12000, this.line.courier);
        await this.nodes.ask('resume', this.hub);
    }

    // Suspended by the host, as nobody uses the device: that is no end of anything.
    async asleep() {
        const line = this.courier.program.lines.length, { pid } = this.tablet.program.child;
        unplug();
        await this.tablet.program.waitLine(/courier c1: gone/, WAIT_MS, this.line.tablet);
        process.kill(pid, 'SIGSTOP');
        plug();
        this.device = await waitDevice(COURIER);
        this.power('autosuspend_delay_ms', '0');
        this.power('control', 'auto');
        const state = `/sys/bus/usb/devices/${this.device.name}/power/runtime_status`;
        await waitFor('the device is suspended', () => fs.readFileSync(state, 'utf8').trim() === 'suspended', WAIT_MS);
        await sleep(2500);
        assert.deepStrictEqual(this.courier.program.lines.slice(line).filter((l) => !/gone|took/.test(l)), []);
        process.kill(pid, 'SIGCONT');
    }

    async controllerGone() {
        fs.writeFileSync(`${DRIVER}/unbind`, UDC);
        await this.ms(1500);
        fs.writeFileSync(`${DRIVER}/bind`, UDC);
    }

    // Taken from its controller, which stays.
    async unbound() {
        fs.writeFileSync(GADGET, '\n');
    }
}

const EVENTS = ['pulled', 'rattled', 'reset', 'suspendedShortly', 'suspendedLong', 'asleep', 'controllerGone', 'unbound'];

scenario(`${SESSIONS} sessions, each ended by something else`, async ({ world, seed, random }) => {
    const tablet = await world.tablet('t1', { user: 'chw1' }), courier = await world.courier('c1');
    const documents = new Documents(seed), nodes = new Nodes(), cable = new Cable(tablet, courier, nodes, random);
    const times_ms = Object.fromEntries(EVENTS.map((event) => [event, []])), memory = [];

    courier.spawn('boda-courier', [...courier.identityArgs(), '--usb', '--udc', UDC]);
    tablet.spawn('boda-tablet', [...tablet.identityArgs(), '--http', '127.0.0.1:0', '--usb']);
    [, tablet.port] = await tablet.program.waitLine(/http: listening on 127\.0\.0\.1:(\d+)/, WAIT_MS);
    cable.line = { tablet: 0, courier: 0 };
    const worker = () => childOf(courier.program.child.pid);
    const first = { tablet: tablet.program.child.pid, worker: worker() };
    const everyone = () => ({ tablet: held(first.tablet), worker: held(first.worker), keeper: held(courier.program.child.pid) });

    // A session with all that belongs to it; the device as it is then.
    async function session() {
        await tablet.program.waitLine(/courier c1: connected/, WAIT_MS, cable.line.tablet);
        await documents.write(tablet, [2000]);
        await tablet.program.waitLine(/sent [1-9]\d* batches.*safe to unplug/, WAIT_MS, cable.line.tablet);
        await courier.program.waitLine(/tablet t1: took [1-9]\d* batches.*safe to unplug/, WAIT_MS, cable.line.courier);
        cable.device = await waitDevice(COURIER);
    }

    await session();
    const base = everyone(), aio = aioContexts();
    for (let i = 0; i < SESSIONS; i++) {
        const event = EVENTS[i % EVENTS.length], from_ms = Date.now();
        cable.line = { tablet: tablet.program.lines.length, courier: courier.program.lines.length };
        await cable[event]();
        await Promise.all([tablet.program.waitLine(/courier c1: gone/, WAIT_MS, cable.line.tablet),
            courier.program.waitLine(/tablet t1: gone/, WAIT_MS, cable.line.courier)]);
        await session().catch((e) => { throw new Error(`${i}: ${event}: ${e.message}${courier.program.tail()}`); });
        times_ms[event].push(Date.now() - from_ms);
        let now;
        await waitFor(`${i}: ${event}: what is held`, () => {
            now = everyone();
            return aioContexts() === aio && Object.keys(now).every((name) =>
                now[name].descriptors <= base[name].descriptors && now[name].threads <= base[name].threads);
        }, WAIT_MS).catch((e) => { throw new Error(`${e.message}\n${JSON.stringify({ base, now })}`); });
        memory.push(now);
        assert.strictEqual(worker(), first.worker, `${i}: ${event}: the courier was started again`);
        if ((i + 1) % 100 === 0) {
            console.log(`${i + 1} sessions ended`);
        }
    }

    for (const [event, list] of Object.entries(times_ms).filter(([, { length }]) => length)) {
        console.log(`${event}: ${list.length} times, until the next session had carried its document ${
            Math.round(list.reduce((a, b) => a + b) / list.length)} ms, at most ${Math.max(...list)}`);
    }
    for (const name of Object.keys(base)) {
        const kb = memory.map((now) => now[name].memory_kb), third = Math.ceil(kb.length / 3);
        console.log(`${name}: ${JSON.stringify(base[name])} first, ${JSON.stringify(memory[memory.length - 1][name])} last`);
        assert.ok(Math.max(...kb.slice(-third)) <= Math.max(...kb.slice(0, third)) + GROWTH_KB, `${name} grows`);
    }
    const errors = [tablet, courier].flatMap(({ program }) => program.lines.filter((l) => l.startsWith('error')));
    assert.deepStrictEqual(errors, []);
    const warnings = [tablet, courier].flatMap(({ program }) => program.lines.filter((l) => l.startsWith('warning')));
    [...new Set(warnings.map((l) => l.replace(/\d+/g, 'N')))].forEach((l) => console.log(l));
    // All that was written is there.
    assert.strictEqual((await courier.status()).batches.held, documents.hashes.size);
    await tablet.stop();
    await courier.program.stop(WAIT_MS);
    assert.strictEqual(aioContexts(), 0);
    console.log(`${SESSIONS + 1} sessions, ${documents.hashes.size} documents carried`);
});
