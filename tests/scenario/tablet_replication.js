#!/usr/bin/env node
// SPDX-License-Identifier: AGPL-3.0-or-later
'use strict';

/*
 * PouchDB replicates into the tablet unchanged: one-shot and live, in batches of 1, 100 and 1000, with attachments, across kill -9
 * and a store begun anew. What it was told is stored is there afterwards, each revision once.
 * timeout 240
 */

const assert = require('assert');
const fs = require('fs');
const path = require('path');
const PouchDB = require('../web/node_modules/pouchdb');
const docs = require('../web/docs');
const { waitFor } = require('../web/program');
const { scenario, remote, replicate } = require('../web/scenario');

function post(tablet, route, body) {
    const authorization = 'Basic ' + Buffer.from(`${tablet.user}:${tablet.secret}`).toString('base64');
    return fetch(`http://127.0.0.1:${tablet.port}/medic/${route}`, { method: 'POST',
        headers: { authorization, 'content-type': 'application/json' }, body: JSON.stringify(body) });
}

// Every leaf revision of the PouchDB is known to the tablet.
async function assertTaken(pouch, tablet) {
    const { results } = await pouch.changes({ style: 'all_docs' });
    const asked = Object.fromEntries(results.map((row) => [row.id, row.changes.map((change) => change.rev)]));
    const answer = await post(tablet, '_revs_diff', asked);
    assert.strictEqual(answer.status, 200);
    assert.deepStrictEqual(await answer.json(), {});
}

async function batchSizes(world, pouch) {
    const bytes = [];
    for (const size of [1, 100, 1000]) {
        const tablet = await world.tablet(`size-${size}`, { user: 'chw1' });
        await tablet.start();
        const info = await replicate(pouch, tablet, { batch_size: size });
        await assertTaken(pouch, tablet);
        const again = await replicate(pouch, tablet, { batch_size: size });
        assert.strictEqual(again.docs_read, 0, 'the checkpoint is kept');
        const { batches } = await tablet.status();
        assert.strictEqual(batches.partial, 0);
        bytes.push(batches.held_bytes);
        console.log(`batch_size ${size}: ${info.docs_written} documents in ${batches.held} batches`);
        await tablet.stop();
    }
    assert.ok(bytes[0] > bytes[2], 'the larger the batches, the fewer the bytes');
}

async function metaDatabase(world, dir) {
    const pouch = new PouchDB(path.join(dir, 'meta'));
    const tablet = await world.tablet('meta', { user: 'chw1' });
    await pouch.put({ _id: 'read:report:1' });
    await tablet.start();
    const info = await pouch.replicate.to(tablet.url('medic-user-chw1-meta'));
    assert.strictEqual(info.docs_written, 1);
    await assert.rejects(pouch.replicate.to(remote(tablet.url('medic-user-chw2-meta'))));
    assert.strictEqual((await tablet.status()).batches.held, 1);
    await tablet.stop();
}

// Killed eight times in the middle of a replication; started again each time, PouchDB retries by itself.
async function killed(world, pouch, random) {
    const tablet = await world.tablet('killed', { user: 'chw1' });
    await tablet.start();
    let done = false, failure = null, kills = 0;
    const job = pouch.replicate.to(tablet.url(), { batch_size: 3, live: true, retry: true, back_off_function: () => 100 });
    job.on('error', (e) => { failure = e; });
    job.on('paused', (e) => { done = !e; });
    job.on('active', () => { done = false; });
    for (; kills < 8 && !failure; kills++) {
        await new Promise((tick) => setTimeout(tick, 50 + random() * 150));
        await tablet.kill();
        await tablet.start();
        const { batches: { partial } } = await tablet.status();
        assert.strictEqual(partial, 0, 'nothing half-written');
    }
    await waitFor('the replication pauses', () => failure || done, 60000, [tablet.program]);
    assert.ifError(failure);
    // Live: what is written now comes by itself.
    const { held } = (await tablet.status()).batches;
    await pouch.put({ _id: 'written-while-live', type: 'data_record', form: 'x' });
    await tablet.waitStatus('the new document', (batches) => batches.held > held);
    job.cancel();
    await assertTaken(pouch, tablet);
    console.log(`killed ${kills} times: every document is there`);
    await tablet.stop();
}

// A store begun anew has another uuid, so PouchDB offers everything again.
async function reinstalled(world, pouch) {
    const tablet = await world.tablet('reinstalled', { user: 'chw1' });
    await tablet.start();
    const first = await replicate(pouch, tablet);
    await tablet.stop();
    fs.rmSync(tablet.store, { recursive: true });
    await tablet.start();
    const second = await replicate(pouch, tablet);
    assert.strictEqual(second.docs_written, first.docs_written);
    await assertTaken(pouch, tablet);
    await tablet.stop();
}

scenario('PouchDB replicates into the tablet unchanged', async ({ dir, world, seed, random }) => {
    const pouch = new PouchDB(path.join(dir, 'pouch'));
    await docs.load(pouch, { count: 400, seed, user: 'chw1', photos: 12 });
    await batchSizes(world, pouch);
    await metaDatabase(world, dir);
    await killed(world, pouch, random);
    await reinstalled(world, pouch);
});
