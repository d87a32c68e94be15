#!/usr/bin/env node
// SPDX-License-Identifier: AGPL-3.0-or-later
// timeout 600
'use strict';

/*
 * Sudden death (SIGKILL) of export and import at seeded random moments: what is on the stick then is whole, what is somebody else's
 * is as it was, the same command once more completes it, and all arrives at the server, once. KILLS in all (20).
 */

const assert = require('assert');
const fs = require('fs');
const path = require('path');
const PouchDB = require('../web/node_modules/pouchdb');
const docs = require('../web/docs');
const { sleep } = require('../web/program');
const { scenario, replicate, assertSame } = require('../web/scenario');
const { start, command, list, batchFiles, unsound, freshStick, assertTheirs } = require('../web/files');

const KILLS = Number(process.env.KILLS || 20);
const DOCS = 1300;         // in more batches than are made durable at a time

const temporaries = (stick) => list(stick).filter((name) => /^\.boda-[a-z2-7]{6}\.tmp$/.test(name));
const numbers = (line) => line.match(/\d+/g).map(Number);

class Campaign {
    constructor({ dir, random }, stations) {
        Object.assign(this, { random, stations, kills: 0, late: 0, leftovers: 0, amid: 0 });
        this.stick = path.join(dir, 'stick');
    }

    // Once without a kill, for the time that it takes.
    async measure(leg) {
        leg.fresh();
        const begin_ms = Date.now();
        leg.line = await command(leg.station, ...leg.words);
        leg.length_ms = Date.now() - begin_ms;
    }

    async strike(leg) {
        leg.fresh();
        const program = start(leg.station, ...leg.words);
        await sleep(this.random() * leg.length_ms * 1.1);
        if (await program.kill() !== 'SIGKILL') {
            this.late++;
            return;
        }
        this.kills++;
        await leg.check();
        const line = await command(leg.station, ...leg.words);
        assert.strictEqual(numbers(line)[0] + numbers(line)[leg.had], numbers(leg.line)[0], `${line}, after a kill`);
        this.amid += numbers(line)[0] > 0 && numbers(line)[leg.had] > 0;
        await leg.complete();
    }

    // Into an empty stick.
    exporting(station) {
        return { station, words: ['export', this.stick], had: 2,
            fresh: () => freshStick(this.stick),
            check: () => {
                assert.deepStrictEqual(unsound(this.stick), []);
                this.leftovers += temporaries(this.stick).length;
                assertTheirs(this.stick);
            },
            complete: () => {
                assert.deepStrictEqual(unsound(this.stick), []);
                assert.deepStrictEqual(temporaries(this.stick), []);
                assertTheirs(this.stick);
                assert.strictEqual(batchFiles(this.stick).length, this.count);
            } };
    }

    // Into an empty store.
    importing(station) {
        const held = async () => (await station.status()).batches.held;
        return { station, words: ['import', this.full], had: 1,
            fresh: () => fs.rmSync(station.store, { recursive: true, force: true }),
            // Killed before the store was made, there is none.
            check: () => held().then((count) => assert.ok(count <= this.count),
                (e) => assert.match(e.message, /: there is no store /)),
            complete: async () => assert.strictEqual(await held(), this.count) };
    }

    async run(legs) {
        for (const leg of legs) {
            await this.measure(leg);
            await leg.complete();
        }
        const until = this.kills + KILLS / 2;
        for (let i = 0; this.kills < until; i++) {
            assert.ok(i < 20 * KILLS + 20, 'too many kills came too late');
            await this.strike(legs[i % legs.length]);
        }
    }
}

scenario(`${KILLS} kills of export and import`, async (test) => {
    const { dir, world, seed } = test;
    const server = await world.server([{ user: 'chw1' }]);
    const tablet = await world.tablet('t1', { user: 'chw1' }), courier = await world.courier('c1');
    const dock = await world.dock('dock', server);
    const pouch = new PouchDB(path.join(dir, 'pouch'));
    const campaign = new Campaign(test);

    await tablet.start();
    await docs.load(pouch, { count: DOCS, seed, user: 'chw1', photos: 5 });
    await replicate(pouch, tablet, { batch_size: 2 });
    campaign.count = (await tablet.status()).batches.held;
    campaign.full = freshStick(path.join(dir, 'full'));
    await command(tablet, 'export', campaign.full);
    await command(courier, 'import', campaign.full);

    await campaign.run([campaign.exporting(tablet), campaign.exporting(courier)]);
    await campaign.run([campaign.importing(courier), campaign.importing(dock)]);
    assertTheirs(campaign.full);
    console.log(`${campaign.count} batches; ${campaign.kills} kills, ${campaign.amid} of them amid the batches, ${campaign.late} came ` +
        `too late; ${campaign.leftovers} temporary files were left, and removed`);
    assert.ok(KILLS < 20 || campaign.leftovers > 0, 'no kill came amid the writing');

    await dock.upload();
    await assertSame([pouch], server);
    await command(dock, 'export', campaign.full);
    await command(tablet, 'import', campaign.full);
    await tablet.waitStatus('is receipted', (batches) => batches.held === 0);
    await tablet.stop();
});
