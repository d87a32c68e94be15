#!/usr/bin/env node
// SPDX-License-Identifier: AGPL-3.0-or-later
// outside
// timeout 1200
'use strict';

/*
 * The board of a courier loses power while a tablet hands batches over by USB: nothing that the courier has acknowledged is ever
 * missing, its store opens, and the exchange goes on, with at most 1 MiB sent again.
 *
 * The courier's store is on a disk whose write cache is nbdkit's; to cut the power is to kill nbdkit, with all that was not
 * flushed, and QEMU. What was acknowledged is what the tablet's log said out here until then. The tablet's own disk keeps what
 * it was given. power.js does the work in the machine.
 *
 * The control: with a file system that does not flush (barrier=0) the same check must find that something is lost.
 *
 *   KILLS=3      power cuts; after every tenth the board and its tablet are new ones
 *   CONTROLS=1   cuts without barriers
 *   SEED=N       decides the cuts' moments and what is written
 */

const assert = require('assert');
const fs = require('fs');
const path = require('path');
const { spawnSync } = require('child_process');
const { Program, waitFor } = require('../web/program');
const { scenario } = require('../web/scenario');

const KILLS = Number(process.env.KILLS || 3);
const CONTROLS = Number(process.env.CONTROLS || 1);
const CUTS_A_BOARD = 10;
const AGAIN_BYTES = 1 << 20;
const WAIT_MS = 240000;
const DISK_BYTES = 1 << 30;
const DATA_HEADER_BYTES = 12;

const env = { PATH: `${process.env.PATH}:/usr/sbin:/sbin` };

// ---- the machine -----------------------------------------------------------------------------------------------------------

// What its output says is counted line by line.
class Machine extends Program {
    constructor(board, settings) {
        const { bin, tablet, dir } = board.campaign;
        const all = { bin, user: tablet.user, secret: tablet.secret, ...settings };
        super('machine', path.join(__dirname, 'run'), ['--share', path.join(dir, 'share'), '--disk', `nbd:unix:${board.socket}`,
            '--disk', board.tabletImage, '--timeout', '900', '--', process.execPath, 'tests/vm/power.js', JSON.stringify(all)],
        { log: path.join(dir, 'machine.log') });
        Object.assign(this, { acked: [], goes: 0, comes: 0, sessions: 0, began: 0, wrong: [] });
    }

    line(text) {
        let match;
        if ((match = /^batch ([0-9a-f]{64}): is stored at the other side$/.exec(text))) {
            this.acked.push(match[1]);
        } else if ((match = /^frame: DATA (goes|comes), (\d+) bytes$/.exec(text))) {
            this[match[1]] += Number(match[2]) - DATA_HEADER_BYTES;
        } else if (/^courier c1: connected$/.test(text)) {
            this.sessions++;
        } else if (text === 'power: begins') {
            this.began++;
        } else if (/damage|moved aside|with other bytes|^error: |^power: (failed|boda-)/.test(text)) {
            this.wrong.push(text);
        }
        super.line(text);
    }

    // Until reached(this): looked at with each line.
    async reach(what, reached) {
        let check;
        await new Promise((done, failed) => {
            const timer = setTimeout(() => failed(new Error(`${what}: not within ${WAIT_MS / 1000} s${this.tail()}`)), WAIT_MS);
            check = () => {
                if (reached(this) || this.ended || this.wrong.length) {
                    clearTimeout(timer);
                    done();
                }
            };
            this.waiting.push(check);
            check();
        });
        this.waiting = this.waiting.filter((c) => c !== check);
        this.assertGood();
        assert.ok(reached(this), `${what}: the machine ended with ${this.ended}${this.tail()}`);
    }

    assertGood() {
        assert.deepStrictEqual(this.wrong, [], this.tail());
    }

    async said(word) {
        return JSON.parse((await this.waitLine(new RegExp(`^power: ${word} (.*)$`), WAIT_MS))[1]);
    }

    qemu() {
        const { stdout } = spawnSync('pgrep', ['-P', String(this.child.pid), '-x', 'qemu-system-x86'], { encoding: 'utf8' });
        assert.match(stdout, /^\d+\n$/, `QEMU is not to be found${this.tail()}`);
        return Number(stdout);
    }
}

// ---- a board and its tablet, through several boots -------------------------------------------------------------------------

class Board {
    constructor(campaign, number) {
        const file = (name) => path.join(campaign.dir, `${name}-${number}`);
        Object.assign(this, { campaign, number, acked: new Set(), bytes: 0, comes: 0, goes: 0 });
        Object.assign(this, { image: file('courier.img'), tabletImage: file('tablet.img'), socket: file('nbd') });
        for (const image of [this.image, this.tabletImage]) {
            fs.closeSync(fs.openSync(image, 'w'));
            fs.truncateSync(image, DISK_BYTES);
            const made = spawnSync('mkfs.ext4', ['-q', '-F', image], { encoding: 'utf8', env: { ...process.env, ...env } });
            assert.strictEqual(made.status, 0, `mkfs.ext4: ${made.error || made.stderr}`);
        }
    }

    // A disk that writes only what it is told to flush, in pieces of 4 KiB, each of which takes a while: cuts fall in between.
    async plugDisk() {
        fs.rmSync(this.socket, { force: true });
        this.disk = new Program('nbdkit', 'nbdkit', ['--exit-with-parent', '--unix', this.socket, '--filter=cache', '--filter=delay',
            'file', this.image, 'cache=writeback', 'cache-min-block-size=4K', 'delay-write=1ms'], { env });
        await waitFor('nbdkit listens', () => fs.existsSync(this.socket), WAIT_MS, [this.disk]);
    }

    async boot(settings) {
        await this.plugDisk();
        this.machine = new Machine(this, { barrier: true, backlog_bytes: 16e6, requests: this.campaign.drawRequests(), ...settings });
        const store = await this.machine.said('store');
        this.qemu = this.machine.qemu();
        return store;
    }

    // What the store held at a boot against what was acknowledged before.
    missing(store) {
        const held = new Set(store.held);
        return [...this.acked].filter((id) => !held.has(id));
    }

    // The next boot, in which nothing may be missing.
    async bootWhole(settings) {
        const store = await this.boot(settings);
        // A store that had only begun to be made has acknowledged nothing.
        assert.ok(!store.fault || (this.acked.size === 0 && /there is no store yet/.test(store.fault)),
            `the store does not open: ${store.fault}`);
        const missing = this.missing(store);
        assert.strictEqual(missing.length, 0, `${missing.length} of ${this.acked.size} acknowledged batches are lost: ${missing[0]}`);
        // Of what had come out of the cable, and of what the tablet had made ready for it, some of which was never sent.
        const again = this.bytes + this.comes - store.bytes, ready = this.bytes + this.goes - store.bytes;
        assert.ok(again >= 0 && again <= AGAIN_BYTES, `${again} bytes come again`);
        this.settle(store);
        return { again, ready, partial: store.partial };
    }

    // An acknowledgement of what has one already would mean that it was lost.
    take(acked) {
        const twice = acked.filter((id, i) => this.acked.has(id) || acked.indexOf(id) !== i);
        assert.deepStrictEqual(twice, [], 'acknowledged once more');
        acked.forEach((id) => this.acked.add(id));
        [this.comes, this.goes] = [this.machine.comes, this.machine.goes];
    }

    settle(store) {
        Object.assign(this, { bytes: store.bytes, comes: 0, goes: 0 });
    }

    async cut(moment) {
        await moment.wait(this.machine);
        process.kill(this.disk.child.pid, 'SIGKILL');
        process.kill(this.qemu, 'SIGKILL');
        await Promise.all([this.disk.exited, this.machine.exited]);
        this.machine.assertGood();
        this.take(this.machine.acked);
        return this.machine.acked;
    }

    // The machine ends by itself.
    async end() {
        await this.machine.wait(WAIT_MS);
        this.machine.assertGood();
        this.take(this.machine.acked);
        this.disk.child.kill('SIGTERM');
        await this.disk.wait();
    }

    remove() {
        [this.image, this.tabletImage].forEach((image) => fs.rmSync(image));
    }
}

// ---- the campaign ----------------------------------------------------------------------------------------------------------

const delay = (ms) => new Promise((done) => { ms > 0 ? setTimeout(done, ms) : done(); });

class Campaign {
    constructor({ dir, bin, world, random }) {
        Object.assign(this, { dir, bin, world, random, boards: 0, acked: 0 });
        Object.assign(this, { cuts: 0, amid: 0, again: 0, mostAgain: 0, mostReady: 0 });
    }

    async open() {
        this.tablet = await this.world.tablet('t1', { user: 'chw1' });
        const courier = await this.world.courier('c1');
        fs.mkdirSync(path.join(this.dir, 'share'));
        for (const file of [this.tablet, courier].flatMap((s) => [s.identity, s.passphrase])) {
            fs.copyFileSync(file, path.join(this.dir, 'share', path.basename(file)));
        }
    }

    number(from, until) {
        return from + Math.floor(this.random() * (until - from));
    }

    // Single documents of 1 KiB to 4 MiB, as many small as large, and handfuls of small ones.
    drawRequests() {
        return Array.from({ length: 40 }, () => (this.random() < 0.7 ? [Math.floor(1024 * 4096 ** this.random())]
            : Array.from({ length: this.number(2, 20) }, () => this.number(100, 5000))));
    }

    // When to cut: at once or soon after so many acknowledgements or bytes; some time after the session or the programs began.
    drawMoment(kind = ['acks', 'acks', 'bytes', 'bytes', 'bytes', 'session', 'start'][this.number(0, 7)]) {
        const acks = this.number(1, 13), bytes = this.number(1e5, 8e6), ms = this.random() < 0.4 ? 0 : this.number(0, 500);
        const reach = {
            acks: [`${acks} acknowledgements`, (m) => m.acked.length >= acks, ms],
            bytes: [`${bytes} bytes`, (m) => m.comes >= bytes, ms],
            session: ['a session', (m) => m.sessions > 0, ms * 10],
            start: ['the programs', (m) => m.began > 0, ms * 4],
        };
        const [what, reached, after_ms] = reach[kind];
        return { words: `${after_ms} ms after ${what}`, wait: async (machine) => {
            await machine.reach(what, reached);
            await delay(after_ms);
        } };
    }

    note({ again, ready, partial }) {
        this.cuts++;
        this.amid += again > 0;
        this.again += again;
        this.mostAgain = Math.max(this.mostAgain, again);
        this.mostReady = Math.max(this.mostReady, ready);
        console.log(`    then ${again} bytes come again (${ready} were ready to be sent), ${partial} batches are partial`);
    }

    // Cuts, and a boot in which the courier gets all that is left.
    async board(cuts) {
        const board = new Board(this, ++this.boards);
        for (let i = 0; i < cuts; i++) {
            const moment = this.drawMoment();
            const found = await board.bootWhole({ end: 'cut' });
            if (i > 0) {
                this.note(found);
            }
            const acked = await board.cut(moment);
            this.acked += acked.length;
            console.log(`board ${board.number}, cut ${i + 1}: ${moment.words}; ${acked.length} acknowledged, ${
                board.machine.comes} bytes came`);
        }
        this.note(await board.bootWhole({ end: 'drain' }));
        const drained = await board.machine.said('drained');
        await board.end();
        assert.ok(!drained.fault, drained.fault);
        assert.deepStrictEqual(board.missing(drained), []);
        assert.strictEqual(drained.partial, 0);
        this.acked += board.machine.acked.length;
        board.settle(drained);
        console.log(`board ${board.number}: the courier has all ${drained.held.length} batches, ${drained.bytes} bytes`);
        return board;
    }

    // What a disk that is never told to flush loses.
    async control(board) {
        await board.bootWhole({ end: 'cut', barrier: false });
        const acked = await board.cut(this.drawMoment('acks'));
        const store = await board.boot({ end: 'look' });
        await board.end();
        const missing = board.missing(store);
        console.log(`control: ${acked.length} acknowledged, ${store.fault ? `then ${store.fault}` : `${missing.length} lost`}`);
        assert.ok(store.fault || missing.some((id) => acked.includes(id)), 'without barriers nothing was lost: this test is blind');
        return !store.fault;
    }
}

scenario(`${KILLS} power cuts of a courier's board`, async (test) => {
    const campaign = new Campaign(test);
    let board;

    await campaign.open();
    for (let left = KILLS; left > 0; left -= CUTS_A_BOARD) {
        if (board) {
            board.remove();
        }
        board = await campaign.board(Math.min(left, CUTS_A_BOARD));
    }
    for (let i = 0; i < CONTROLS; i++) {
        await campaign.control(board);
        board.remove();
        board = new Board(campaign, ++campaign.boards);
    }
    const { cuts, amid, acked, again, mostAgain, mostReady } = campaign;
    console.log(`${cuts} cuts, ${amid} of them amid a batch; ${acked} batches acknowledged, 0 lost; ${Math.round(again / cuts)} bytes ` +
        `came again after a cut, at most ${mostAgain} (${mostReady} with what was ready to be sent)`);
    assert.ok(KILLS < 10 || amid > 0, 'no cut came amid a batch');
});
