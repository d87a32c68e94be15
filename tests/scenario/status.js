#!/usr/bin/env node
// SPDX-License-Identifier: AGPL-3.0-or-later
'use strict';

/*
 * boda status, as text and as JSON, beside running stations: what waits and since when, what was handed over and applied, each
 * stream, visits, refused documents with the server's words at dock and tablet, batches aside, refused passwords. A batch of a
 * revoked tablet is shown as aside until it is released, then as applied. And what is no store, or wrong use, has its exit status.
 */

const assert = require('assert');
const { spawnSync } = require('child_process');
const fs = require('fs');
const path = require('path');
const PouchDB = require('../web/node_modules/pouchdb');
const { secretFile, csv } = require('../web/stations');
const { scenario, replicate } = require('../web/scenario');

const TIME = '20\\d\\d-\\d\\d-\\d\\dT\\d\\d:\\d\\d:\\d\\dZ';
const EPOCH = '[0-9a-f]{16}';

const contact = (user) => ({ _id: `person-${user}`, type: 'person', parent: { _id: `facility-${user}` } });
const report = (id, patient) => ({ _id: id, type: 'data_record', form: 'visit', fields: { patient_uuid: patient } });

scenario('what boda status shows', async ({ dir, bin, world }) => {
    const boda = (...args) => spawnSync(path.join(bin, 'boda'), args, { encoding: 'utf8', timeout: 30000 });

    // The text of a station's status; a line must fit each pattern.
    const text = (station, ...patterns) => {
        const { status, stdout, stderr } = boda('status', '--store', station.store);
        assert.deepStrictEqual([status, stderr], [0, '']);
        for (const pattern of patterns) {
            assert.ok(stdout.split('\n').some((line) => new RegExp(`^${pattern}$`).test(line)), `${pattern} is not in:\n${stdout}`);
        }
        return stdout;
    };
    const refuse = (status, words, ...args) => {
        const got = boda('status', ...args);
        assert.deepStrictEqual([got.status, got.stdout, got.stderr.includes(words)], [status, '', true], got.stderr);
    };
    const streamOf = (status, from) => status.streams.filter((s) => s.from === from && s.to === 'server');

    // What is no store stays as it is.
    const none = path.join(dir, 'none');
    refuse(1, `${none}: there is no store in this folder`, '--store', none);
    assert.ok(!fs.existsSync(none));
    fs.mkdirSync(none);
    fs.writeFileSync(path.join(none, 'boda.db'), 'this is no database\n');
    refuse(1, 'is damaged', '--json', '--store', none);
    assert.deepStrictEqual(fs.readdirSync(none), ['boda.db']);
    refuse(2, 'give --store DIR');
    refuse(2, 'give --store DIR', '--store', none, 'more');
    refuse(2, 'is not an option', '--store', none, '--yaml');
    refuse(2, 'needs a value', '--store');
    assert.deepStrictEqual(boda('status', '--help').status, 0);

    const server = await world.server([{ user: 'chw1' }, { user: 'chw2' }, { user: 'chw3' }]);
    const users = secretFile(path.join(dir, 'dock-users.csv'),
        csv([['username', 'password'], ['chw1', 'chw1-pw'], ['chw2', 'chw2-pw'], ['chw3', 'wrong one']]));
    const dock = await world.dock('dock', { url: server.url, kind: 'cht', db: 'medic', users });
    const courier = await world.courier('c1');
    const tablets = [];
    for (const n of [1, 2, 3]) {
        tablets.push(await world.tablet(`t${n}`, { user: `chw${n}` }));
        await tablets[n - 1].start();
    }
    const [t1, t2, t3] = tablets;

    // Beside a running tablet: nothing yet, then what waits, since when.
    let status = await t1.status();
    assert.deepStrictEqual(Object.keys(status).sort(),
        ['aside', 'batches', 'passwords', 'refusals', 'station', 'streams', 'visits']);
    assert.deepStrictEqual([status.station.name, status.station.role], ['t1', 'tablet']);
    assert.match(status.station.uuid, /^[0-9a-f]{32}$/);
    assert.match(status.station.epoch, new RegExp(`^${EPOCH}$`));
    assert.deepStrictEqual(status.batches, {
        partial: 0, held: 0, aside: 0, applied: 0, handed_over: 0, held_bytes: 0, unnumbered: 0, unnumbered_bytes: 0, kept_bytes: 0,
    });
    for (const [n, tablet] of tablets.entries()) {
        const pouch = new PouchDB(path.join(dir, `pouch${n}`));
        await pouch.bulkDocs([contact(tablet.user), report(`report-${n}`, `person-${tablet.user}`)]);
        if (tablet === t1) {
            await pouch.put(report('stranger', 'nobody-knows'));
        }
        await replicate(pouch, tablet);
    }
    status = await t1.status();
    assert.deepStrictEqual([status.batches.held, status.batches.handed_over], [1, 0]);
    assert.ok(status.batches.held_bytes > 0);
    const [stream] = status.streams;
    assert.deepStrictEqual([stream.from, stream.to, stream.epoch, stream.highest, stream.contiguous, stream.applied, stream.waiting],
        ['t1', 'server', status.station.epoch, 1, 0, 0, 1]);
    assert.match(stream.oldest_waiting, new RegExp(`^${TIME}$`));
    text(t1, `tablet t1, store ${status.station.uuid}, epoch ${status.station.epoch}`,
        `batches: 1 held \\(0 of them handed over\\), 0 partial, 0 aside, 0 applied; ${status.batches.held_bytes} bytes`,
        `stream t1 to server \\(${EPOCH}\\): 0 applied, all up to 0 of 1; 1 waiting, the oldest since ${TIME}`);

    // Handed to a courier, which shows whose it carries.
    for (const tablet of tablets) {
        await courier.plug(tablet);
        await tablet.program.waitLine(/safe to unplug/, 30000);
        if (tablet === t3) {
            text(courier, 'batches: 3 held .*');
        }
        await courier.unplug();
    }
    text(t1, 'batches: 1 held \\(1 of them handed over\\), .*', `visit: courier c1, last ${TIME}`);
    const carried = (await courier.status());
    assert.deepStrictEqual([carried.station.role, carried.batches.held], ['courier', 3]);
    assert.deepStrictEqual(carried.visits.map((v) => [v.role, v.name]).sort(),
        [['tablet', 't1'], ['tablet', 't2'], ['tablet', 't3']]);

    // The dock: t1's refused document, t2 revoked, t3's password wrong.
    await world.boda(['revoke', 't2', '--deployment', world.deployment, '--passphrase-file', world.passphrase]);
    await courier.plug(dock);
    await dock.runOnce(60000, [1]);
    status = await dock.status();
    assert.deepStrictEqual([status.batches.aside, status.batches.unnumbered], [2, 0]);
    assert.deepStrictEqual(status.refusals.map((r) => [r.from, r.db, r.id, r.error]), [['t1', 'medic', 'stranger', 'forbidden']]);
    assert.deepStrictEqual(status.aside.map((a) => [a.from, a.seq]).sort(), [['t2', 0], ['t2', 1]], 'with its receipt');
    assert.deepStrictEqual(status.passwords, ['chw3']);
    assert.deepStrictEqual(streamOf(status, 't1').map((s) => [s.applied, s.contiguous, s.waiting]), [[1, 1, 0]]);
    assert.deepStrictEqual(streamOf(status, 't3').map((s) => [s.applied, s.waiting]), [[0, 1]]);
    text(dock, 'refused 1: medic/stranger 1-[0-9a-f]{32} from t1: forbidden', 'password of chw3: refused by the server',
        'aside: batch [0-9a-f]{12} from t2, number 1: .*signer t2 is revoked', `visit: courier c1, last ${TIME}`,
        `stream t1 to server \\(${EPOCH}\\): 1 applied, all up to 1 of 1; 0 waiting`,
        `stream t3 to server \\(${EPOCH}\\): 0 applied, all up to 0 of 1; 1 waiting, the oldest since ${TIME}`);

    // The administrator lets t2's batch pass.
    await dock.command('aside', 'release', '--all').wait();
    await dock.upload(60000, [1]);
    status = await dock.status();
    assert.deepStrictEqual([status.batches.aside, status.aside], [0, []]);
    assert.deepStrictEqual(streamOf(status, 't2').map((s) => [s.applied, s.waiting]), [[1, 0]]);
    await dock.runOnce(60000, [1]);
    await courier.unplug();
    assert.deepStrictEqual(streamOf(await dock.status(), 't3').map((s) => s.waiting), [1]);

    // The receipt frees t1's copy and tells of the refusal.
    await courier.plug(t1);
    status = await t1.waitStatus('is freed', (b) => b.held === 0, { programs: [courier.program] });
    await courier.unplug();
    assert.deepStrictEqual(status.refusals.map((r) => [r.id, r.error]), [['stranger', 'forbidden']]);
    text(t1, 'refused \\d+: medic/stranger 1-[0-9a-f]{32} from server: forbidden',
        'batches: 0 held \\(0 of them handed over\\), 0 partial, 0 aside, \\d+ applied; \\d+ bytes',
        `stream t1 to server \\(${EPOCH}\\): 1 applied, all up to 1 of 1; 0 waiting`);

    // What cannot be printed is an error.
    const full = fs.openSync('/dev/full', 'w');
    for (const json of [['--json'], []]) {
        const got = spawnSync(path.join(bin, 'boda'), ['status', ...json, '--store', t1.store], { stdio: ['ignore', full, 'pipe'] });
        assert.deepStrictEqual([got.status, String(got.stderr).includes('cannot be')], [1, true], String(got.stderr));
    }
    fs.closeSync(full);
    for (const tablet of tablets) {
        await tablet.stop();
    }
});
