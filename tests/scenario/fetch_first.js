#!/usr/bin/env node
// SPDX-License-Identifier: AGPL-3.0-or-later
'use strict';

/*
 * The way down at the dock: what each tablet's user may see becomes batches to that tablet, and is fetched once: the next turn asks
 * for the listing alone. A change costs its own document. A user who cannot log in holds up nobody else. A killed dock fetches only
 * the rest.
 */

const assert = require('assert');
const fs = require('fs');
const { sleep } = require('../web/program');
const { scenario, remote } = require('../web/scenario');

const DOCS = 3000;

// What each tablet has waiting at the dock.
async function waiting(dock) {
    const { streams } = await dock.status();
    return Object.fromEntries(streams.filter((s) => s.from === 'server').map((s) => [s.to, s.waiting]));
}

const person = (user, n) => ({ _id: `${user}-${n}`, type: 'person', name: `Person ${n} of ${user}`, reported_date: n,
    parent: { _id: `facility-${user}` }, note: 'x'.repeat(400) });

scenario('what a tablet does not hold is fetched once', async ({ world, random }) => {
    const users = ['chw1', 'chw2', 'chw3'].map((user) => ({ user }));
    const server = await world.server(users);
    const admin = remote(server.admin);
    for (const { user } of users) {
        await world.tablet(`t${user.slice(3)}`, { user });
        await admin.put({ _id: `facility-${user}`, type: 'clinic', name: user });
        for (let n = 0; n < DOCS; n += 500) {
            await admin.bulkDocs(Array.from({ length: 500 }, (_, i) => person(user, n + i)));
        }
    }
    fs.writeFileSync(server.users, fs.readFileSync(server.users, 'utf8').replace('chw2-pw', 'wrong'), { mode: 0o600 });
    const dock = await world.dock('dock', server);

    // Kills on the way: what was fetched is not fetched again, but for what was in flight.
    let kills = 0, fetched = 0;
    await server.fault({ path: '_bulk_get', delay_ms: 100, count: 1000000 });
    for (let i = 0; i < 12; i++) {
        const upload = dock.command('upload');
        await sleep(150 + random() * 600);
        if (upload.ended) {
            break;
        }
        kills += await upload.kill() === 'SIGKILL' ? 1 : 0;
    }
    const first = dock.command('upload');
    await first.wait(60000, [1]);
    let stats = await server.stats();
    console.log(kills, JSON.stringify(stats), JSON.stringify(await waiting(dock)));

    await server.reset();
    await dock.upload(60000, [1]);
    stats = await server.stats();
    console.log(JSON.stringify(stats), JSON.stringify(await waiting(dock)));
});
