// SPDX-License-Identifier: AGPL-3.0-or-later
'use strict';

/*
 * A real PouchDB on disk, as in the CHT app.
 *
 *   node client.js load --db DIR [--count N --seed N --user U ... as docs.js] [--docs FILE]
 *   node client.js replicate --db DIR --to URL [--batch-size N] [--live] [--retry] [--skip-setup] [--progress]
 *
 * Prints JSON lines, the last one the result. Exit status 0 when all is done. --live goes on until SIGTERM.
 */

const { parseArgs } = require('util');
const PouchDB = require('pouchdb');
const docs = require('./docs');

const print = (line) => console.log(JSON.stringify(line));
const seconds = (start_ms) => (Date.now() - start_ms) / 1000;

async function load(db, values) {
    const start_ms = Date.now();
    const progress = values.progress && ((loaded) => print({ event: 'loaded', docs: loaded }));
    const count = await docs.load(db, { ...docs.fromArgs(values), progress });
    print({ event: 'complete', docs: count, seconds: seconds(start_ms) });
}

async function replicate(db, values) {
    const start_ms = Date.now();
    const remote = new PouchDB(values.to, { skip_setup: values['skip-setup'] });
    const options = { live: values.live, retry: values.retry, batch_size: Number(values['batch-size']) };
    const counts = (info) => ({ docs_read: info.docs_read, docs_written: info.docs_written,
        doc_write_failures: info.doc_write_failures, seconds: seconds(start_ms) });
    const job = db.replicate.to(remote, options);
    job.on('denied', (info) => print({ event: 'denied', id: (info.doc || {}).id }));
    job.on('error', () => {});          // also rejects the promise below
    if (values.live || values.progress) {
        job.on('change', (info) => print({ event: 'change', ...counts(info) }));
        job.on('active', () => print({ event: 'active' }));
        job.on('paused', (error) => print({ event: 'paused', error: error && String(error.message || error) }));
    }
    process.on('SIGTERM', () => job.cancel());
    const info = await job;
    print({ event: 'complete', ok: info.ok, ...counts(info) });
    if (!info.ok || info.doc_write_failures) {
        throw new Error(`${info.doc_write_failures} documents were not written, status ${info.status}`);
    }
}

async function main() {
    const { values, positionals: [command] } = parseArgs({ allowPositionals: true, options: { ...docs.OPTIONS,
        db: { type: 'string' }, to: { type: 'string' }, 'batch-size': { type: 'string', default: '100' },
        live: { type: 'boolean', default: false }, retry: { type: 'boolean', default: false },
        'skip-setup': { type: 'boolean', default: false }, progress: { type: 'boolean', default: false } } });
    if (!{ load, replicate }[command] || !values.db || (command === 'replicate' && !values.to)) {
        console.error('usage: client.js load --db DIR [--count N ...] | replicate --db DIR --to URL [--live] [--batch-size N]');
        process.exit(2);
    }
    const db = new PouchDB(values.db);
    await { load, replicate }[command](db, values);
    await db.close();
}

if (require.main === module) {
    main().catch((e) => { console.error(`client: ${e.message || JSON.stringify(e)}`); process.exit(1); });
}
