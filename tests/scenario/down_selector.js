#!/usr/bin/env node
// SPDX-License-Identifier: AGPL-3.0-or-later
'use strict';

/*
 * With a CouchDB and a selector in the dock's configuration only the documents that fit it come down, also those that changed
 * until they fit; what the tablet records goes up whether it fits or not.
 */

const assert = require('assert');
const fs = require('fs');
const path = require('path');
const PouchDB = require('../web/node_modules/pouchdb');
const { remote, roundTrip, plainApp } = require('../web/journey');
const { scenario } = require('../web/scenario');

scenario('a selector chooses what comes down', async ({ dir, world }) => {
    const server = await world.server([{ user: 'chw1' }], { kind: 'couchdb' });
    server.selector = path.join(dir, 'selector.json');
    fs.writeFileSync(server.selector, JSON.stringify({ village: { $in: ['a', 'b'] } }));
    const tablet = await world.tablet('t1', { user: 'chw1' });
    const courier = await world.courier('c1'), dock = await world.dock('dock', server);
    const there = remote(server.admin), pouch = new PouchDB(path.join(dir, 'pouch'));
    const app = plainApp(pouch, tablet);
    const held = async () => (await pouch.allDocs()).rows.map((row) => row.id);

    await there.bulkDocs(['a', 'b', 'c'].flatMap((village) => [1, 2].map((n) => ({ _id: `${village}${n}`, village }))));
    await tablet.start();
    await pouch.put({ _id: 'mine', village: 'z' });
    await app.sync();
    await roundTrip(courier, [tablet], dock);
    await app.sync();
    assert.deepStrictEqual(await held(), ['a1', 'a2', 'b1', 'b2', 'mine']);
    await there.bulkDocs([{ ...await there.get('c1'), village: 'b' }, { ...await there.get('c2'), n: 2 }]);
    await roundTrip(courier, [tablet], dock);
    await app.sync();
    assert.deepStrictEqual(await held(), ['a1', 'a2', 'b1', 'b2', 'c1', 'mine']);
    assert.strictEqual((await there.get('mine')).village, 'z');
    await tablet.stop();
});
