// SPDX-License-Identifier: AGPL-3.0-or-later
'use strict';

/*
 * A courier's drive as a host sees it: a removable disk, which a file manager mounts, copies to and ejects.
 *
 *   const disk = await waitDisk();  disk.mount(folder);  ...  disk.unmount();  disk.eject();
 */

const assert = require('assert');
const fs = require('fs');
const path = require('path');
const { spawnSync } = require('child_process');
const { waitFor } = require('../web/program');

const BLOCK = '/sys/block';
const WAIT_MS = 120000;

// As eject(1): SCSI_IOCTL_DOORUNLOCK, as the open disk is locked (PREVENT ALLOW MEDIUM REMOVAL), and CDROMEJECT, which a disk takes as
// START STOP UNIT with LOEJ (SBC-3, 5.25). Their result is the command's.
const EJECT = `
import fcntl, os, sys
disk = os.open(sys.argv[1], os.O_RDONLY | os.O_NONBLOCK)
sys.exit(fcntl.ioctl(disk, 0x5381) != 0 or fcntl.ioctl(disk, 0x5309) != 0)
`;

// Copies each file, and says its name when file and name are on the disk. A folder that was opened after the disk has gone would hear
// that all is well.
const COPY = `
import ctypes, os, shutil, sys
libc = ctypes.CDLL(None, use_errno=True)
target = sys.argv[1]
folder = os.open(target, os.O_RDONLY)
for name in sys.argv[2:]:
    shutil.copyfile(name, os.path.join(target, os.path.basename(name)))
    if libc.syncfs(folder) != 0:
        sys.exit('syncfs: ' + os.strerror(ctypes.get_errno()))
    os.fsync(folder)
    print(os.path.basename(name), flush=True)
`;

function sh(program, ...args) {
    const env = { ...process.env, PATH: `${process.env.PATH}:/usr/sbin:/sbin` };
    const { status, stdout, stderr, error } = spawnSync(program, args, { encoding: 'utf8', env });
    assert.strictEqual(status, 0, `${program} ${args.join(' ')}: ${error || stderr || stdout || status}`);
    return stdout;
}

// Of a block device, or nothing.
const attribute = (name, what) => {
    try {
        return fs.readFileSync(path.join(BLOCK, name, what), 'utf8').trim();
    } catch (e) {
        return '';
    }
};

// Names of the disks that the USB port has, with a medium or without.
function disks() {
    return fs.readdirSync(BLOCK).filter((name) => /^sd/.test(name) && /\/usb\d/.test(fs.realpathSync(path.join(BLOCK, name))));
}

class Disk {
    constructor(name) {
        Object.assign(this, { name, node: `/dev/${name}`, folder: null });
    }

    get bytes() {
        return Number(attribute(this.name, 'size')) * 512;
    }

    mount(folder, options = 'rw') {
        fs.mkdirSync(folder, { recursive: true });
        sh('mount', '-t', 'vfat', '-o', options, this.node, folder);
        this.folder = folder;
    }

    unmount() {
        sh('umount', this.folder);
    }

    // When its cable has been pulled: what the kernel still has of it goes nowhere.
    forget() {
        sh('umount', '-l', this.folder);
    }

    eject() {
        sh('python3', '-c', EJECT, this.node);
    }

    // The fault that fsck finds, or nothing.
    fault() {
        const { status, stdout, error } = spawnSync('/usr/sbin/fsck.fat', ['-n', this.node], { encoding: 'utf8' });
        return status === 0 ? '' : `${error || stdout}`;
    }
}

// The disk at the port, once it has a medium.
async function waitDisk(programs = []) {
    const name = await waitFor('a disk with a medium', () =>
        disks().find((disk) => Number(attribute(disk, 'size')) > 0 && fs.existsSync(`/dev/${disk}`)), WAIT_MS, programs);
    return new Disk(name);
}

const waitNoDisk = () => waitFor('no disk', () => !disks().length, WAIT_MS);

module.exports = { attribute, COPY, Disk, disks, sh, waitDisk, waitNoDisk };
