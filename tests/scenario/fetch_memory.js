#!/usr/bin/env node
// SPDX-License-Identifier: AGPL-3.0-or-later
'use strict';

/*
 * The dock's memory while it fetches for three tablets at once, with photos of 10 MB and a document nearly as large as any that is
 * carried. (With 25,000 documents: tests/bench/down.js.)
 * timeout 240
 */

const assert = require('assert');
const crypto = require('crypto');
const { peakMegabytes } = require('../web/program');
const { scenario, remote } = require('../web/scenario');

const TABLETS = 3, OWN = 20, PHOTOS = 2;
const BOUND_MB = 128;

const photo = (bytes) => ({ 'photo.jpg': { content_type: 'image/jpeg', data: crypto.randomBytes(bytes).toString('base64') } });

scenario('the dock keeps its bound with photos for several tablets', async ({ world }) => {
    const users = [...Array(TABLETS)].map((_, i) => ({ user: `chw${i + 1}` }));
    const server = await world.server(users), there = remote(server.admin);
    for (const [n, { user }] of users.entries()) {
        await world.tablet(`t${n + 1}`, { user });
        const person = (id, more) => ({ _id: `${user}-${id}`, type: 'person', parent: { _id: `facility-${user}` }, ...more });
        await there.bulkDocs([...Array(OWN)].map((_, i) => person(i)));
        for (let i = 0; i < PHOTOS; i++) {
            await there.put(person(`photo-${i}`, { _attachments: photo(10e6) }));
        }
    }
    await there.put({ _id: 'largest', type: 'person', parent: { _id: 'facility-chw1' }, _attachments: photo(24.9e6) });
    const dock = await world.dock('dock', server);

    const upload = dock.command('upload');
    let peak = 0;
    const watch = setInterval(() => { peak = Math.max(peak, peakMegabytes(upload)); }, 20);
    const lines = await upload.wait(200000);
    clearInterval(watch);
    const made = lines.map((line) => /down: tablet (t\d): (\d+) documents in/.exec(line)).filter((match) => match)
        .map(([, tablet, count]) => [tablet, Number(count)]).sort();
    console.log(`memory: dock ${peak.toFixed(0)} MB (bound ${BOUND_MB}); ${JSON.stringify(made)}`);
    const each = OWN + PHOTOS;
    assert.deepStrictEqual(made.map(([, count]) => count), users.map((_, i) => (i ? each : each + 1)));
    if (!world.bin.includes('/san/')) {
        assert.ok(peak > 0 && peak <= BOUND_MB, `${peak} MB`);
    }
    await server.stop();
});
