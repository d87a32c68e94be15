#!/usr/bin/env node
// SPDX-License-Identifier: AGPL-3.0-or-later
'use strict';

/*
 * A wrong password in the dock's file is sent once, however often the dock is started, so the account is not locked; when the
 * server's own password is set to what the file has, `boda-dock passwords retry` is enough, and everything arrives.
 */

const assert = require('assert');
const fs = require('fs');
const path = require('path');
const PouchDB = require('../web/node_modules/pouchdb');
const docs = require('../web/docs');
const { secretFile, csv } = require('../web/stations');
const { scenario, replicate, assertSame } = require('../web/scenario');

const STARTS = 7;

scenario('a wrong password over many starts', async ({ dir, world, seed }) => {
    const server = await world.server([{ user: 'chw1' }], { durable: true });
    const courier = await world.courier('c1');
    const tablet = await world.tablet('t1', { user: 'chw1' });
    const pouch = new PouchDB(path.join(dir, 'pouch'));
    const users = secretFile(path.join(dir, 'dock-users.csv'), csv([['username', 'password'], ['chw1', 'older-secret']]));
    const dock = await world.dock('dock', { url: server.url, kind: 'cht', db: 'medic', users });

    await docs.load(pouch, { count: 50, seed, user: 'chw1' });
    await tablet.start();
    await replicate(pouch, tablet);
    await courier.plug(tablet);
    await tablet.program.waitLine(/safe to unplug/, 30000);
    await courier.unplug();
    await tablet.stop();

    await courier.plug(dock);
    await dock.runOnce(60000, [1]);
    await courier.unplug();
    for (let start = 1; start < STARTS; start++) {
        const lines = await dock.upload(60000, [1]);
        assert.ok(lines.some((line) => /user chw1: .* in an earlier run/.test(line)), lines.join('\n'));
    }
    let stats = await server.stats();
    assert.deepStrictEqual([stats.requests['POST login'], stats.statuses[401], stats.statuses[500]], [1, 1, undefined]);
    assert.ok((await dock.status()).batches.held > 0);
    assert.deepStrictEqual(await dock.command('passwords', 'list').wait(), ['chw1: the server refused the password']);

    // The other way round: the server's password becomes the file's.
    await server.stop();
    secretFile(server.users, fs.readFileSync(server.users, 'utf8').replace('chw1-pw', 'older-secret'));
    await server.start();
    await dock.upload(60000, [1]);
    stats = await server.stats();
    assert.strictEqual(stats.requests['POST login'], undefined);
    await dock.command('passwords', 'retry', 'chw1').wait();
    await dock.upload();
    assert.deepStrictEqual(await dock.command('passwords', 'list').wait(), ['no refused passwords']);
    await assertSame([pouch], server);
    for (const file of ['dock.log', 'dock.store/boda.db', 'dock.store/boda.db-wal']) {
        const text = fs.existsSync(path.join(dir, file)) ? fs.readFileSync(path.join(dir, file), 'latin1') : '';
        assert.ok(!text.includes('older-secret'), `no password in ${file}`);
    }
});
