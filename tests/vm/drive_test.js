#!/usr/bin/env node
// SPDX-License-Identifier: AGPL-3.0-or-later
// machine --udev --memory 2048 --env CUTS --env SEED --env BATCHES --env ONLY
// timeout 2400
'use strict';

/*
 * The drive beside the cable, through the kernel's mass storage function and the kernel's FAT on the host's side: 500 batch files
 * dropped and ejected are in the courier's store; a cable pulled while files are being copied loses none that had reached the
 * disk; the same batches by drive and cable at once come once; what else a host does to it is mended; and where tools or the
 * kernel's module are missing, the cable goes on.
 *
 *   CUTS=6   how many times the cable is pulled while files are copied      BATCHES=500
 *   ONLY=word   only parts whose name has it: missing, cuts, drop, both
 */

const assert = require('assert');
const fs = require('fs');
const path = require('path');
const { Program, sleep, waitFor } = require('../web/program');
const { scenario, assertEmpty } = require('../web/scenario');
const { command, batchFiles } = require('../web/files');
const { COPY, sh, waitDisk, waitNoDisk } = require('./disk');
const { Documents } = require('./documents');
const { childOf } = require('./held');
const { devices, plug, unplug, waitDevice, waitGone } = require('./usb');

const CUTS = Number(process.env.CUTS || 6);
const BATCHES = Number(process.env.BATCHES || 500);
const WAIT_MS = 300000;
const ONLY = process.env.ONLY || '';
const IDLE_S = 10;
const LEAD_MS = 15000; // of the drive, when both ways are used
const LEFT = 'NOT-A-BATCH';

const BOARD = { vid: '1d6b' };

class Board {
    constructor({ world, dir }) {
        Object.assign(this, { world, dir, folder: path.join(dir, 'mnt') });
    }

    get program() {
        return this.courier.program;
    }

    async start() {
        this.courier.spawn('boda-courier', [...this.courier.identityArgs(), '--usb', '--drive=64', '--log-level', 'debug']);
        await this.program.waitLine(/USB gadget at/, WAIT_MS);
    }

    // Until the courier says this, behind the lines that it had said when `from` was taken.
    says(pattern, from) {
        return this.program.waitLine(pattern, WAIT_MS, from);
    }

    get said() {
        return this.program.lines.length;
    }

    // The drive of a host that has just been plugged in.
    async plugged() {
        plug();
        const disk = await waitDisk([this.program]);
        assert.strictEqual(disk.fault(), '');
        disk.mount(this.folder);
        return disk;
    }

    // The host goes; the courier has done what there is to do when its image is in again.
    async unplugged() {
        const from = this.said;
        unplug();
        await waitGone(BOARD, WAIT_MS);
        await waitNoDisk();
        await this.says(/drive: in$/, from);
    }

    get lun() {
        return '/sys/kernel/config/usb_gadget/boda-c1/functions/mass_storage.drive/lun.0/file';
    }

    async held() {
        return (await this.courier.status()).batches.held;
    }

    read(name) {
        return fs.readFileSync(path.join(this.folder, name), 'utf8');
    }
}

// ---- the parts -------------------------------------------------------------------------------------------------------------

// What the keeper is asked to put in is a file of the worker's own, whatever the worker has made of its name.
async function links(board) {
    const place = path.join(board.dir, 'links'), at = (name) => path.join(place, name), NOBODY = 65534;
    fs.mkdirSync(at('closed'), { recursive: true, mode: 0o755 });
    fs.chmodSync(board.dir, 0o755);
    for (const name of ['own', 'closed/own', 'other']) {
        sh('truncate', '-s', '1M', at(name));
    }
    sh('mkfifo', at('pipe'));
    fs.symlinkSync(at('other'), at('link'));
    fs.symlinkSync(place, at('folder'));
    ['own', 'closed/own', 'pipe'].forEach((name) => fs.chownSync(at(name), NOBODY, NOBODY));
    fs.chmodSync(at('other'), 0o666);
    fs.chmodSync(at('closed'), 0o700);
    const names = ['own', 'link', 'other', 'pipe', 'closed/own', 'folder/own', 'nothing'];
    const tool = path.join(board.world.bin, '../tests/vm/lun_insert');
    const lines = sh(tool, 'boda-c1', `${NOBODY}`, `${NOBODY}`, ...names.map(at)).trim().split('\n');
    const expected = [/^in$/, /Too many levels of symbolic links/, /not a file of the courier's own/, /not a file of the courier's own/,
        /Permission denied/, /^in$/, /No such file/];
    assert.strictEqual(lines.length, expected.length, lines.join('\n'));
    expected.forEach((pattern, i) => assert.match(lines[i], pattern, names[i]));
}

async function dropAll(board, files) {
    let disk = await board.plugged();
    assert.deepStrictEqual(devices().find((d) => d.vid === '1d6b').interfaces.map((i) => i.class), ['ff', '08']);
    assert.strictEqual(disk.bytes, 64 << 20);
    assert.match(board.read('README.TXT'), /BODA/);
    assert.match(board.read('STATUS.HTM'), /0 batches wait/);
    assert.deepStrictEqual(fs.readdirSync(path.join(board.folder, 'TO-COURIER')), []);
    for (const file of files) {
        fs.copyFileSync(file, path.join(board.folder, 'TO-COURIER', path.basename(file)));
    }
    fs.writeFileSync(path.join(board.folder, 'TO-COURIER', 'a note.txt'), 'for grandmother');
    disk.unmount();
    const from = board.said, begun_ms = Date.now();
    disk.eject();
    await board.says(/drive: ejected/, from);
    const [, took] = await board.says(/drive: took (\d+) batches/, from);
    console.log(`${took} batches of ${files.length} taken in ${(Date.now() - begun_ms) / 1000} s after the eject`);
    assert.strictEqual(Number(took), files.length);
    assert.strictEqual(await board.held(), files.length);

    // It stays out until the host has gone; then it shows what waits.
    await sleep(3000);
    assert.strictEqual(fs.readFileSync(board.lun, 'utf8').trim(), '');
    await links(board);
    await board.unplugged();
    disk = await board.plugged();
    assert.match(board.read('STATUS.HTM'), new RegExp(`${files.length} batches were taken in`));
    assert.match(board.read('STATUS.HTM'), /<li>a note.txt<\/li>/);
    assert.strictEqual(board.read(`TO-COURIER/${LEFT}/a note.txt`), 'for grandmother');
    const shown = batchFiles(path.join(board.folder, 'server'));
    assert.deepStrictEqual(shown, files.map((file) => path.basename(file)).sort());
    for (const file of files) {
        assert.ok(fs.readFileSync(file).equals(fs.readFileSync(path.join(board.folder, 'server', path.basename(file)))), file);
    }
    disk.unmount();
    await board.unplugged();
}

// Pulled while files are copied: what was on the disk is in the store, and nothing that was not dropped.
async function cut(board, files, random) {
    const before = await board.held(), from = board.said, most = Math.floor(random() * files.length * 0.8);
    const disk = await board.plugged();
    const copy = new Program('copy', 'python3', ['-c', COPY, path.join(board.folder, 'TO-COURIER'), ...files]);
    await waitFor('files are copied', () => copy.lines.length >= most, WAIT_MS, [copy, board.program]);
    await sleep(random() * 300);
    unplug();
    // The host's kernel fails what it had not written.
    await copy.wait(WAIT_MS, [0, 1]).catch(() => copy.kill());
    const written = copy.lines.filter((line) => /\.p7m$/.test(line)).length;
    disk.forget();
    await waitGone(BOARD, WAIT_MS);
    await waitNoDisk();
    await board.says(/drive: in$/, from);
    const held = await board.held();
    console.log(`cut: ${written} of ${files.length} had been written, ${held - before} came in`);
    assert.ok(held >= before + written && held <= before + files.length, `${before}, ${held}\n${board.program.lines.slice(from).join('\n')}`);
    return written;
}

// What a host writes over the whole drive; the courier puts it aside and makes another.
async function scribble(board) {
    const from = board.said, disk = await board.plugged();
    disk.unmount();
    sh('dd', 'if=/dev/urandom', `of=${disk.node}`, 'bs=1M', 'count=8', 'conv=fsync');
    disk.eject();
    await board.says(/the image cannot be read; kept as .*drive\.damaged/, from);
    await board.unplugged();
    const again = await board.plugged();
    assert.match(board.read('STATUS.HTM'), /was damaged/);
    again.unmount();
    await board.unplugged();
}

// A courier that waits, with its drive in nobody's hands, wakes up once a second at most.
async function idle(board) {
    await board.says(/drive: in$/);
    const worker = childOf(board.program.child.pid);
    const switches = () => fs.readdirSync(`/proc/${worker}/task`).reduce((sum, task) =>
        sum + Number(/^voluntary_ctxt_switches:\s*(\d+)/m.exec(fs.readFileSync(`/proc/${worker}/task/${task}/status`))[1]), 0);
    const before = switches();
    await sleep(IDLE_S * 1000);
    const woken = switches() - before;
    console.log(`idle: ${woken} times woken up in ${IDLE_S} s`);
    assert.ok(woken <= IDLE_S + 2, `${woken} in ${IDLE_S} s`);
}

// The same batches by both ways at once, whichever is ahead, and the documents once at the server.
async function bothWays(board, { tablet, dock, server, documents, files, random }) {
    const disk = await board.plugged(), from = board.said;
    for (const file of files) {
        fs.copyFileSync(file, path.join(board.folder, 'TO-COURIER', path.basename(file)));
    }
    disk.unmount();
    disk.eject();
    await board.says(/drive: ejected/, from);
    await sleep(random() * LEAD_MS);
    const cable = tablet.spawn('boda-tablet', [...tablet.identityArgs(), '--http', `127.0.0.1:${tablet.port}`, '--usb']);
    const [, took, had] = await board.says(/drive: took (\d+) batches \(\d+ bytes\), had (\d+)/, from);
    assert.strictEqual(Number(took) + Number(had), files.length);
    await waitFor('all by the cable', async () => (await tablet.status()).batches.held > 0 && (await board.held()) === BATCHES,
        WAIT_MS, [cable, board.program]);
    await cable.waitLine(/safe to unplug/, WAIT_MS);
    await tablet.stop();
    console.log(`both ways: ${took} by the drive first, ${had} by the cable first`);
    await board.unplugged();
    assert.strictEqual(await board.held(), BATCHES);

    plug();
    await waitDevice(BOARD, WAIT_MS);
    await dock.command('run', '--usb', 'any', '--once').wait(WAIT_MS, [0]);
    await documents.compare(server);
    await assertEmpty(dock);
    await board.unplugged();
    const last = await board.plugged();
    // But for the tablet's receipt, which every courier keeps for every dock.
    const shown = batchFiles(path.join(board.folder, 'server'));
    assert.deepStrictEqual(shown.filter((name) => !/-0-[0-9a-f]{16}\.p7m$/.test(name)), []);
    last.unmount();
    await board.unplugged();
}

// ---- where something is missing --------------------------------------------------------------------------------------------

// Starts the courier without this file.
async function startWithout(board, file, pattern, classes) {
    fs.renameSync(file, `${file}.away`);
    await board.start();
    await board.says(pattern);
    plug();
    assert.deepStrictEqual((await waitDevice(BOARD, WAIT_MS)).interfaces.map((i) => i.class), classes);
    unplug();
    await board.program.stop();
    fs.renameSync(`${file}.away`, file);
}

async function missing(board) {
    const [module] = sh('find', `/lib/modules/${sh('uname', '-r').trim()}`, '-name', 'usb_f_mass_storage.ko*').trim().split('\n');
    await startWithout(board, module, /no drive: the kernel has no mass storage .*modprobe usb_f_mass_storage/, ['ff']);
    await startWithout(board, '/usr/sbin/mkfs.fat', /drive: .*mkfs\.fat is not installed: apt-get install mtools dosfstools/,
        ['ff', '08']);
}

// A courier whose store is new.
async function afresh(board) {
    if (board.program && !board.program.ended) {
        await board.program.stop();
    }
    fs.rmSync(board.courier.store, { recursive: true, force: true });
    await board.start();
}

async function cuts(board, all, random) {
    let dropped = 0, written = 0;
    for (let i = 0; i < CUTS; i++) {
        const files = all.slice(dropped, dropped + 20);
        written += await cut(board, files, random);
        dropped += files.length;
    }
    assert.ok(!CUTS || (written > 0 && written < dropped), `${written} of ${dropped} were written before a cut`);
}

scenario('the drive: files dropped are taken in, whatever happens to the cable', async ({ world, dir, seed, random }) => {
    const board = new Board({ world, dir }), documents = new Documents(seed), stick = path.join(dir, 'stick');
    board.courier = await world.courier('c1');
    const server = await world.server([{ user: 'chw1' }], { kind: 'couchdb' });
    const tablet = await world.tablet('t1', { user: 'chw1' }), dock = await world.dock('dock', server);
    const chosen = (name) => name.includes(ONLY);
    unplug();
    fs.mkdirSync(stick);
    if (chosen('missing')) {
        await missing(board);
    }
    await tablet.start();
    await documents.write(tablet, Array.from({ length: BATCHES }, (_, i) => 500 + i % 4000));
    await tablet.stop();
    await command(tablet, 'export', stick);
    const all = batchFiles(stick).filter((name) => name.startsWith('server/')).map((name) => path.join(stick, name));
    assert.strictEqual(all.length, BATCHES);
    if (chosen('cuts')) {
        await afresh(board);
        await idle(board);
        await cuts(board, all, random);
    }
    if (chosen('drop')) {
        await afresh(board);
        await dropAll(board, all);
        await scribble(board);
    }
    if (chosen('both')) {
        await afresh(board);
        await bothWays(board, { tablet, dock, server, documents, files: all, random });
    }
    if (!board.program.ended) {
        await board.program.stop();
    }
});
