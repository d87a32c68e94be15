#!/usr/bin/env node
// SPDX-License-Identifier: AGPL-3.0-or-later
// timeout 300
'use strict';

/*
 * Bad media and bad words, by the programs: exit statuses and what they say; files that change while they are read; two stations at
 * one stick at the same time; a 4 GB claim, links, names of 255 characters; and beside all of them what is good comes.
 */

const assert = require('assert');
const crypto = require('crypto');
const fs = require('fs');
const path = require('path');
const { spawnSync } = require('child_process');
const PouchDB = require('../web/node_modules/pouchdb');
const docs = require('../web/docs');
const { scenario, replicate, assertSame } = require('../web/scenario');
const { start, command, commandEnds, batchFiles, tree, unsound, freshStick, assertTheirs } = require('../web/files');

const DOCS = 60;
const CHANGES = 12;

// Ends with the status; gives all that it said.
async function ends(status, station, ...words) {
    return (await start(station, ...words).wait(60000, [status])).join('\n');
}

// What a stranger may have put between batch files. Gives how many of them an import must leave, with a line each.
function makeHostile(stick, good) {
    const junk = (name, bytes) => fs.writeFileSync(path.join(stick, name), bytes);
    junk('empty.p7m', '');
    junk(`${'n'.repeat(251)}.p7m`, 'no batch');
    junk('a\\..\\server.p7m', 'no batch');
    junk('aux.p7m', crypto.randomBytes(3000));
    junk('revoked.crl', crypto.randomBytes(300));
    junk('huge.p7m', 'x');
    fs.truncateSync(path.join(stick, 'huge.p7m'), 4 * 2 ** 30);
    fs.symlinkSync('/etc/passwd', path.join(stick, 'link.p7m'));
    fs.mkdirSync(path.join(stick, 'loop'));
    fs.symlinkSync('..', path.join(stick, 'loop/loop'));
    spawnSync('mkfifo', [path.join(stick, 'server/pipe.p7m')]);
    const bytes = fs.readFileSync(path.join(stick, good));
    junk(`${good.slice(0, -4)} (2).p7m`, bytes.subarray(0, bytes.length / 2));
    bytes[bytes.length >> 1] ^= 1;
    junk(`${good.slice(0, -4)} (3).p7m`, bytes);
    return 10;
}

async function hostileStick({ dir, tablet, courier }) {
    const stick = freshStick(path.join(dir, 'hostile'));
    await command(tablet, 'export', stick);
    const files = batchFiles(stick), left = makeHostile(stick, files[0]), before = tree(path.join(stick, 'Photos'));
    const said = await ends(1, courier, 'import', stick);
    assert.match(said, new RegExp(`imported ${files.length} batches, had 0, .*, ${left} files were left`));
    assert.strictEqual((said.match(/^warning: /gm) || []).length, left, said);
    for (const words of ['is larger than', 'is a symbolic link', 'is empty', 'is not a regular file', 'is no batch', 'was altered or cut']) {
        assert.ok(said.includes(words), `${words}: ${said}`);
    }
    assert.deepStrictEqual(tree(path.join(stick, 'Photos')), before);
}

// A file that is written anew again and again: what is taken of it, if anything, is a whole batch.
async function changingFiles({ dir, tablet, courier, dock }) {
    const stick = freshStick(path.join(dir, 'changing'));
    await command(tablet, 'export', stick);
    const files = batchFiles(stick).map((name) => path.join(stick, name)), whole = files.map((file) => fs.readFileSync(file));
    // One byte after the other, by a process of its own.
    const writer = spawnWriter(files[0], whole[0].length);
    let taken = 0;
    for (let i = 0; i < CHANGES; i++) {
        fs.rmSync(courier.store, { recursive: true, force: true });
        const [count] = (await commandEnds([0, 1], courier, 'import', stick)).match(/\d+/);
        assert.ok(Number(count) >= files.length - 1, `${count} of ${files.length}`);
        taken += Number(count) === files.length;
    }
    writer.kill('SIGKILL');
    const second = freshStick(path.join(dir, 'second'));
    await command(courier, 'export', second);
    assert.deepStrictEqual(unsound(second), []);
    console.log(`a file that changes was taken ${taken} times in ${CHANGES}, whole`);
    fs.writeFileSync(files[0], whole[0]);
    await command(dock, 'import', stick);
}

function spawnWriter(file, size) {
    const program = `const fs = require('fs'), [file, size] = [process.argv[1], Number(process.argv[2])], whole = fs.readFileSync(file);
        for (;;) { fs.truncateSync(file, Math.floor(Math.random() * size)); fs.writeFileSync(file, whole); }`;
    return require('child_process').spawn(process.execPath, ['-e', program, file, String(size)], { stdio: 'inherit' });
}

// A tablet and a courier fill the same stick at once, many times: one of them may have to try again.
async function twoAtOnce({ dir, tablet, courier }) {
    for (let i = 0; i < 10; i++) {
        const stick = freshStick(path.join(dir, 'both'));
        const lines = await Promise.all([tablet, courier].map((station) => commandEnds([0, 75], station, 'export', stick)));
        assert.ok(lines.some((line) => /^exported \d+ batches/.test(line)), lines.join('\n'));
        assert.deepStrictEqual(unsound(stick), []);
        assertTheirs(stick);
        await command(tablet, 'export', stick);
        assert.match(await command(courier, 'export', stick), /^exported 0 batches/);
    }
}

async function wrongWords({ dir, world, tablet, courier, dock }) {
    const file = path.join(dir, 'file');
    fs.writeFileSync(file, 'x');
    assert.match(await ends(1, tablet, 'export', path.join(dir, 'nowhere')), /nowhere: cannot be opened as a folder: No such file/);
    assert.match(await ends(1, courier, 'export', file), /Not a directory/);
    assert.match(await ends(1, dock, 'import', path.join(dir, 'nowhere.p7m')), /nowhere\.p7m: cannot be opened: No such file/);
    assert.match(await ends(1, dock, 'import', file), /file: is no batch/);
    await ends(2, tablet, 'export');
    await ends(2, courier, 'import');
    await ends(2, dock, 'export', dir, dir);
    await ends(2, courier, 'import', dir, '--all');
    // A stick with a file in place of a station's folder.
    const stick = freshStick(path.join(dir, 'blocked'));
    fs.writeFileSync(path.join(stick, 'server'), 'a file');
    assert.match(await ends(1, tablet, 'export', stick), /server: is no folder; move it away, or use another folder/);
    // A store that is not there, without an identity to begin it with.
    const { status, stderr } = spawnSync(path.join(world.bin, 'boda-courier'), ['--store', path.join(dir, 'none'), 'export', dir],
        { encoding: 'utf8' });
    assert.strictEqual(status, 1);
    assert.match(stderr, /there is no store/);
}

scenario('bad media and bad words', async ({ dir, world, seed }) => {
    const server = await world.server([{ user: 'chw1' }]);
    const tablet = await world.tablet('t1', { user: 'chw1' }), courier = await world.courier('c1');
    const dock = await world.dock('dock', server);
    const pouch = new PouchDB(path.join(dir, 'pouch')), all = { dir, world, tablet, courier, dock };

    await tablet.start();
    await docs.load(pouch, { count: DOCS, seed, user: 'chw1', photos: 2 });
    await replicate(pouch, tablet, { batch_size: 4 });
    await hostileStick(all);
    await changingFiles(all);
    await twoAtOnce(all);
    await wrongWords(all);
    await dock.upload();
    await assertSame([pouch], server);
    await tablet.stop();
});
