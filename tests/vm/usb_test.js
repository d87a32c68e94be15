#!/usr/bin/env node
// SPDX-License-Identifier: AGPL-3.0-or-later
// machine --udev --speed super
'use strict';

/* usb.js tells what is plugged in and what has gone, at super speed too, and its waits do end. */

const assert = require('assert');
const fs = require('fs');
const { devices, plug, udcs, unplug, waitDevice, waitGone } = require('./usb');

function gadget(serial, udc) {
    const dir = `/sys/kernel/config/usb_gadget/${serial}`;
    ['strings/0x409', 'configs/c.1', 'functions/SourceSink.0'].forEach((sub) => fs.mkdirSync(`${dir}/${sub}`, { recursive: true }));
    Object.entries({ idVendor: '0x1d6b', idProduct: '0x0104', 'strings/0x409/serialnumber': serial,
        'strings/0x409/product': 'source and sink' }).forEach(([file, text]) => fs.writeFileSync(`${dir}/${file}`, text));
    fs.symlinkSync(`${dir}/functions/SourceSink.0`, `${dir}/configs/c.1/f`);
    fs.writeFileSync(`${dir}/UDC`, udc);
}

async function main() {
    assert.deepStrictEqual(udcs(), ['dummy_udc.0']);
    assert.deepStrictEqual(devices(), []);
    await assert.rejects(waitDevice({ serial: 's1' }, 100), /no USB device within 0.1 s/);
    gadget('s1', 'dummy_udc.0');
    const device = await waitDevice({ serial: 's1' });
    const { vid, pid, product, port, speed, interfaces } = device;
    assert.deepStrictEqual({ vid, pid, product, port, speed },
        { vid: '1d6b', pid: '0104', product: 'source and sink', port: 0, speed: '5000' });
    assert.deepStrictEqual(interfaces.map((i) => [i.number, i.class]), [[0, 'ff']]);
    const node = (d) => `/dev/bus/usb/${String(d.bus).padStart(3, '0')}/${String(d.dev).padStart(3, '0')}`;
    assert.ok(fs.statSync(node(device)).isCharacterDevice());
    await assert.rejects(waitGone({ serial: 's1' }, 100), /did not go within 0.1 s/);
    unplug();
    await waitGone({ serial: 's1' });
    assert.ok(!fs.existsSync(node(device)));
    plug();
    const again = await waitDevice((d) => d.serial === 's1');
    assert.notStrictEqual(again.dev, device.dev);
    assert.throws(() => unplug(7), /no dummy_hcd.7/);
}

main().catch((e) => {
    console.error(e);
    process.exitCode = 1;
});
