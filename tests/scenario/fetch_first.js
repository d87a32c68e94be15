#!/usr/bin/env node
// SPDX-License-Identifier: AGPL-3.0-or-later
'use strict';

/*
 * The way down at the dock: what each tablet's user may see becomes batches to that tablet, and is fetched once. Killed again and
 * again, the dock goes on where it was: what is in batches already is not asked for again. A user who cannot log in holds up nobody
 * else. Then the next turn asks for the listings alone, and a change costs its own document.
 * timeout 240
 */

const assert = require('assert');
const { execFileSync } = require('child_process');
const fs = require('fs');
const path = require('path');
const { sleep } = require('../web/program');
const { batchFiles, command } = require('../web/files');
const { scenario, remote } = require('../web/scenario');

const DOCS = 500, DOC_BYTES = 20000, KILLS = 2;    // a request is of 100 documents
const SERVED = ['t1', 't3'];    // t2's user cannot log in

const openssl = (...args) => execFileSync('openssl', args, { stdio: ['ignore', 'pipe', 'pipe'], maxBuffer: 2 ** 27 });

const person = (user, n) => ({ _id: `${user}-${n}`, type: 'person', reported_date: n, parent: { _id: `facility-${user}` },
    note: 'x'.repeat(DOC_BYTES) });

// "ID REV" of each document in the batches that wait at the dock for this tablet, opened as docs/batch.md says.
async function documents(dir, dock, tablet) {
    const stick = fs.mkdtempSync(path.join(dir, 'stick-')), key = path.join(stick, 'key.pem'), signed = path.join(stick, 'signed');
    await command(dock, 'export', stick);
    openssl('pkcs12', '-in', tablet.identity, '-nodes', '-out', key, '-passin', `file:${tablet.passphrase}`);
    const found = batchFiles(stick).filter((file) => file.startsWith(`${tablet.name}/`)).flatMap((file) => {
        openssl('cms', '-decrypt', '-binary', '-inform', 'DER', '-in', path.join(stick, file), '-recip', key, '-inkey', key,
            '-out', signed);
        const packed = openssl('cms', '-verify', '-binary', '-inform', 'DER', '-in', signed, '-CAfile',
            path.join(dock.world.deployment, 'ca.crt'), '-no_check_time');
        const [manifest, ...lines] = execFileSync('zstd', ['-dc'], { input: packed, maxBuffer: 2 ** 27 }).toString().trim().split('\n')
            .map((line) => JSON.parse(line));
        return manifest.kind === 'docs' ? lines.map((doc) => `${doc._id} ${doc._rev}`) : [];
    });
    fs.rmSync(stick, { recursive: true });
    return found;
}

scenario('what a tablet does not hold is fetched once', async ({ dir, world, random }) => {
    const users = ['chw1', 'chw2', 'chw3'].map((user) => ({ user })), tablets = [];
    const server = await world.server(users), admin = remote(server.admin);
    for (const { user } of users) {
        tablets.push(await world.tablet(`t${user.slice(3)}`, { user }));
        await admin.put({ _id: `facility-${user}`, type: 'clinic', name: user });
        for (let n = 0; n < DOCS; n += 100) {
            await admin.bulkDocs(Array.from({ length: 100 }, (_, i) => person(user, n + i)));
        }
    }
    const right = fs.readFileSync(server.users, 'utf8');
    fs.writeFileSync(server.users, right.replace('chw2-pw', 'wrong'), { mode: 0o600 });
    const dock = await world.dock('dock', server);
    fs.appendFileSync(dock.config, '[replay]\nparallel=1\n');
    const there = async () => (await Promise.all(tablets.map((tablet) => documents(dir, dock, tablet)))).flat().sort();
    const requests = async (word) => Object.entries((await server.stats()).requests)
        .filter(([route]) => route.endsWith(word)).reduce((sum, [, count]) => sum + count, 0);

    // Killed when it has some more batches. What was fetched stays, and is not fetched again.
    let before = [], held = 0;
    for (let i = 0; i < KILLS; i++) {
        await server.reset();
        await server.fault({ path: '_bulk_get', delay_ms: 1000, count: 1000000 });
        const upload = dock.command('upload');
        await dock.waitStatus('has some more', (batches) => batches.held > held, { programs: [upload] });
        await sleep(random() * 300);
        assert.strictEqual(await upload.kill(), 'SIGKILL');
        const after = await there();
        assert.strictEqual(new Set(after).size, after.length, 'no document is in two batches');
        assert.deepStrictEqual(before.filter((doc) => !after.includes(doc)), [], 'and none is lost');
        assert.ok(after.length > before.length, `only ${before.length} documents after ${i} kills`);
        before = after;
        ({ batches: { held } } = await dock.status());
    }
    assert.ok(before.length < SERVED.length * DOCS, `${before.length} documents at the last kill`);

    // The rest, and only that; t2's user could not log in.
    await server.reset();
    await dock.upload(120000, [1]);
    const all = await there(), { docs_served: served } = await server.stats();
    console.log(`${before.length} documents fetched by ${KILLS} killed docks, ${served} by the last one`);
    assert.strictEqual(served, all.length - before.length);
    assert.strictEqual(new Set(all).size, all.length);
    assert.strictEqual(all.length, SERVED.length * (DOCS + 1));
    assert.ok(all.every((doc) => /^(facility-)?chw[13]\b/.test(doc)), 'each has only what its user may see');

    // Nothing is new: one listing each, and no document.
    await server.reset();
    await dock.upload(60000, [1]);
    assert.deepStrictEqual([await requests('get-ids'), await requests('_bulk_get'), await requests('get-deletes')],
        [SERVED.length, 0, 0]);
    assert.deepStrictEqual(await there(), all);

    // A change costs its own document, and the right password all that t2 lacks.
    await server.reset();
    await admin.put({ ...await admin.get('chw1-7'), note: 'short' });
    await dock.upload(60000, [1]);
    assert.strictEqual((await server.stats()).docs_served, 1);
    await server.reset();
    fs.writeFileSync(server.users, right, { mode: 0o600 });
    await dock.upload(120000);
    assert.strictEqual((await server.stats()).docs_served, DOCS + 1);
    assert.strictEqual((await documents(dir, dock, tablets[1])).length, DOCS + 1);
    await server.stop();
});
