// SPDX-License-Identifier: AGPL-3.0-or-later
'use strict';

/*
 * Stations for World (tests/web/stations.js) that meet at a USB port of a test machine with systemd, on which Boda has been
 * installed by make install. The machine is the board all the time, a tablet first, and an office PC while a courier is plugged
 * in at the dock: then it has /etc/boda/dock.ini. What the courier and the dock do there, udev and systemd start: after plug()
 * nothing is called but what looks and waits.
 */

const fs = require('fs');
const path = require('path');
const { run, waitFor } = require('../web/program');
const { Tablet, Courier, Dock, secretFile } = require('../web/stations');
const usb = require('./usb');

const ETC = '/etc/boda';
const START_MS = 180000;

const sh = (command, timeout_ms = START_MS) => run(command.split(' ')[0], 'sh', ['-c', command], { timeout_ms });

const journal = async (unit) => (await sh(`journalctl --no-pager -o cat -u '${unit}'`)).join('\n');


class UsbTablet extends Tablet {
    constructor(world, ...rest) {
        super(world, ...rest);
        world.tablets = [...world.tablets || [], this];
    }

    cableArgs() {
        return ['--usb'];
    }
}

class UsbCourier extends Courier {
    constructor(world, name) {
        super(world, name);
        this.store = '/var/lib/boda/courier';
    }

    // As an administrator does it once.
    async install() {
        fs.copyFileSync(this.identity, `${ETC}/courier.p12`);
        fs.copyFileSync(this.passphrase, `${ETC}/courier.passphrase`);
        await sh(`chown boda: ${ETC}/courier.p12 && chmod 600 ${ETC}/courier.*`);
        await sh('systemctl start boda-courier.service');
        await waitFor(`${this.name}: is a gadget`, async () => /USB gadget at/.test(await journal('boda-courier')), START_MS);
        this.isInstalled = true;
    }

    async plug(station) {
        usb.unplug();
        if (!this.isInstalled) {
            await this.install();
        }
        this.at = station;
        station.courier = this;
        if (station.arrive) {
            await station.arrive();
        }
        usb.plug();
        return this;
    }

    async unplug() {
        usb.unplug();
        await usb.waitGone({ vid: '1d6b' }, START_MS);
        if (this.at.leave) {
            await this.at.leave();
        }
    }
}

class UsbDock extends Dock {
    configure(deployment, server, couriers) {
        this.store = '/var/lib/boda/dock';
        fs.cpSync(deployment, `${ETC}/deployment`, { recursive: true });
        fs.copyFileSync(this.world.passphrase, `${ETC}/dock.passphrase`);
        const file = server.users || server.account;
        const users = secretFile(`${ETC}/${path.basename(file)}`, fs.readFileSync(file));
        super.configure(`${ETC}/deployment`, { ...server, [server.users ? 'users' : 'account']: users }, couriers);
    }

    // The machine becomes an office PC, and is no tablet meanwhile.
    async arrive() {
        this.away = (this.world.tablets || []).filter((tablet) => tablet.program && !tablet.program.ended);
        for (const tablet of this.away) {
            await tablet.stop();
        }
        this.fetches = await this.fetchLines();
        fs.copyFileSync(this.config, `${ETC}/dock.ini`);
        await sh(`chown -R boda: ${ETC} && chmod 600 ${ETC}/dock.passphrase`);
    }

    // The courier is plugged in; all else happens by itself.
    async runOnce(timeout_ms) {
        await waitFor(`${this.name}: all is at the server, and the courier knows`, async () => {
            const here = await this.statusIfMade(), there = await this.courier.status();
            return here && here.batches.partial === 0 && here.batches.applied > 0 &&
                [...here.streams, ...there.streams].every((s) => s.to !== 'server' || s.waiting === 0);
        }, START_MS + timeout_ms).catch(async (e) => {
            throw new Error(`${e.message}\n${await journal('boda-*')}`);
        });
    }

    async fetchLines() {
        return (await journal('boda-dock@*')).split('\n').filter((line) => /down: tablet .* view/.test(line)).length;
    }

    // What has changed for the tablets at the server was fetched since the courier was plugged in.
    async fetched(timeout_ms) {
        await waitFor(`${this.name}: has fetched`, async () => await this.fetchLines() > this.fetches, START_MS + timeout_ms);
    }

    async leave() {
        fs.rmSync(`${ETC}/dock.ini`);
        await waitFor(`${this.name}: has ended`, async () =>
            !(await sh("systemctl list-units --no-legend --state=active 'boda-dock@*'")).length, START_MS);
        for (const tablet of this.away) {
            await tablet.start();
        }
    }
}

// make install, and the classes for World.create.
async function installed(say) {
    say('make install in the test machine');
    await run('make install', 'make', ['-s', 'install'], { timeout_ms: 5 * START_MS });
    fs.mkdirSync(ETC, { recursive: true });
    return { Tablet: UsbTablet, Courier: UsbCourier, Dock: UsbDock };
}

module.exports = { installed };
