#!/usr/bin/env node
// SPDX-License-Identifier: AGPL-3.0-or-later
'use strict';

/*
 * 500 batch files dropped on a courier's drive, through the kernel's mass storage function, in a test machine with virtual time
 * (tests/bench/drive.sh): seconds, and what the courier holds. Outside the machine, `drive.js make FOLDER` makes identity and
 * files; inside, `drive.js measure FOLDER` does the rest. Node's own work and the host's are in the figures, as all share the one
 * processor; so something runs that never waits and yields to all others, as in usb/plug.js.
 */

const fs = require('fs');
const path = require('path');
const { spawn } = require('child_process');
const { Program, waitFor } = require('../web/program');
const { World } = require('../web/stations');
const { command, batchFiles } = require('../web/files');
const { Documents } = require('../vm/documents');

const FILES = Number(process.env.FILES || 500), DOC_BYTES = 20000;
const WAIT_MS = 900000;
const LUN = '/sys/kernel/config/usb_gadget/boda-c1/functions/mass_storage.drive/lun.0/file';

async function make(dir) {
    const world = await World.create({ dir, bin: path.resolve(process.env.BIN) });
    const tablet = await world.tablet('t1', { user: 'chw1' });
    await world.courier('c1');
    await tablet.start();
    await new Documents(1).write(tablet, Array(FILES).fill(DOC_BYTES));
    await tablet.stop();
    fs.mkdirSync(path.join(dir, 'stick'));
    await command(tablet, 'export', path.join(dir, 'stick'));
}

async function timed(what, body) {
    const begun_ms = Date.now();
    await body();
    console.log(`  ${what.padEnd(60)} ${((Date.now() - begun_ms) / 1000).toFixed(1).padStart(6)} s`);
}

async function measure(dir) {
    const { plug, unplug, waitGone } = require('../vm/usb');
    const { waitDisk, waitNoDisk } = require('../vm/disk');
    const dropped = '/tmp/stick', mounted = '/tmp/mounted', store = '/tmp/store';
    const spinner = spawn('chrt', ['--idle', '0', 'sh', '-c', 'while :; do :; done'], { stdio: 'ignore' });
    fs.cpSync(dir, '/tmp/world', { recursive: true });
    fs.cpSync(path.join(dir, 'stick/server'), dropped, { recursive: true });
    const files = batchFiles(dropped), bytes = files.reduce((sum, name) => sum + fs.statSync(path.join(dropped, name)).size, 0);
    unplug();
    const courier = new Program('c1', path.join(process.env.BIN, 'boda-courier'), ['--identity', '/tmp/world/c1.p12',
        '--passphrase-file', '/tmp/world/c1.pass', '--store', store, '--usb', '--drive'], {});
    const ready = () => waitFor('the drive is ready', () => fs.existsSync(LUN) && fs.readFileSync(LUN, 'utf8').trim(), WAIT_MS, [courier]);
    console.log(`drive: ${files.length} files, ${bytes} bytes`);
    await timed('made, as nothing waits', ready);
    plug();
    const disk = await waitDisk([courier]);
    disk.mount(mounted);
    await timed('the host copies them, and unmounts', async () => {
        files.forEach((name) => fs.copyFileSync(path.join(dropped, name), path.join(mounted, 'TO-COURIER', name)));
        disk.unmount();
    });
    await timed('from the eject until all is in the store', async () => {
        disk.eject();
        const [, took] = await courier.waitLine(/drive: took (\d+) batches/, WAIT_MS);
        if (Number(took) !== files.length) {
            throw new Error(`${took} of ${files.length} came`);
        }
    });
    const begun_ms = Date.now();
    await waitFor('made', () => !fs.existsSync(`${store}/drive.stage`), WAIT_MS, [courier]);
    console.log(`  ${'and the drive is made anew, with them as waiting'.padEnd(60)} ${((Date.now() - begun_ms) / 1000).toFixed(1).padStart(6)} s`);
    unplug();
    await waitGone({ vid: '1d6b' }, WAIT_MS);
    await waitNoDisk();
    await ready();
    plug();
    const again = await waitDisk([courier]);
    again.mount(mounted);
    const shown = batchFiles(path.join(mounted, 'server')).length;
    again.unmount();
    const worker = fs.readFileSync(`/proc/${courier.child.pid}/task/${courier.child.pid}/children`, 'utf8').trim();
    const [, peak_kib] = /VmHWM:\s+(\d+)/.exec(fs.readFileSync(`/proc/${worker}/status`, 'utf8'));
    console.log(`  shown at the next plug: ${shown}; the courier's peak: ${(peak_kib / 1024).toFixed(1)} MiB`);
    spinner.kill('SIGKILL');
    await courier.stop();
    if (shown !== files.length) {
        throw new Error(`${shown} of ${files.length} shown`);
    }
}

const [what, dir] = process.argv.slice(2);
({ make, measure })[what](dir).then(() => process.exit(0), (e) => {
    console.error(e);
    process.exit(1);
});
