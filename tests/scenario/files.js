#!/usr/bin/env node
// SPDX-License-Identifier: AGPL-3.0-or-later
'use strict';

/*
 * Batches as files on a stick that is no more than a folder: from a tablet to a PC that never saw a courier, to the server,
 * and back, beside running stations; by way of a courier; by mail under another name; all of it any number of times.
 */

const assert = require('assert');
const { execFileSync } = require('child_process');
const fs = require('fs');
const path = require('path');
const PouchDB = require('../web/node_modules/pouchdb');
const docs = require('../web/docs');
const { scenario, replicate, assertSame } = require('../web/scenario');
const { command, tree, batchFiles } = require('../web/files');

const openssl = (...args) => execFileSync('openssl', args, { stdio: ['ignore', 'pipe', 'pipe'] });

// docs/batch.md, section 6, on an exported file.
function openByHand(world, dir, file) {
    const server = path.join(dir, 'server.pem'), signed = path.join(dir, 'signed.der'), lines = path.join(dir, 'lines.zst');
    openssl('pkcs12', '-in', path.join(world.deployment, 'server.p12'), '-nodes', '-out', server, '-passin', `file:${world.passphrase}`);
    openssl('cms', '-decrypt', '-binary', '-inform', 'DER', '-in', file, '-recip', server, '-inkey', server, '-out', signed);
    openssl('cms', '-verify', '-binary', '-inform', 'DER', '-in', signed, '-CAfile', path.join(world.deployment, 'ca.crt'),
        '-no_check_time', '-out', lines);
    return execFileSync('zstd', ['-dc', lines]).toString().trim().split('\n').map((line) => JSON.parse(line));
}

scenario('batches as files: up, down, by courier and by mail', async ({ dir, world, seed }) => {
    const server = await world.server([{ user: 'chw1' }]);
    const tablet = await world.tablet('t1', { user: 'chw1' }), courier = await world.courier('c1');
    const dock = await world.dock('dock', server);
    const stick = path.join(dir, 'stick'), pouch = new PouchDB(path.join(dir, 'pouch'));
    fs.mkdirSync(stick);
    fs.writeFileSync(path.join(stick, 'holiday.jpg'), 'not ours');
    fs.mkdirSync(path.join(stick, 'Photos'));
    fs.writeFileSync(path.join(stick, 'Photos/a.p7m'), 'not ours either');

    // The tablet runs, with nobody ever plugged in.
    await tablet.start();
    await docs.load(pouch, { count: 60, seed, user: 'chw1', photos: 2 });
    await replicate(pouch, tablet, { batch_size: 10 });
    const out = await command(tablet, 'export', stick);
    const [, count] = out.match(/^exported (\d+) batches/);
    const files = batchFiles(stick);
    assert.strictEqual(files.length, Number(count));
    for (const name of files.filter((file) => !file.startsWith('Photos'))) {
        assert.match(name, /^server\/t1-[0-9a-f]{16}-\d+-[0-9a-f]{16}\.p7m$/);
    }
    assert.ok(fs.readFileSync(path.join(stick, 'README.TXT'), 'utf8').startsWith('\ufeffBODA\r\n'));
    assert.match(await command(tablet, 'export', stick), new RegExp(`^exported 0 batches .*, ${count} were there already`));

    const [manifest, ...lines] = openByHand(world, dir, path.join(stick, files[0]));
    assert.deepStrictEqual([manifest.from, manifest.to, manifest.docs], ['t1', 'server', lines.length]);

    // A PC that never saw a courier; the first file comes by mail, under a name that says nothing.
    const mail = path.join(dir, 'attachment.bin');
    fs.renameSync(path.join(stick, files[0]), mail);
    assert.match(await command(dock, 'import', mail), /^imported 1 batch, had 0$/);
    assert.match(await command(dock, 'import', stick), new RegExp(`^imported ${count - 1} batches, had 0, 2 other files ignored$`));
    assert.match(await command(dock, 'import', stick), new RegExp(`^imported 0 batches, had ${count - 1}, `));
    await dock.upload();
    await assertSame([pouch], server);

    // The way back, by the same stick: the tablet's running agent frees what the receipt names.
    assert.match(await command(dock, 'export', stick), /^exported [1-9]/);
    assert.match(await command(tablet, 'import', stick), /^imported [1-9]\d* batch(es)?, had 0, \d+ are for other stations, 2 other files ignored/);
    await tablet.waitStatus('is receipted', (batches) => batches.held === 0);
    assert.strictEqual((await command(tablet, 'import', stick)).startsWith('imported 0 batches'), true);

    // By way of a courier that has a key for nothing.
    await docs.load(pouch, { count: 20, seed: seed + 1, user: 'chw1' });
    await replicate(pouch, tablet);
    await command(tablet, 'export', stick);
    const before = tree(stick);
    await command(courier, 'import', stick);
    assert.deepStrictEqual(tree(stick), before);
    const second = path.join(dir, 'second');
    fs.mkdirSync(second);
    await command(courier, 'export', second);
    await command(dock, 'import', second);
    await dock.upload();
    await assertSame([pouch], server);
    assert.strictEqual(fs.readFileSync(path.join(stick, 'holiday.jpg'), 'utf8'), 'not ours');
    await tablet.stop();
});
