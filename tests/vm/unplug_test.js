#!/usr/bin/env node
// SPDX-License-Identifier: AGPL-3.0-or-later
// machine --udev --memory 2048 --env CUTS --env PHASE --env ONLY
// timeout 1800
'use strict';

/*
 * The cable is pulled at seeded moments of everything that goes over it, again and again, with the host's program, the courier's
 * worker or its keeper killed in the same moment, or none: plugged in again, the exchange goes on from where it was (at most
 * 1 MiB goes again), nothing is lost or differs, and nobody keeps transfers, descriptors, threads or memory.
 *
 *   CUTS=N   how many (25)      SEED=N   of all that is random      PHASE=N   how many while the courier is at one host (7)
 *   ONLY=word   only cuts whose name has it
 *
 * Rounds: new documents, the courier at the tablet until all is handed over, the courier at the dock until all is at the server;
 * cut now and then. A cut is a variant (what happened when), which belongs to a kind. Those that came least are next.
 */

const assert = require('assert');
const fs = require('fs');
const path = require('path');
const { Program, sleep, waitFor } = require('../web/program');
const { scenario, assertEmpty } = require('../web/scenario');
const { Documents } = require('./documents');
const { aioContexts, childOf, descriptors, held } = require('./held');
const { VARIANTS } = require('./moments');
const { End, Way } = require('./trace');
const { devices, plug, unplug } = require('./usb');

const CUTS = Number(process.env.CUTS || 25);
const PHASE = Number(process.env.PHASE || 7);
const ONLY = process.env.ONLY || '';
const AGAIN_BYTES = 1 << 20;
const QUEUE_BYTES = (128 + 64 + 8 * 16) << 10;  // of a program: what waits, a frame more, and 8 transfers (link/visit, link/bulk)
const GROWTH_KB = 8192; // what malloc keeps of the largest request that came by chance in the last third
const WAIT_MS = 120000;
const EVERY_CUTS = 200;                 // so many, and every variant must have come, not only every kind
const GADGETS = '/sys/kernel/config/usb_gadget';

const chosen = () => VARIANTS.filter(({ name }) => name.includes(ONLY));

const KILLS = ['none', 'none', 'host', 'worker', 'keeper'];

// ---- the stations ------------------------------------------------------------------------------------------------------

class Host {
    constructor(station, role, ways) {
        Object.assign(this, { station, role, end: new End({ courier: ways.out }) });
    }

    get pid() {
        return this.station.program.child.pid;
    }

    // Ready when it looks for couriers.
    async start() {
        const { station } = this;
        if (this.role === 'tablet') {
            station.spawn('boda-tablet', [...station.identityArgs(), '--http', `127.0.0.1:${station.port}`, '--usb',
                '--log-level', 'debug']);
        } else {
            station.command('--log-level', 'debug', 'run', '--usb', 'any');
        }
        this.end.watch(station.program);
        if (this.role === 'tablet') {
            [, station.port] = await station.program.waitLine(/http: listening on 127\.0\.0\.1:(\d+)/, WAIT_MS);
        }
        await waitFor(`${this.role}: looks for couriers`, () => descriptors(this.pid).includes('anon_inode:[timerfd]'), WAIT_MS,
            [station.program]);
    }

    // In another place, with nothing plugged in.
    pause() {
        process.kill(this.pid, 'SIGSTOP');
    }

    resume() {
        process.kill(this.pid, 'SIGCONT');
    }

    held() {
        return { [this.role]: this.pid };
    }
}

class Courier {
    constructor(station, ways) {
        Object.assign(this, { station, role: 'courier', end: new End(ways) });
    }

    async start() {
        const { station } = this;
        station.spawn('boda-courier', [...station.identityArgs(), '--usb', '--udc', 'dummy_udc.0', '--log-level', 'debug']);
        this.end.watch(station.program);
        await station.program.waitLine(/USB gadget at/, WAIT_MS);
        this.keeper = station.program.child.pid;
        this.worker = childOf(this.keeper);
    }

    held() {
        return { worker: this.worker, keeper: this.keeper };
    }
}

// ---- the campaign ------------------------------------------------------------------------------------------------------

class Campaign {
    constructor({ world, random, seed }) {
        Object.assign(this, { world, random, cuts: 0, late: 0, revocations: 0, fell: new Map(), flying: 0, kills: {},
            listening: [], bag: [], documents: new Documents(seed), base: {}, memory: {}, bytes: 0,
            receipts: false, listAtCourier: false });
        this.ways = Object.fromEntries(['tablet -> courier', 'courier -> tablet', 'courier -> dock', 'dock -> courier']
            .map((name) => [name, new Way(name)]));
        VARIANTS.forEach((variant) => Object.assign(variant, { hits: 0, late: 0 }));
    }

    below(n) {
        return Math.floor(this.random() * n);
    }

    async open() {
        const { world, ways } = this;
        this.server = await world.server([{ user: 'chw1' }], { kind: 'couchdb' });
        this.tablet = new Host(await world.tablet('t1', { user: 'chw1' }), 'tablet', { out: ways['tablet -> courier'] });
        this.dock = new Host(await world.dock('dock', this.server), 'dock', { out: ways['dock -> courier'] });
        this.courier = new Courier(await world.courier('c1'),
            { tablet: ways['courier -> tablet'], dock: ways['courier -> dock'] });
        unplug();
        await Promise.all([this.tablet, this.dock, this.courier].map((station) => station.start()));
        this.tablet.pause();
        this.dock.pause();
        // A first round without a cut: what everybody holds after it is what they may hold after each cut. SQLite keeps a
        // descriptor for the second connection, which the receiver of more than a group's bytes has, to use it again.
        await this.write([2000, 1500000]);
        for (const host of [this.tablet, this.dock, this.tablet]) {
            await this.visit(host, () => this.settled());
        }
        console.log(`at rest: ${JSON.stringify(this.base)}, ${aioContexts()} of AIO`);
        this.aio = aioContexts();
        this.judging = true;
    }

    // ---- documents

    async write(sizes) {
        const { station } = this.tablet, heldBytes = async () => (await station.status()).batches.held_bytes;
        const before = await heldBytes();
        this.tablet.resume();
        await this.documents.write(station, sizes);
        this.tablet.pause();
        this.bytes += await heldBytes() - before;
    }

    async newDocs(round) {
        const small = () => Array.from({ length: 4 }, () => 500 + this.below(4000));
        const big = round % 2 ? [2700000, 2700000] : [5400000];
        await this.write([...small(), big[0], ...small(), ...big.slice(1)]);
    }

    // ---- what some moments need

    // The dock learns of a revocation when it starts.
    async revoke() {
        const name = `x${++this.revocations}`;
        const { world } = this;
        await world.tablet(name, { user: 'chw1' });
        await world.boda(['revoke', name, '--deployment', world.deployment, '--passphrase-file', world.passphrase]);
        await this.host.station.stop();
        await this.host.start();
        this.listAtCourier = true;
    }

    // Nothing can be written at the courier: its fault is told to the tablet.
    async lockStore() {
        this.locker = new Program('locker', 'python3', ['-c', 'import sqlite3, sys, time\n' +
            'db = sqlite3.connect(sys.argv[1], isolation_level=None)\ndb.execute("BEGIN IMMEDIATE")\n' +
            'print("locked", flush=True)\ntime.sleep(600)\n', path.join(this.courier.station.store, 'boda.db')]);
        await this.locker.waitLine(/locked/, WAIT_MS);
    }

    // ---- visits

    listen(end, listener) {
        end.listeners.add(listener);
        this.listening.push(() => end.listeners.delete(listener));
    }

    deaf() {
        this.listening.forEach((stop) => stop());
        this.listening = [];
    }

    // All is said and done, at a tablet; at a dock also replayed, and told to the courier.
    async settled() {
        const { host } = this;
        await waitFor(`${host.role}: a session, and idle`, () => host.end.session && host.end.session.idle, WAIT_MS,
            [host.station.program, this.courier.station.program]);
        if (host.role === 'dock') {
            await waitFor('dock: all is applied, and its courier knows', async () => {
                const [dock, courier] = [await host.station.status(), await this.courier.station.status()];
                return dock.batches.partial === 0 &&
                    [...dock.streams, ...courier.streams].every((s) => s.to !== 'server' || s.waiting === 0);
            }, WAIT_MS, [host.station.program, this.courier.station.program]);
        }
    }

    // No session is open anywhere, and nobody holds more than before the first one.
    async quiet() {
        const ends = [this.host, this.courier];
        await waitFor('the session is over', () => ends.every(({ end }) => !end.session), WAIT_MS,
            ends.map((station) => station.station.program));
        const processes = { ...this.host.held(), ...this.courier.held() };
        let now;
        const few = () => {
            now = Object.fromEntries(Object.entries(processes).map(([name, pid]) => [name, held(pid)]));
            return aioContexts() === this.aio && Object.entries(now).every(([name, { descriptors: fds, threads }]) =>
                fds <= this.base[name].descriptors && threads <= this.base[name].threads);
        };
        if (!this.judging) {
            await sleep(1000);
            few();
            Object.assign(this.base, now);
            return;
        }
        await waitFor('what is held at rest', few, WAIT_MS, ends.map((station) => station.station.program)).catch((e) => {
            const all = Object.values(processes).map((pid) => `\n${descriptors(pid).join(' ')}`).join('');
            const aio = `AIO: ${aioContexts()}, ${this.aio} before`;
            throw new Error(`${e.message}\n${JSON.stringify({ base: this.base, now })}, ${aio}${all}`);
        });
        for (const [name, { memory_kb: kb }] of Object.entries(now)) {
            (this.memory[name] = this.memory[name] || []).push(kb);
        }
    }

    // One visit without a cut.
    async visit(host, until) {
        this.host = host;
        host.resume();
        plug();
        await until();
        host.end.way.close();
        this.courier.end.way.close();
        unplug();
        await this.quiet();
        host.pause();
    }

    async phase(host, most) {
        this.host = host;
        host.resume();
        for (const variant of this.choose(host.role, most)) {
            await this.cut(variant);
        }
        await this.visit(host, () => this.settled());
        if (host === this.dock) {
            this.receipts = true;
        } else {
            this.receipts = this.listAtCourier = false;
        }
    }

    // Those that came least: by kind, then by variant; of equals a random one.
    choose(at, most) {
        const ofKind = ({ kind }) => VARIANTS.filter((v) => v.kind === kind).reduce((sum, { hits }) => sum + hits, 0);
        const able = chosen().filter((v) => v.at === at && (!v.may || v.may(this)));
        able.forEach((variant) => Object.assign(variant, { ofKind: ofKind(variant), dice: this.random() }));
        able.sort((a, b) => a.ofKind - b.ofKind || a.hits - b.hits || a.dice - b.dice);
        const firstOfKind = able.filter(({ kind }, i) => able.findIndex((v) => v.kind === kind) === i);
        return firstOfKind.slice(0, most).sort((a, b) => a.order - b.order || a.dice - b.dice);
    }

    // ---- a cut

    // Every KILLS of a bag once, before the next bag.
    kill() {
        if (!this.bag.length) {
            this.bag = KILLS.map((kill) => [this.random(), kill]).sort().map(([, kill]) => kill);
        }
        return this.bag.pop();
    }

    pull({ controller }) {
        if (controller) {
            try {
                fs.writeFileSync(`${GADGETS}/boda-c1/UDC`, '\n');
            } catch (e) {
                // the courier was killed before
            }
        } else {
            unplug();
        }
    }

    // In the middle of whatever happens: nothing here waits.
    strike(variant, victim) {
        const pids = { host: this.host.pid, ...this.courier.held() };
        const murder = () => victim === 'none' || process.kill(pids[victim], 'SIGKILL');
        const acts = [() => this.pull(variant), murder];
        (this.random() < 0.5 ? acts : acts.reverse()).forEach((act) => act());
    }

    async cut(variant) {
        const from_ms = Date.now(), { host, courier } = this, victim = this.kill();
        const ends = [host.end, courier.end], began = ends.map((end) => end.began);
        let done = null;

        if (variant.prepare) {
            await variant.prepare(this);
        }
        ends.forEach((end) => { end.last = null; end.cut = `${variant.name}, ${victim} killed`; });
        this.seen = { session: false };
        this.listen(host.end, (line) => {
            this.seen.session = this.seen.session || /: a session begins at interface/.test(line);
            // What is waited for does not come any more.
            if (/safe to unplug$/.test(line) && !variant.idles && !done && host.role === 'tablet') {
                done = 'late';
            }
        });
        variant.arm(this, () => {
            if (!done) {
                done = 'struck';
                this.deaf();
                this.fellAt = this.whereabouts(began);
                this.strike(variant, victim);
            }
        });
        plug();
        // It may not come in this state of the stores; another round of the kind does.
        await waitFor(variant.name, () => done, 60000).catch(() => {
            done = 'late';
        });
        this.deaf();
        await this.recover(variant, done === 'struck' ? victim : 'none');
        this.count(variant, victim, done, began, from_ms);
    }

    // How far it has come.
    whereabouts(began) {
        if (this.host.end.began > began[0] || this.courier.end.began > began[1]) {
            return 'session';
        }
        return this.seen.session ? 'handshake' : devices().some(({ vid }) => vid === '1d6b') ? 'configured' : 'enumeration';
    }

    // Who was killed, starts again, as systemd has it. The cable is out.
    async recover(variant, victim) {
        const { host, courier } = this;
        unplug();
        if (this.locker) {
            await this.locker.kill();
            this.locker = null;
        }
        if (victim === 'host') {
            await host.station.program.exited;
        } else if (variant.ends && host.station.program.child.killed) {
            await host.station.program.wait(WAIT_MS);
        }
        if (host.station.program.ended) {
            await host.start();
        }
        if (victim === 'worker' || victim === 'keeper') {
            await courier.station.program.exited;
            await courier.start();
        }
        await this.quiet();
    }

    count(variant, victim, done, began, from_ms) {
        const { host, courier } = this, [ours, theirs] = [host.end.last, courier.end.last];
        let where = this.fellAt;
        const hit = done === 'struck' && (where !== 'session') === Boolean(variant.before);
        if (done === 'struck') {
            if (ours || theirs) {
                where = `${host.role}: ${ours ? ours.frame : 'nothing'}; courier: ${theirs ? theirs.frame : 'nothing'}`;
                const lost = (from, to) => from &&
                    Object.entries(from.went).some(([name, n]) => n > ((to && to.came[name]) || 0));
                this.flying += lost(ours, theirs) || lost(theirs, ours) ? 1 : 0;
            }
            this.cuts++;
            this.kills[victim] = (this.kills[victim] || 0) + 1;
            this.fell.set(where, (this.fell.get(where) || 0) + 1);
        }
        if (hit) {
            variant.hits++;
        } else {
            variant.late++;
            this.late++;
        }
        const words = done === 'late' ? 'did not come' : `${hit ? '' : 'too late; '}${where}`;
        const seconds = ((Date.now() - from_ms) / 1000).toFixed(1);
        console.log(`${this.cuts}: ${variant.name}, ${victim} killed: ${words} (${seconds} s)`);
    }

    // ---- the whole

    // What has not been hit: kinds, with many cuts also variants.
    missing() {
        const hit = new Set(chosen().filter(({ hits }) => hits).flatMap(({ kind, name }) => [kind, name]));
        return [...new Set(chosen().map(({ kind, name }) => (CUTS < EVERY_CUTS ? kind : name)))].filter((what) => !hit.has(what));
    }

    async rounds() {
        for (let round = 0; this.cuts < CUTS || this.missing().length; round++) {
            assert.ok(round < 10 + CUTS / PHASE, `these do not come: ${this.missing().join(', ')}`);
            await this.newDocs(round);
            await this.phase(this.tablet, PHASE);
            await this.phase(this.dock, PHASE);
        }
        // A dock that was killed between the server's yes and its own books has fetched what the tablet has; the second
        // visits bring the receipt of it.
        for (const host of [this.tablet, this.dock, this.tablet, this.dock]) {
            await this.visit(host, () => this.settled());
        }
    }

    // ---- the verdict

    // The tablet's own receipts go besides what it was given: at most one a session, each as large as the last or smaller.
    async receiptBytes() {
        return this.tablet.end.began * (await this.tablet.station.status()).batches.unnumbered_bytes;
    }

    judgeBytes(receipts) {
        let worst = { bytes: 0 }, all = 0;
        for (const way of Object.values(this.ways)) {
            const bytes = way.again.map((a) => a.bytes), sum = bytes.reduce((a, b) => a + b, 0);
            const most = way.again.reduce((a, b) => (b.bytes > a.bytes ? b : a), { bytes: 0, cut: 'no cut' });
            worst = most.bytes > worst.bytes ? most : worst;
            all += sum;
            console.log(`${way.name}: ${way.sent} bytes went, ${sum} of them again after ${bytes.length} cuts: ${
                Math.round(sum / Math.max(bytes.length, 1))} a cut, at most ${most.bytes} (${most.cut})`);
        }
        console.log(`again: ${Math.round(all / this.cuts)} bytes a cut, ${worst.bytes} at most`);
        const { sent, again } = this.ways['tablet -> courier'];
        const once = sent - again.reduce((sum, { bytes }) => sum + bytes, 0);
        console.log(`went once: ${once} bytes, of ${this.bytes} that the tablet was given, and of receipts`);
        assert.ok(once >= this.bytes && once <= this.bytes + receipts, 'what went once is what the tablet held');
        // What a killed program had not given to the cable counts as if it had gone.
        for (const { bytes, cut } of Object.values(this.ways).flatMap((way) => way.again)) {
            assert.ok(bytes <= AGAIN_BYTES + (/ none killed/.test(cut) ? 0 : QUEUE_BYTES), `${bytes} bytes went again: ${cut}`);
        }
    }

    judgeMemory() {
        for (const [name, kb] of Object.entries(this.memory)) {
            const part = Math.ceil(kb.length / 3), most = (list) => list.reduce((a, b) => Math.max(a, b), 0);
            const [before, after] = [most(kb.slice(0, part)), most(kb.slice(-part))];
            console.log(`${name}: VmRSS ${kb[0]} kB first, ${kb[kb.length - 1]} last; at most ${before} in the first third, ${
                after} in the last`);
            assert.ok(after <= before + GROWTH_KB, `${name} grows`);
        }
    }

    tell() {
        const kinds = [...new Set(VARIANTS.map(({ kind }) => kind))];
        console.log(`kinds: ${kinds.map((kind) => `${kind} ${VARIANTS.filter((v) => v.kind === kind)
            .reduce((sum, { hits }) => sum + hits, 0)}`).join(', ')}`);
        console.log(`variants: ${VARIANTS.map((v) => `${v.name} ${v.hits}`).join(', ')}`);
        console.log('where they really fell, by the last frames of both:');
        [...this.fell].sort((a, b) => b[1] - a[1]).forEach(([where, times]) => console.log(`    ${times} x ${where}`));
        [this.tablet, this.courier, this.dock].forEach(({ role, end }) =>
            [...end.complaints].forEach(([text, times]) => console.log(`${role}, ${times} x ${text}`)));
    }

    // Only what this campaign does is complained about.
    judgeComplaints() {
        const usual = [/another program holds it/, /worker: was ended by signal/, /UDC gone, waiting for it/, /cable: unplugged$/,
            /cable: the courier has gone$/, /does not answer as a courier does/];
        const all = [this.tablet, this.courier, this.dock].flatMap(({ end }) => [...end.complaints.keys()]);
        assert.deepStrictEqual(all.filter((text) => !usual.some((pattern) => pattern.test(text))), []);
    }

    async close() {
        this.tablet.resume();
        this.dock.resume();
        for (const { station } of [this.tablet, this.dock, this.courier]) {
            await station.program.stop(WAIT_MS);
        }
        assert.deepStrictEqual(fs.readdirSync(GADGETS), []);
        assert.doesNotMatch(fs.readFileSync('/proc/mounts', 'utf8'), /functionfs/);
        await waitFor('AIO of nobody', () => aioContexts() === 0, WAIT_MS);
    }
}

scenario(`${CUTS} cuts of the cable`, async (test) => {
    const campaign = new Campaign(test), from_ms = Date.now();
    await campaign.open();
    console.log(`ready after ${((Date.now() - from_ms) / 1000).toFixed(1)} s`);
    await campaign.rounds();
    campaign.tell();
    campaign.judgeMemory();
    campaign.judgeBytes(await campaign.receiptBytes());
    campaign.judgeComplaints();
    const never = KILLS.filter((kill) => !campaign.kills[kill]);
    assert.ok(!never.length || CUTS < 2 * KILLS.length, `killed never: ${never.join(', ')}`);
    const documents = await campaign.documents.compare(campaign.server);
    const { tablet, courier, dock } = campaign;
    assert.deepStrictEqual((await dock.station.status()).refusals, []);
    await assertEmpty(tablet.station, courier.station, dock.station);
    await campaign.close();
    console.log(`${campaign.cuts} cuts, killed: ${JSON.stringify(campaign.kills)}; ${campaign.flying} with frames on their way; ${
        campaign.late} moments did not come; ${documents} documents, 0 differences`);
});
