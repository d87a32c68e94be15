// SPDX-License-Identifier: AGPL-3.0-or-later
'use strict';

/*
 * A replication target that stores nothing: what a client can reach at best. Reads each body to its end, parses _revs_diff alone.
 *
 *   node null-server.js [--port N]         prints 'listening URL'
 */

const http = require('http');
const { parseArgs } = require('util');

const locals = new Map();

function answer(method, path, body) {
    const [, db, what, id] = path.split('/');
    if (!db) {
        return [200, { couchdb: 'Welcome', version: '3.5.0', uuid: '00000000000000000000000000000000' }];
    }
    if (what === '_local' && method === 'PUT') {
        locals.set(`${db}/${id}`, { ...JSON.parse(body), _rev: '0-1' });
        return [201, { ok: true, id: `_local/${id}`, rev: '0-1' }];
    }
    if (what === '_local') {
        return locals.has(`${db}/${id}`) ? [200, locals.get(`${db}/${id}`)] : [404, { error: 'not_found', reason: 'missing' }];
    }
    if (what === '_revs_diff') {
        const asked = Object.entries(JSON.parse(body));
        return [200, Object.fromEntries(asked.map(([doc, revs]) => [doc, { missing: revs }]))];
    }
    if (what === '_bulk_docs') {
        return [201, []];
    }
    if (!what) {
        return method === 'PUT' ? [412, { error: 'file_exists', reason: 'The database could not be created.' }]
            : [200, { db_name: db, update_seq: 0, doc_count: 0 }];
    }
    return what === '_ensure_full_commit' ? [201, { ok: true }] : [404, { error: 'not_found', reason: 'missing' }];
}

const server = http.createServer((req, res) => {
    const chunks = [];
    req.on('data', (chunk) => chunks.push(chunk));
    req.on('end', () => {
        const [status, body] = answer(req.method, req.url.split('?')[0], Buffer.concat(chunks));
        const text = JSON.stringify(body) + '\n';
        res.writeHead(status, { 'Content-Type': 'application/json', 'Content-Length': Buffer.byteLength(text) });
        res.end(text);
    });
});

const { values } = parseArgs({ options: { port: { type: 'string', default: '0' } } });
server.listen(Number(values.port), '127.0.0.1', () => console.log(`listening http://127.0.0.1:${server.address().port}`));
process.on('SIGTERM', () => process.exit(0));
