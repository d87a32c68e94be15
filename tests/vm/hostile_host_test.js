#!/usr/bin/env node
// SPDX-License-Identifier: AGPL-3.0-or-later
// machine --udev --ports 7
// timeout 900
'use strict';

/*
 * Hosts that mean harm, at a courier's USB interface: it does not crash, does not hang beyond the protocol's time-outs, keeps
 * nothing of them, and its next honest visitor is served. tests/vm/hostile_host.c is the host.
 *
 *   SEED=N                          decides all that is random
 *   REQUESTS=2000, RESETS=10000     how many
 *   STEPS=a,b                       only these
 */

const assert = require('assert');
const { Program, sleep } = require('../web/program');
const { scenario } = require('../web/scenario');
const { HonestTablet, noComplaints, tool, usbCourier } = require('./honest');
const { plug, unplug, waitDevice, waitGone } = require('./usb');

const REQUESTS = process.env.REQUESTS || '2000';
const RESETS = process.env.RESETS || '10000';
const WAIT_MS = 60000;
const RUN_MS = 600000;          // 10,000 RESETs, in a slow machine
const HANDSHAKE_MS = 10000;
const SLOW_MS = 40000;          // what a machine under load may add

async function hostile(courier, seed, ...args) {
    const { bus, dev } = await courier.there();
    return new Program(`hostile_host ${args.join(' ')}`, tool('hostile_host'), [`${bus}:${dev}`, ...args],
        { env: { SEED: String(seed) } });
}

const tabletOf = async (world, number) => new HonestTablet(await world.tablet(`t${number}`, { user: `chw${number}` }));

// Hosts that keep a session open and never become a station, each at a courier of its own: thrown out when the handshake has
// lasted too long, and the courier's next visitor is served though the hostile program still runs.
async function late(world, tablet, seed) {
    const modes = ['mute', 'record', 'deaf', 'drip', 'flood', 'empty'];
    const couriers = await Promise.all(modes.map((_, i) => usbCourier(world, `late${i + 1}`, i + 1)));
    await Promise.all(couriers.map((courier) => courier.start()));
    const hosts = await Promise.all(couriers.map(async (courier, i) => {
        const host = await hostile(courier, seed, modes[i]), begin_ms = Date.now();
        await courier.program.waitLine(/warning: host: did not finish the TLS handshake within 10000 ms/, HANDSHAKE_MS + SLOW_MS);
        const took_ms = Date.now() - begin_ms;
        console.log(`    ${modes[i]}: thrown out after ${took_ms} ms`);
        assert.ok(took_ms >= HANDSHAKE_MS - 1000, modes[i]);
        return host;
    }));
    for (const [i, courier] of couriers.entries()) {
        assert.strictEqual(hosts[i].ended, null, hosts[i].tail());
        await hosts[i].kill();
        const { bus, dev } = await courier.there();
        await tablet.carryOne(`--usb=${bus}:${dev}`);
        await courier.stop();
    }
}

// RESET whose data never comes, found by a courier that was stopped meanwhile: it goes on, and can be ended.
async function noData(courier, seed) {
    const worker = await courier.worker();
    process.kill(worker, 'SIGSTOP');
    const host = await hostile(courier, seed, 'no-data');
    await host.waitLine(/^given up/, WAIT_MS);
    process.kill(worker, 'SIGCONT');
    await sleep(500);
    const begin_ms = Date.now();
    await courier.stop();
    console.log(`    ended ${Date.now() - begin_ms} ms after SIGTERM`);
    await host.kill();
    await courier.start();
}

// Two programs at once: the second is told of the first, and goes on after it.
async function rivals(first, second) {
    await first.start();
    await first.connected();
    await second.start();
    await second.program.waitLine(new RegExp(`boda-tablet \\(process ${first.program.child.pid}\\) has it; end that`), WAIT_MS);
    await first.stop();
    await second.connected();
    await second.stop();
}

// Whatever was said to the device, behind the back of the host's own drivers: the next host finds it plugged in anew.
async function plugAnew(courier) {
    unplug();
    await waitGone({ port: 0 });
    plug();
    await courier.there();
}

scenario('no host can harm a courier', async ({ world, seed }) => {
    const courier = await usbCourier(world, 'c1');
    const tablet = await tabletOf(world, 1), rival = await tabletOf(world, 2);
    const run = async (...args) => {
        const host = await hostile(courier, seed, ...args);
        console.log(`    ${(await host.wait(RUN_MS)).join('; ')}`);
    };
    const steps = {
        control: async () => {
            await run('control', REQUESTS);
            await plugAnew(courier);
        },
        configure: () => run('configure', '20'),
        resets: () => run('resets', RESETS),
        'given-up': () => run('given-up', '200'),
        'bus-resets': () => run('bus-resets', '10'),
        claims: () => run('claims', '100'),
        halts: () => run('halts', '200'),
        junk: () => run('junk', '20'),
        noise: async () => {
            const line = courier.program.lines.length;
            await run('noise', '20');
            await courier.program.waitLine(/warning: host: what came is not the TLS 1.3 of a Boda station/, WAIT_MS, line);
        },
        late: () => late(world, tablet, seed),
        'no-data': () => noData(courier, seed),
        rivals: () => rivals(tablet, rival),
        killed: async () => {
            await tablet.start();
            await tablet.connected();
            await tablet.kill();
        },
    };

    await courier.start();
    await tablet.carryOne();
    let before = await courier.resources();
    for (const name of process.env.STEPS ? process.env.STEPS.split(',') : Object.keys(steps)) {
        const begin_ms = Date.now();
        console.log(`${name}:`);
        await steps[name]();
        const hostile_ms = Date.now() - begin_ms;
        const lasted_ms = await tablet.carryOne().catch((e) => {
            throw new Error(`after ${name}: ${e.stack}${courier.program.tail()}`);
        });
        const after = await courier.resources();
        console.log(`    ${hostile_ms} ms; then an honest visit of ${lasted_ms} ms; ${JSON.stringify(after)}`);
        if (name === 'no-data') {
            before = after;     // it was ended, and started again
        }
        assert.strictEqual(after.worker, before.worker, 'the courier was started again');
        assert.strictEqual(after.files, before.files);
        assert.ok(after.memory_kb < before.memory_kb + 4096);
        noComplaints();
    }
    await courier.stop();
    const { batches } = await courier.status();
    assert.strictEqual(batches.partial, 0);
});
