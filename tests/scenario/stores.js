#!/usr/bin/env node
// SPDX-License-Identifier: AGPL-3.0-or-later
'use strict';

/*
 * Each station with a store that is damaged, of a newer schema, locked, read only or another station's: a clear word, exit status
 * 1 or 75, the store left alone or moved aside, never silently recreated.
 */

const assert = require('assert');
const fs = require('fs');
const path = require('path');
const { Program, run } = require('../web/program');
const { scenario } = require('../web/scenario');

const sql = (station, text) => run('sqlite3', 'sqlite3', [path.join(station.store, 'boda.db'), text]);

// Starts the station on its store and expects it to end, saying so.
async function refuses(station, start, words, statuses = [1]) {
    const program = await start();
    const lines = (await program.wait(30000, statuses)).join('\n');
    assert.match(lines, words, `${station.name}: ${lines}`);
}

async function damaged(station, start) {
    const file = path.join(station.store, 'boda.db');
    fs.rmSync(`${file}-wal`, { force: true });
    fs.writeFileSync(file, Buffer.alloc(50000, 'not a database '));
    await refuses(station, start, /damaged/);
    assert.ok(fs.readdirSync(station.store).some((name) => /damaged/.test(name)), 'moved aside');
    const moved = fs.readdirSync(station.store).find((name) => /damaged-\d+$/.test(name));
    assert.strictEqual(fs.statSync(path.join(station.store, moved)).size, 50000, 'kept as it was');
}

async function newer(station, start) {
    const [version] = await sql(station, 'PRAGMA user_version');
    await sql(station, 'PRAGMA user_version=9999');
    await refuses(station, start, /newer|update/);
    await sql(station, `PRAGMA user_version=${version}`);
}

async function locked(station, start) {
    const holder = new Program('holder', 'sqlite3', [path.join(station.store, 'boda.db'),
        'PRAGMA locking_mode=EXCLUSIVE;', 'BEGIN EXCLUSIVE;', '.shell echo locked; exec sleep 20 >/dev/null 2>&1'], {});
    await holder.waitLine(/^locked/);
    await refuses(station, start, /another program/, [1, 75]);
    await holder.kill();
}

async function readOnly(station, startArgs) {
    if (process.getuid() !== 0) {
        console.log('read only: skipped, needs root');
        return;
    }
    const [command, ...args] = startArgs;
    const quoted = [command, ...args].map((a) => `'${a}'`).join(' ');
    const program = new Program(station.name, 'unshare', ['-m', 'sh', '-c',
        `mount --bind '${station.store}' '${station.store}' && mount -o remount,ro,bind '${station.store}' && exec ${quoted}`]);
    const lines = (await program.wait(30000, [1])).join('\n');
    assert.match(lines, /read.?only|cannot be written|not writable/i, lines);
}

scenario('stores that cannot be used are refused in words', async ({ world }) => {
    const server = await world.server([{ user: 'chw1' }]);
    const tablet = await world.tablet('t1', { user: 'chw1' });
    const courier = await world.courier('c1');
    const dock = await world.dock('dock', server);
    const starts = {
        t1: () => tablet.spawn('boda-tablet', [...tablet.identityArgs(), '--http', '127.0.0.1:0']),
        c1: () => courier.spawn('boda-courier', [...courier.identityArgs(), '--listen', `unix:${courier.cable}`]),
        dock: () => dock.command('upload'),
    };

    await tablet.start();
    await tablet.stop();
    await courier.plug(courier);
    await courier.unplug();
    await dock.upload();
    for (const station of [tablet, courier, dock]) {
        const start = starts[station.name];
        await newer(station, start);
        await locked(station, start);
        const args = start().command.split(' ');
        await station.program.kill();
        await readOnly(station, args);
        await damaged(station, start);
    }
    // After a damaged one was moved aside, the next start begins a new store.
    await tablet.start();
    await tablet.stop();

    // Another station's store.
    courier.store = tablet.store;
    await refuses(courier, starts.c1, /belongs to/);
});
