#!/usr/bin/env node
// SPDX-License-Identifier: AGPL-3.0-or-later
// machine --systemd --memory 2048
// timeout 900
'use strict';

/*
 * The drive of an installed courier: the unit lets the keeper put the image in and the worker, who is boda, run its tools. What is
 * dropped comes in, and the image is private.
 */

const assert = require('assert');
const fs = require('fs');
const path = require('path');
const { waitFor } = require('../web/program');
const { command, batchFiles } = require('../web/files');
const { World } = require('../web/stations');
const { sh, waitDisk, waitNoDisk } = require('./disk');
const { Documents } = require('./documents');
const { installed } = require('./stations');
const { plug, unplug } = require('./usb');

const WAIT_MS = 300000;
const LUN = '/sys/kernel/config/usb_gadget/boda-c1/functions/mass_storage.drive/lun.0/file';
const IMAGE = '/var/lib/boda/courier/drive.img';

const journal = () => sh('journalctl', '--no-pager', '-o', 'cat', '-u', 'boda-courier');

async function says(pattern) {
    return waitFor(`the courier says ${pattern}`, () => pattern.exec(journal()), WAIT_MS).catch((e) => {
        throw new Error(`${e.message}\n${journal()}`);
    });
}

async function main() {
    const dir = fs.mkdtempSync('/tmp/b-'), stick = path.join(dir, 'stick'), mounted = path.join(dir, 'mnt');
    const classes = await installed(console.log);
    const world = await World.create({ dir, bin: '/usr/local/bin', classes });
    const tablet = await world.tablet('t1', { user: 'chw1' }), courier = await world.courier('c1');
    tablet.cableArgs = () => ['--connect', `unix:${tablet.cable}`];
    await tablet.start();
    await new Documents(1).write(tablet, [500, 5000, 500]);
    await tablet.stop();
    fs.mkdirSync(stick);
    await command(tablet, 'export', stick);

    unplug();
    fs.writeFileSync('/etc/boda/courier.conf', 'OPTIONS=--drive=32\n');
    await courier.install();
    await waitFor('the drive is ready', () => fs.readFileSync(LUN, 'utf8').trim(), WAIT_MS).catch((e) => {
        throw new Error(`${e.message}\n${journal()}`);
    });
    assert.strictEqual(fs.readFileSync(LUN, 'utf8').trim(), IMAGE);
    const { mode, uid } = fs.statSync(IMAGE);
    assert.strictEqual(mode & 0o777, 0o600);
    assert.strictEqual(String(uid), sh('id', '-u', 'boda').trim());

    plug();
    const disk = await waitDisk();
    disk.mount(mounted);
    const files = batchFiles(path.join(stick, 'server'));
    files.forEach((name) => fs.copyFileSync(path.join(stick, 'server', name), path.join(mounted, 'TO-COURIER', name)));
    disk.unmount();
    disk.eject();
    assert.strictEqual(Number((await says(/drive: took (\d+) batches/))[1]), files.length);
    unplug();
    await waitNoDisk();
    await waitFor('the drive is in again', () => fs.readFileSync(LUN, 'utf8').trim() === IMAGE, WAIT_MS);
    sh('systemctl', 'stop', 'boda-courier.service');
    assert.ok(!fs.existsSync(LUN));
    console.log(`${files.length} batches came by the drive of an installed courier`);
}

main().then(() => process.exit(0), (e) => {
    console.error(e);
    process.exit(1);
});
