// SPDX-License-Identifier: AGPL-3.0-or-later
'use strict';

/*
 * Honest stations at a USB cable, for tests of what others do to them.
 *
 *   const courier = await usbCourier(world, 'c1');  await courier.start();
 *   const tablet = new HonestTablet(await world.tablet('t1', { user: 'chw1' }));
 *   await tablet.carryOne();
 */

const assert = require('assert');
const { spawnSync } = require('child_process');
const fs = require('fs');
const path = require('path');
const { waitDevice } = require('./usb');

const WAIT_MS = 60000;
const bin = path.resolve(process.env.BIN || path.join(__dirname, '../../build/gcc/bin'));

// A program of tests/vm, as make vm-tools builds it.
const tool = (name) => path.join(bin, '../tests/vm', name);

// The kernel has found no fault in itself.
function noComplaints() {
    const complaints = spawnSync('dmesg', { encoding: 'utf8' }).stdout.split('\n').filter((l) => /BUG|WARNING|Oops|hung/.test(l));
    assert.deepStrictEqual(complaints, []);
}

// A courier at the UDC of PORT.
async function usbCourier(world, name, port = 0) {
    const courier = await world.courier(name);
    return Object.assign(courier, {
        port,

        async start() {
            courier.spawn('boda-courier', [...courier.identityArgs(), '--usb', '--udc', `dummy_udc.${port}`,
                '--log-level', 'debug']);
            await courier.there();
        },

        // Its device, once it is there.
        there: () => waitDevice({ product: `Boda courier ${name}`, port }),

        // The process that speaks with hosts; its parent is the keeper.
        async worker() {
            const { pid } = courier.program.child;
            const children = fs.readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(/\s+/);
            assert.strictEqual(children.length, 1);
            return Number(children[0]);
        },

        async resources() {
            const worker = await courier.worker();
            const [, memory] = /VmRSS:\s+(\d+) kB/.exec(fs.readFileSync(`/proc/${worker}/status`, 'utf8'));
            return { worker, files: fs.readdirSync(`/proc/${worker}/fd`).length, memory_kb: Number(memory) };
        },
    });
}

// A tablet at a USB port, and what it brings.
class HonestTablet {
    constructor(tablet) {
        Object.assign(this, { tablet, written: 0 });
    }

    get program() {
        return this.tablet.program;
    }

    async start(cable = '--usb', env = {}) {
        const { tablet } = this;
        tablet.world.env = env;
        tablet.spawn('boda-tablet', [...tablet.identityArgs(), '--http', '127.0.0.1:0', cable]);
        delete tablet.world.env;
        [, tablet.port] = await tablet.program.waitLine(/http: listening on 127\.0\.0\.1:(\d+)/, WAIT_MS);
    }

    connected(line = 0) {
        return this.program.waitLine(/courier \S+: connected/, WAIT_MS, line);
    }

    stop() {
        return this.tablet.stop();
    }

    kill() {
        return this.tablet.kill();
    }

    // A new document, as PouchDB writes one.
    async write() {
        const { user, secret, port } = this.tablet, id = '0123456789abcdef0123456789abcdef';
        const authorization = 'Basic ' + Buffer.from(`${user}:${secret}`).toString('base64');
        const doc = { _id: `doc-${this.written++}`, _rev: `1-${id}`, _revisions: { start: 1, ids: [id] }, type: 'data_record' };
        const answer = await fetch(`http://127.0.0.1:${port}/medic/_bulk_docs`, { method: 'POST',
            headers: { 'content-type': 'application/json', authorization },
            body: JSON.stringify({ docs: [doc], new_edits: false }) });
        assert.strictEqual(answer.status, 201, await answer.text());
    }

    // One whole visit, from the program's start to its end, that moves a batch; how long it took. "sent" counts what the courier
    // has said is stored.
    async carryOne(cable) {
        const begin_ms = Date.now();
        await this.start(cable);
        await this.write();
        await this.program.waitLine(/courier \S+: sent [1-9]\d* batches.*safe to unplug/, WAIT_MS);
        await this.stop();
        return Date.now() - begin_ms;
    }
}

module.exports = { HonestTablet, noComplaints, tool, usbCourier };
