#!/usr/bin/env node
// SPDX-License-Identifier: AGPL-3.0-or-later
// machine --udev --memory 2048 --env CUTS --env PULLS --env SEED
// timeout 1500
'use strict';

/*
 * Real media: export to FAT and exFAT, and import into a store on ext4, whose power is cut, or which are pulled, at seeded points.
 * Every batch file that then has its name is whole; what is somebody else's is as it was; the same command once more (after a
 * fsck, where the file system asks for one) completes it, and nothing is doubled.
 *
 * A cut: dm-log-writes has recorded what the program wrote to the device, with its flushes. The device is made anew with the writes
 * up to a point, less some of those that no flush has followed. The control does the same as if there were no flushes: files must
 * be found that are not whole, else the test is blind. A pull: the device fails everything from a moment on, or the kernel takes it away.
 *
 *   CUTS=21, PULLS=6    how many of each in all
 */

const assert = require('assert');
const fs = require('fs');
const path = require('path');
const { spawnSync } = require('child_process');
const { sleep, waitFor } = require('../web/program');
const { scenario } = require('../web/scenario');
const { attribute } = require('./disk');
const { start, command, commandEnds, list, batchFiles, unsound, freshStick, assertTheirs } = require('../web/files');

const CUTS = Number(process.env.CUTS || 21);
const PULLS = Number(process.env.PULLS || 6);
const CONTROLS_MOST = 30;
const BATCHES = 40;
const DEVICE_BYTES = 48 << 20;
const LOG_BYTES = 256 << 20;
const SECTOR = 512;
const WAIT_MS = 60000;

// What an export says of a device that the kernel takes away, perhaps before it has begun; and of one that fails.
const PULLED = { removed: /was it pulled\?|opened as a folder: No such/, pulled: /was it pulled\?|locked by a switch/ };

const env = { ...process.env, PATH: `${process.env.PATH}:/usr/sbin:/sbin` };

const FILE_SYSTEMS = {
    fat12: { type: 'vfat', make: ['mkfs.vfat', '-F', '12', '-a', '-r', '64'] }, // so many names in its root
    vfat: { make: ['mkfs.vfat'], check: ['fsck.vfat', '-a', '-w'] },
    exfat: { make: ['mkfs.exfat'], check: ['fsck.exfat', '-y'] },
    ext4: { make: ['mkfs.ext4', '-q', '-F', '-b', '1024'], check: ['fsck.ext4', '-p'] },
};

function sh(program, ...args) {
    const { status, stdout, stderr, error } = spawnSync(program, args, { encoding: 'utf8', env });
    assert.strictEqual(status, 0, `${program} ${args.join(' ')}: ${error || stderr || stdout || status}`);
    return stdout.trim();
}

// ---- what dm-log-writes has recorded -----------------------------------------------------------------------------------------

const FLUSH = 1, FUA = 2, DISCARD = 4, MARK = 8;

// The writes from the mark `begin` on: {at, data, flush, fua}.
function readLog(file) {
    const log = fs.readFileSync(file);
    assert.strictEqual(log.readBigUInt64LE(0), 0x6a736677736872n, 'no log of dm-log-writes');
    const count = Number(log.readBigUInt64LE(16)), sector = log.readUInt32LE(24), writes = [];
    let at = sector, begun = false;
    for (let i = 0; i < count; i++) {
        const [where, sectors, flags] = [0, 8, 16].map((offset) => Number(log.readBigUInt64LE(at + offset)));
        at += sector;
        if (flags & MARK) {
            begun = true;
            continue;
        }
        const size = flags & DISCARD ? 0 : sectors * sector;
        if (begun) {
            writes.push({ at: where * sector, data: log.subarray(at, at + size), flush: flags & FLUSH, fua: flags & FUA });
        }
        at += size;
    }
    return writes;
}

// What the device has when the power goes behind `count` writes; drop() decides on each that may be lost.
function cut(base, writes, count, drop, hasFlushes = true) {
    const image = Buffer.from(base);
    const flushed = hasFlushes ? writes.slice(0, count).map((write) => write.flush).lastIndexOf(FLUSH) : -1;
    writes.slice(0, count).forEach(({ at, data, fua }, i) => {
        if (i <= flushed || (fua && hasFlushes) || !drop()) {
            data.copy(image, at);
        }
    });
    return image;
}

// ---- devices and mounts --------------------------------------------------------------------------------------------------------

// The disk of scsi_debug, which keeps what is on it while it is away.
function scsiDisk() {
    return waitFor('a disk', () => fs.readdirSync('/sys/block').find((name) =>
        /scsi_debug/.test(attribute(name, 'device/model')) && fs.existsSync(`/dev/${name}`)), WAIT_MS);
}

class Medium {
    constructor(dir, kind) {
        Object.assign(this, { kind, image: path.join(dir, `${kind}.img`), log: path.join(dir, `${kind}.log`) });
        Object.assign(this, { folder: path.join(dir, kind), boda: path.join(dir, kind, 'BODA'), name: `m-${kind}` });
        fs.mkdirSync(this.folder);
    }

    make() {
        fs.writeFileSync(this.image, Buffer.alloc(0));
        fs.truncateSync(this.image, DEVICE_BYTES);
        const [program, ...args] = FILE_SYSTEMS[this.kind].make;
        sh(program, ...args, this.image);
        this.mount();
    }

    format() {
        this.make();
        freshStick(this.boda);
        this.unmount();
        this.base = fs.readFileSync(this.image);
    }

    mount(device = this.image, options = device === this.image ? 'loop' : 'rw') {
        sh('mount', '-t', FILE_SYSTEMS[this.kind].type || this.kind, '-o', options, device, this.folder);
    }

    unmount() {
        sh('umount', this.folder);
    }

    removeMapping() {
        sh('udevadm', 'settle');
        sh('dmsetup', 'remove', '--retry', this.name);
    }

    // Puts this content on the medium.
    write(content) {
        fs.writeFileSync(this.image, content);
    }

    check() {
        const [program, ...args] = FILE_SYSTEMS[this.kind].check;
        const { status, error } = spawnSync(program, [...args, this.image], { encoding: 'utf8', env });
        assert.ok(status === 0 || status === 1, `${program}: ${error || status}`);
    }

    // The writes of body(), recorded.
    async record(body) {
        fs.writeFileSync(this.log, Buffer.alloc(0));
        fs.truncateSync(this.log, LOG_BYTES);
        const [device, log] = [this.image, this.log].map((file) => sh('losetup', '--show', '-f', file));
        sh('dmsetup', 'create', this.name, '--table', `0 ${DEVICE_BYTES / SECTOR} log-writes ${device} ${log}`);
        sh('dmsetup', 'message', this.name, '0', 'mark', 'begin');
        this.mount(`/dev/mapper/${this.name}`);
        await body();
        this.unmount();
        this.removeMapping();
        sh('losetup', '-d', device, log);
        const writes = readLog(this.log);
        fs.rmSync(this.log);
        return writes;
    }

    // As pulled, but the kernel takes the device away, as it does with a stick.
    async removed(body) {
        const disk = await scsiDisk(), host = fs.readlinkSync(`/sys/block/${disk}`).match(/\/(host\d+)\//)[1];
        fs.writeFileSync(`/dev/${disk}`, fs.readFileSync(this.image));
        this.mount(`/dev/${disk}`);
        await body(() => fs.writeFileSync(`/sys/block/${disk}/device/delete`, '1'));
        this.unmount();
        fs.writeFileSync(`/sys/class/scsi_host/${host}/scan`, '- - -');
        fs.writeFileSync(this.image, fs.readFileSync(`/dev/${await scsiDisk()}`));
    }

    // body(pull) with a device that pull() makes fail.
    async pulled(body) {
        const device = sh('losetup', '--show', '-f', this.image), sectors = DEVICE_BYTES / SECTOR;
        sh('dmsetup', 'create', this.name, '--table', `0 ${sectors} linear ${device} 0`);
        this.mount(`/dev/mapper/${this.name}`);
        await body(() => {
            sh('dmsetup', 'suspend', '--noflush', '--nolockfs', this.name);
            sh('dmsetup', 'load', this.name, '--table', `0 ${sectors} error`);
            sh('dmsetup', 'resume', this.name);
        });
        this.unmount();
        this.removeMapping();
        sh('losetup', '-d', device);
    }
}

// ---- the campaign --------------------------------------------------------------------------------------------------------------

class Campaign {
    constructor({ dir, random }, tablet, courier) {
        Object.assign(this, { dir, random, tablet, courier });
        Object.assign(this, { cuts: 0, pulls: 0, amid: 0, checked: 0, renewed: 0, shortened: 0, again: 0 });
    }

    // A courier takes all that is in the folder, each once. FAT may have lost the long name of a file: then it is one more, which
    // the courier leaves, as its short name says nothing.
    async takeAll(folder) {
        fs.rmSync(this.courier.store, { recursive: true, force: true });
        const lines = await start(this.courier, 'import', folder).wait(120000, [0, 1]);
        assert.match(lines[lines.length - 1], new RegExp(`^imported ${BATCHES} batches, had \\d, `));
        const left = lines.filter((line) => /^warning: /.test(line));
        assert.deepStrictEqual(left.filter((line) => !/\/[A-Z0-9_-]{1,8}~\d\.P7M: its name and folder do not say/.test(line)), []);
        this.shortened += left.length;
    }

    // Only a damaged file system is an excuse, and what to do is said: a fsck; a new folder, as fsck.exfat does not mend all. A torn
    // folder of exFAT may also hide a file behind its tear, which the kernel takes for its end.
    async exportAgain(medium) {
        const isExfat = medium.kind === 'exfat';
        const isWhole = (line) => /^exported/.test(line) && (!isExfat || batchFiles(medium.boda).length === BATCHES);
        let line = await commandEnds([0, 1], this.tablet, 'export', medium.boda);
        if (isWhole(line)) {
            return line;
        }
        assert.match(line, isExfat ? /fsck|^exported/ : /fsck/);
        medium.unmount();
        medium.check();
        medium.mount();
        this.checked++;
        line = await commandEnds(isExfat ? [0, 1] : [0], this.tablet, 'export', medium.boda);
        if (!isWhole(line)) {
            medium.unmount();
            medium.mount();
            assertTheirs(medium.boda);
            fs.renameSync(medium.boda, `${medium.boda}.old`);
            freshStick(medium.boda);
            this.renewed++;
            line = await command(this.tablet, 'export', medium.boda);
        }
        return line;
    }

    // A folder that has lost a cluster cannot be read before a fsck.
    isReadable(medium) {
        try {
            batchFiles(medium.boda);
            return true;
        } catch (e) {
            assert.match(e.message, /EIO/);
            return false;
        }
    }

    // What is on the medium after a cut or a pull, at least what was promised, and the export that goes on.
    async goOn(medium, promised = 0) {
        medium.mount();
        assert.ok(!promised || batchFiles(medium.boda).length >= promised, `${promised} files were said to be there`);
        if (this.isReadable(medium)) {
            assert.deepStrictEqual(unsound(medium.boda), [], 'files have their names without their bytes');
            const there = batchFiles(medium.boda).length;
            this.amid += there > 0 && there < BATCHES;
            assertTheirs(medium.boda);
        }
        const line = await this.exportAgain(medium);
        assert.match(line, /^exported \d+ batch/);
        assert.deepStrictEqual(unsound(medium.boda), []);
        assert.strictEqual(batchFiles(medium.boda).length, BATCHES);
        assertTheirs(medium.boda);
        await this.takeAll(medium.boda);
        medium.unmount();
    }

    async exportCuts(kind, cuts) {
        const medium = new Medium(this.dir, kind);
        medium.format();
        const writes = await medium.record(() => command(this.tablet, 'export', medium.boda));
        assert.ok(writes.filter((write) => write.flush).length >= 3, `${kind}: the device was hardly flushed`);
        for (let i = 0; i < cuts; i++) {
            const count = Math.floor(this.random() * (writes.length + 1)), lost = this.random() * 0.8;
            console.log(`${kind}: the power goes behind ${count} of ${writes.length} writes, ${lost.toFixed(2)} of what is not flushed is lost`);
            medium.write(cut(medium.base, writes, count, () => this.random() < lost));
            await this.goOn(medium);
            this.cuts++;
        }
        this.control(medium, writes);
        return medium;
    }

    // Without flushes, names must be found that have not their bytes, or a file system that cannot be read.
    control(medium, writes) {
        for (let i = 0; i < CONTROLS_MOST; i++) {
            medium.write(cut(medium.base, writes, writes.length, () => this.random() < 0.3, false));
            medium.mount();
            let bad;
            try {
                bad = unsound(medium.boda).length > 0;
            } catch (e) {
                bad = true;
            }
            medium.unmount();
            if (bad) {
                console.log(`${medium.kind}: the control found a loss`);
                return;
            }
        }
        assert.fail(`${medium.kind}: without flushes nothing was lost: this test is blind`);
    }

    async exportPulls(medium, pulls) {
        medium.write(medium.base);
        const begin_ms = Date.now();
        await medium.pulled(() => command(this.tablet, 'export', medium.boda));
        const length_ms = Date.now() - begin_ms;
        for (let i = 0; i < pulls; i++) {
            medium.write(medium.base);
            const after_ms = this.random() * length_ms, way = i % 2 === 0 ? 'removed' : 'pulled';
            let promised;
            await medium[way](async (pull) => {
                const program = start(this.tablet, 'export', medium.boda);
                await sleep(after_ms);
                pull();
                const lines = await program.wait(120000, [0, 1]);
                promised = Number(/^exported (\d+) batch/m.exec(lines.join('\n'))?.[1] || 0);
                const error = lines.find((text) => /^error: /.test(text)) || '';
                console.log(`${medium.kind}: ${way} after ${Math.round(after_ms)} ms: ${promised} written; ${error}`);
                assert.match(error, promised === BATCHES ? /^$/ : PULLED[way]);
            });
            await this.goOn(medium, promised);
            this.pulls++;
        }
    }

    // Taken away amid the files, when nothing waits to be written, the failure of which would tell: it is not said to be full, as Linux
    // says of a root that it cannot read.
    async removedAmid(medium) {
        await medium.removed(async (pull) => {
            const program = start(this.tablet, 'export', medium.folder), made = new Set();
            const watcher = fs.watch(medium.folder, (event, name) => {
                if (/^\.boda-/.test(name) && made.size < 5 && made.add(name).size === 5) { // beyond README.TXT
                    program.child.kill('SIGSTOP');
                }
            });
            await waitFor('temporary files', () => made.size === 5, WAIT_MS, [program]);
            watcher.close();
            sh('sync', '-f', medium.folder);
            pull();
            program.child.kill('SIGCONT');
            const said = (await program.wait(120000, [1])).join('\n');
            console.log(`a small FAT: taken away amid the files: ${said}`);
            assert.match(said, /No such device; was it pulled\?/);
            assert.doesNotMatch(said, /^exported/m);
        });
    }

    // A FAT whose root has fewer names than a group has files; then one with little room, which takes what it can.
    async smallMedium() {
        const medium = new Medium(this.dir, 'fat12'), filler = path.join(medium.folder, 'filler');
        const sizes = () => batchFiles(medium.folder).map((name) => fs.statSync(path.join(medium.folder, name)).size);
        medium.make();
        medium.unmount();
        await this.removedAmid(medium);
        medium.make();
        await command(this.tablet, 'export', medium.folder);
        assert.strictEqual(batchFiles(medium.folder).length, BATCHES);
        assert.deepStrictEqual(unsound(medium.folder), []);

        const bytes = sizes().reduce((sum, size) => sum + size);
        fs.rmSync(path.join(medium.folder, 'server'), { recursive: true });
        const { bavail, bsize } = fs.statfsSync(medium.folder);
        fs.writeFileSync(filler, Buffer.alloc(bavail * bsize - Math.round(bytes / 2)));
        const lines = await start(this.tablet, 'export', medium.folder).wait(120000, [1]);
        assert.match(lines.join('\n'), /make room on it, or go on with another medium/);
        const there = batchFiles(medium.folder).length;
        assert.ok(there > 0 && there < BATCHES, `${there} files on the full medium`);
        assert.deepStrictEqual(unsound(medium.folder), []);
        assert.deepStrictEqual(list(medium.folder).filter((name) => name.startsWith('.boda-')), []);
        fs.rmSync(filler);
        assert.match(await command(this.tablet, 'export', medium.folder), new RegExp(`^exported ${BATCHES - there} batch`));
        assert.strictEqual(batchFiles(medium.folder).length, BATCHES);
        medium.unmount();
        console.log(`a small FAT: all ${BATCHES} in its root, ${there} of them when it was nearly full`);
    }

    async importCuts(cuts, folder) {
        const medium = new Medium(this.dir, 'ext4');
        this.courier.store = path.join(medium.folder, 'store');
        medium.format();
        const writes = await medium.record(() => command(this.courier, 'import', folder));
        for (let i = 0; i < cuts; i++) {
            const count = Math.floor(this.random() * (writes.length + 1)), lost = this.random() * 0.8;
            console.log(`import: the power goes behind ${count} of ${writes.length} writes, ${lost.toFixed(2)} of what is not flushed is lost`);
            medium.write(cut(medium.base, writes, count, () => this.random() < lost));
            medium.mount();
            const [taken, had] = (await command(this.courier, 'import', folder)).match(/\d+/g).map(Number);
            assert.strictEqual(taken + had, BATCHES);
            this.again += taken;
            const { held, partial, aside } = (await this.courier.status()).batches;
            assert.deepStrictEqual({ held, partial, aside }, { held: BATCHES, partial: 0, aside: 0 });
            medium.unmount();
            this.cuts++;
        }
    }
}

// So many batches of 1 to 100 KB.
async function fill(tablet, random) {
    for (let i = 0; i < BATCHES; i++) {
        const noise = require('crypto').randomBytes(Math.floor(700 * 100 ** random())).toString('base64');
        const { status } = await tablet.ask('POST', 'medic/_bulk_docs', { new_edits: false, docs: [{ _id: `d${i}`, _rev: '1-a',
            _revisions: { start: 1, ids: ['a'] }, type: 'data_record', noise }] });
        assert.strictEqual(status, 201);
    }
}

async function run(test) {
    const { dir, world, random } = test;
    const tablet = await world.tablet('t1', { user: 'chw1' }), courier = await world.courier('c1');
    const campaign = new Campaign(test, tablet, courier);

    ['vfat', 'exfat', 'ext4', 'loop', 'dm-log-writes', 'nls_ascii', 'nls_utf8', 'nls_cp437'].forEach((name) => sh('modprobe', name));
    sh('modprobe', 'scsi_debug', `dev_size_mb=${DEVICE_BYTES >> 20}`);
    await tablet.start();
    await fill(tablet, random);
    await tablet.stop();

    await campaign.smallMedium();
    const fat = await campaign.exportCuts('vfat', Math.ceil(CUTS / 3));
    const exfat = await campaign.exportCuts('exfat', Math.ceil(CUTS / 3));
    await campaign.exportPulls(fat, Math.ceil(PULLS / 2));
    await campaign.exportPulls(exfat, Math.ceil(PULLS / 2));
    const folder = freshStick(path.join(dir, 'stick'));
    await command(tablet, 'export', folder);
    assert.strictEqual(list(folder).filter((name) => name.startsWith('.boda-')).length, 0);
    await campaign.importCuts(Math.ceil(CUTS / 3), folder);
    const { cuts, pulls, amid, checked, renewed, shortened, again } = campaign;
    console.log(`${cuts} cuts, ${pulls} pulls; ${amid} exports ended amid the batches, ${checked} media wanted a fsck first, ${renewed} of them a new ` +
        `folder too, ${shortened} files had lost their long names; ${again} batches were imported again; 0 files with wrong bytes, 0 lost, 0 doubled`);
}

scenario(`${CUTS} power cuts and ${PULLS} pulled sticks`, (test) => run(test).finally(() => {
    // What a failure leaves mounted would be in the way of taking the folder away.
    spawnSync('umount', ['-a', '-l', '-t', 'vfat,exfat,ext4'], { env });
}));
