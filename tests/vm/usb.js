// SPDX-License-Identifier: AGPL-3.0-or-later
'use strict';

/*
 * The USB ports and devices of a test machine, for tests that run in it. Port K joins the UDC dummy_udc.K to the root hub (at
 * super speed, both root hubs) of dummy_hcd.K. Every wait has a bound.
 *
 *   await unplug();  await waitGone({ port: 0 });  await plug();
 *   const device = await waitDevice({ vid: '1d6b', product: 'Boda' });
 */

const fs = require('fs');
const path = require('path');

const DEVICES = '/sys/bus/usb/devices';
const POLL_MS = 20;
const WAIT_MS = 30000;

const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

function list(folder) {
    try {
        return fs.readdirSync(folder).sort();
    } catch (e) {
        return [];
    }
}

// An attribute's text, or '' where there is none: a device may go while it is looked at.
function read(...parts) {
    try {
        return fs.readFileSync(path.join(...parts), 'utf8').trim();
    } catch (e) {
        return '';
    }
}

const udcs = () => list('/sys/class/udc');

// The root hubs of a port, such as usb1.
const rootHubs = (port) => list(`/sys/devices/platform/dummy_hcd.${port}`).filter((name) => /^usb\d+$/.test(name));

// The files in which 1 pulls a port's cable, one a root hub.
function disableFiles(port) {
    const hubs = rootHubs(port);
    if (!hubs.length) {
        throw new Error(`port ${port}: the machine has no dummy_hcd.${port}: start it with --ports ${port + 1}`);
    }
    return hubs.map((hub) => `${DEVICES}/${hub.slice(3)}-0:1.0/${hub}-port1/disable`);
}

const disable = (port, value) => disableFiles(port).forEach((file) => fs.writeFileSync(file, value));

// The cable of a port. What is plugged in enumerates some time later; what is unplugged is gone at once.
const plug = (port = 0) => disable(port, '0');
const unplug = (port = 0) => disable(port, '1');

// The driver's name, or '' without one.
function driverOf(folder) {
    try {
        return path.basename(fs.readlinkSync(path.join(folder, 'driver')));
    } catch (e) {
        return '';
    }
}

function interfaces(name) {
    return list(`${DEVICES}/${name}`).filter((entry) => entry.startsWith(`${name}:`)).map((entry) => {
        const folder = path.join(DEVICES, name, entry);
        return {
            number: parseInt(read(folder, 'bInterfaceNumber'), 16),
            class: read(folder, 'bInterfaceClass'),
            subclass: read(folder, 'bInterfaceSubClass'),
            protocol: read(folder, 'bInterfaceProtocol'),
            driver: driverOf(folder),
        };
    });
}

// The configured devices that are present, but for root hubs. Numbers from sysfs stay hexadecimal text: vid '1d6b', class 'ff'.
function devices() {
    const hubs = new Map(udcs().flatMap((_, port) => rootHubs(port).map((hub) => [hub.slice(3), port])));
    return list(DEVICES).filter((name) => /^\d+-[\d.]+$/.test(name)).map((name) => ({
        name,
        port: hubs.get(name.split('-')[0]),
        bus: Number(read(DEVICES, name, 'busnum')),
        dev: Number(read(DEVICES, name, 'devnum')),
        vid: read(DEVICES, name, 'idVendor'),
        pid: read(DEVICES, name, 'idProduct'),
        serial: read(DEVICES, name, 'serial'),
        product: read(DEVICES, name, 'product'),
        speed: read(DEVICES, name, 'speed'),
        interfaces: interfaces(name),
    })).filter((device) => device.vid && device.interfaces.length);
}

// The devices that fit: a function of one, or an object whose every value is the device's.
function matching(wanted) {
    const fits = typeof wanted === 'function' ? wanted
        : (device) => Object.entries(wanted).every(([key, value]) => device[key] === value);
    return devices().filter(fits);
}

async function wait(what, wanted, timeout_ms, fn) {
    const end_ms = Date.now() + timeout_ms;
    for (;;) {
        const value = fn(matching(wanted));
        if (value) {
            return value;
        }
        if (Date.now() > end_ms) {
            throw new Error(`${what} within ${timeout_ms / 1000} s: ${typeof wanted === 'function' ? wanted
                : JSON.stringify(wanted)}; present: ${JSON.stringify(devices())}`);
        }
        await sleep(POLL_MS);
    }
}

// The first device that fits, once it is there.
const waitDevice = (wanted = {}, timeout_ms = WAIT_MS) => wait('no USB device', wanted, timeout_ms, (found) => found[0]);

// Until no device fits. A device that comes back within POLL_MS is not seen to have gone: wait for another dev instead.
const waitGone = (wanted = {}, timeout_ms = WAIT_MS) =>
    wait('the USB device did not go', wanted, timeout_ms, (found) => !found.length);

module.exports = { devices, disableFiles, plug, udcs, unplug, waitDevice, waitGone };
