#!/usr/bin/env node
// SPDX-License-Identifier: AGPL-3.0-or-later
// machine --udev --ports 16
// timeout 900
'use strict';

/*
 * Devices that mean harm, at the ports of a dock and of a tablet: a clear word on each, no crash, no wait beyond the
 * protocol's time-outs, and the honest courier at another port, or at the same one afterwards, is visited.
 * tests/vm/hostile_gadget.c is the device; each mode has a port of its own, the courier the last one.
 */

const assert = require('assert');
const fs = require('fs');
const path = require('path');
const { Program, sleep } = require('../web/program');
const { scenario } = require('../web/scenario');
const { csv, secretFile } = require('../web/stations');
const { HonestTablet, noComplaints, tool, usbCourier } = require('./honest');
const { disableFiles, plug, waitDevice, waitGone } = require('./usb');

// Far beyond the protocol's time-outs, as the machine may be slow: what hangs does so for good.
const WAIT_MS = 120000;

const NO_PIPES = [1, /^error: courier at ADDRESS: its descriptors have a courier's interface, but not its bulk endpoints$/];
const UNKNOWN = [75, /^warning: courier at ADDRESS: does not answer as a courier does: it does not know the request;/];
const LATE = [75, /^error: cable ADDRESS: no courier was there that can be used, for 10 s;|did not finish the TLS handshake/];
const NO_TLS = [1, /^error: ADDRESS: courier: what came is not the TLS 1.3 of a Boda station/];

// What boda-dock run --once ends with, and a line that it says.
const MODES = {
    'no-endpoints': NO_PIPES,
    'only-in': NO_PIPES,
    'two-in': NO_PIPES,
    interrupt: NO_PIPES,
    names: UNKNOWN,
    stall: UNKNOWN,
    deaf: [75, /^warning: courier at ADDRESS: does not answer as a courier does: Operation timed out;/],
    silent: LATE,
    parts: LATE,
    flood: LATE,
    empty: LATE,
    noise: NO_TLS,
    echo: NO_TLS,
    halt: [75, /^error: ADDRESS: cable: the courier has halted the session$/],
    vanish: [75, /^error: cable ADDRESS: the courier has gone before it could be visited;/],
};
// Those that a tablet has to get past, all at once.
const CROWD = ['two-in', 'stall', 'deaf', 'silent', 'flood', 'echo', 'halt'];
const COURIER_PORT = Object.keys(MODES).length;

const three = (number) => String(number).padStart(3, '0');

// As messages and as options have it.
const spellings = ({ bus, dev }) => `usb:(${three(bus)}:${three(dev)}|${bus}:${dev})`;

async function startGadget(mode) {
    const port = Object.keys(MODES).indexOf(mode);
    const gadget = new Program(`hostile_gadget ${mode}`, tool('hostile_gadget'), [`dummy_udc.${port}`, mode]);
    await gadget.waitLine(/^ready/, WAIT_MS);
    return Object.assign(gadget, { mode, device: await waitDevice({ port }) });
}

async function visitOnce(dock, gadget) {
    const [status, words] = MODES[gadget.mode], { bus, dev } = gadget.device;
    const one = dock.beside(gadget.mode), begin_ms = Date.now();
    await one.command('run', '--once', '--usb', `${bus}:${dev}`).wait(WAIT_MS, [status]);
    const pattern = new RegExp(words.source.replaceAll('ADDRESS', spellings(gadget.device)));
    assert.ok(one.program.lines.some((line) => pattern.test(line)), `${gadget.mode}: no line ${pattern}${one.program.tail()}`);
    console.log(`    ${gadget.mode}: ended after ${Date.now() - begin_ms} ms, status ${status}`);
}

// Devices that a program has open.
function devicesOpen(program) {
    const folder = `/proc/${program.child.pid}/fd`;
    return fs.readdirSync(folder).map((fd) => fs.readlinkSync(path.join(folder, fd)))
        .filter((file) => file.startsWith('/dev/bus/'));
}

// Each alone: what a dock says of it, four docks at a time.
async function alone(dock, gadgets) {
    for (let i = 0; i < gadgets.length; i += 4) {
        await Promise.all(gadgets.slice(i, i + 4).map((gadget) => visitOnce(dock, gadget)));
    }
}

// All at once, and the courier behind them: the tablet comes to it in one round.
async function crowd(tablet, gadgets) {
    const begin_ms = Date.now();
    await tablet.start();
    await tablet.write();
    await tablet.program.waitLine(/courier c1: sent 2 batches.*safe to unplug/, WAIT_MS);
    console.log(`    the courier was visited after ${Date.now() - begin_ms} ms`);
    const warnings = tablet.program.lines.filter((line) => line.startsWith('warning'));
    console.log(`    ${warnings.join('\n    ')}`);
    gadgets.filter(({ mode }) => MODES[mode] === LATE).forEach(({ device }) => {
        const words = new RegExp(`^warning: ${spellings(device)}: courier: did not finish the TLS handshake within 10000 ms`);
        assert.ok(warnings.some((line) => words.test(line)), `no line ${words}${tablet.program.tail()}`);
    });
    assert.strictEqual(devicesOpen(tablet.program).length, 1);
    await tablet.stop();
}

// One that stays and is never answered: the dock that systemd starts for it ends with it, no matter in what it is just then.
async function ends(dock, gadget) {
    const { bus, dev } = gadget.device, one = dock.beside('ends');
    one.command('run', '--usb', `${bus}:${dev}`);
    await one.program.waitLine(/warning: courier at .* does not answer as a courier does: Operation timed out/, WAIT_MS);
    await sleep(1000);
    const begin_ms = Date.now();
    await gadget.stop();
    await one.program.wait(WAIT_MS, [75]);
    console.log(`    ended ${Date.now() - begin_ms} ms after its device`);
}

// The cable is pulled at a moment that chance would seldom find: a dock of the device ends; a tablet waits for the next.
async function pulled(dock, tablet, courier, when) {
    const env = { LD_PRELOAD: tool('unplug_preload.so'), UNPLUG: disableFiles(COURIER_PORT)[0], UNPLUG_WHEN: when };
    const back = async () => {
        await waitGone({ port: COURIER_PORT });
        plug(COURIER_PORT);
        return courier.there();
    };
    const { bus, dev } = await courier.there();
    dock.world.env = env;
    const one = dock.beside(`pulled-${when}`);
    one.command('run', '--usb', `${bus}:${dev}`);
    await one.program.wait(WAIT_MS, [75]);
    assert.match(one.program.tail(), /unplug_preload: the device has gone/);
    assert.match(one.program.tail(), /the courier has gone before it could be visited; plug it in again/);
    await back();
    await tablet.start('--usb', env);
    await tablet.write();
    await tablet.program.waitLine(/unplug_preload: the device has gone/, WAIT_MS);
    await back();
    await tablet.program.waitLine(/courier c1: sent [1-9]\d* batches.*safe to unplug/, WAIT_MS);
    await tablet.stop();
    assert.deepStrictEqual(tablet.program.lines.filter((line) => /^(warning|error)/.test(line)), []);
}

scenario('no device can harm a host', async ({ world, dir }) => {
    const users = secretFile(path.join(dir, 'users.csv'), csv([['username', 'password'], ['chw1', 'x']]));
    // It has nothing to ask the server, which is not there.
    const dock = await world.dock('d1', { url: 'http://127.0.0.1:9', kind: 'couchdb', db: 'medic', users, fetch: false });
    const tablet = new HonestTablet(await world.tablet('t1', { user: 'chw1' }));
    const courier = await usbCourier(world, 'c1', COURIER_PORT);
    const gadgets = await Promise.all(Object.keys(MODES).map(startGadget));
    await courier.start();

    const unplugAllBut = (modes) =>
        Promise.all(gadgets.filter(({ ended, mode }) => !ended && !modes.includes(mode)).map((gadget) => gadget.stop()));
    const steps = {
        alone: () => alone(dock, gadgets),
        crowd: () => crowd(tablet, gadgets.filter(({ mode }) => CROWD.includes(mode))),
        ends: () => ends(dock, gadgets.find(({ mode }) => mode === 'deaf')),
        before: () => pulled(dock, tablet, courier, 'before'),
        after: () => pulled(dock, tablet, courier, 'after'),
    };
    for (const name of Object.keys(steps)) {
        const begin_ms = Date.now();
        console.log(`${name}:`);
        await unplugAllBut({ alone: Object.keys(MODES), crowd: CROWD, ends: ['deaf'] }[name] || []);
        await steps[name]();
        console.log(`    ${Date.now() - begin_ms} ms`);
        noComplaints();
    }
    // And once more with the dock, which takes what the tablet brought.
    const { bus, dev } = await courier.there();
    dock.command('run', '--usb', `${bus}:${dev}`);
    await dock.program.waitLine(/courier c1: .*took 4, .*safe to unplug/, WAIT_MS);
    await dock.stop();
    await courier.stop();
});
