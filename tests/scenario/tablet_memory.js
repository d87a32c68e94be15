#!/usr/bin/env node
// SPDX-License-Identifier: AGPL-3.0-or-later
'use strict';

/*
 * The tablet's memory does not follow what is pushed into it: 64 MB for any amount, and at most four times its size more for a
 * single large document.
 * timeout 240
 */

const assert = require('assert');
const crypto = require('crypto');
const fs = require('fs');
const { scenario } = require('../web/scenario');

const MIB = 1 << 20;

function peakBytes(tablet) {
    return Number(fs.readFileSync(`/proc/${tablet.program.child.pid}/status`, 'utf8').match(/VmHWM:\s+(\d+)/)[1]) * 1024;
}

async function post(tablet, docs) {
    const url = new URL(tablet.url());
    const authorization = 'Basic ' + Buffer.from(`${url.username}:${url.password}`).toString('base64');
    const answer = await fetch(`http://127.0.0.1:${tablet.port}/medic/_bulk_docs`, { method: 'POST',
        headers: { authorization, 'content-type': 'application/json' }, body: `{"docs":[${docs.join(',')}],"new_edits":false}` });
    assert.strictEqual(answer.status, 201, await answer.text());
}

const rev = () => `1-${crypto.randomBytes(16).toString('hex')}`;

function doc(bytes) {
    return JSON.stringify({ _id: crypto.randomUUID(), _rev: rev(), _revisions: { start: 1, ids: ['x'] },
        data: crypto.randomBytes(bytes * 3 / 4 | 0).toString('base64') });
}

// Documents of BYTES each that together are just below the most that a body may have.
function body(bytes) {
    const docs = [];
    for (let total = 100; ; total += docs[docs.length - 1].length + 1) {
        const next = doc(bytes);
        if (total + next.length + 1 > 32 * MIB) {
            return docs;
        }
        docs.push(next);
    }
}

scenario('the tablet has 64 MB for any amount, and 4 x its size for a large document', async ({ world }) => {
    for (const bytes of [40, 700, 1.5 * MIB]) {
        const tablet = await world.tablet(`t-${Math.floor(bytes)}`, { user: 'chw1' });
        await tablet.start();
        for (let i = 0; i < (bytes === 700 ? 7 : 2); i++) {
            await post(tablet, body(bytes));
        }
        console.log(`documents of ${Math.floor(bytes)} bytes: ${(peakBytes(tablet) / MIB).toFixed(1)} MB`);
        assert.ok(peakBytes(tablet) <= 64 * MIB);
        await tablet.stop();
    }
    for (const mib of [5, 31]) {
        const tablet = await world.tablet(`l-${mib}`, { user: 'chw1' });
        await tablet.start();
        await post(tablet, [doc(mib * MIB)]);
        await post(tablet, [doc(mib * MIB)]);
        console.log(`a document of ${mib} MB: ${(peakBytes(tablet) / MIB).toFixed(1)} MB`);
        assert.ok(peakBytes(tablet) <= (64 + 4 * mib) * MIB);
        await tablet.stop();
    }
});
