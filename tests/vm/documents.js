// SPDX-License-Identifier: AGPL-3.0-or-later
'use strict';

/*
 * Documents for tests in the machine: written to a tablet as PouchDB writes them, with noise that zstd makes no smaller, and
 * found again at a server.
 *
 *   const documents = new Documents(seed);
 *   await documents.write(tablet, [2000, 5400000]);  ...  await documents.compare(server);
 */

const assert = require('assert');
const crypto = require('crypto');

const REV = '0123456789abcdef0123456789abcdef';
const AT_ONCE = 20;

const md5 = (...parts) => parts.reduce((hash, part) => hash.update(part), crypto.createHash('md5'));

// fetch() takes no name and password in a URL.
function post(url, body) {
    const { origin, pathname, search, username, password } = new URL(url);
    const authorization = 'Basic ' + Buffer.from([username, password].map(decodeURIComponent).join(':')).toString('base64');
    return fetch(origin + pathname + search, { method: 'POST', headers: { 'content-type': 'application/json', authorization },
        body: JSON.stringify(body) });
}

class Documents {
    constructor(seed) {
        Object.assign(this, { seed, hashes: new Map() });
    }

    // Base64 of BYTES characters.
    noise(name, bytes) {
        const cipher = crypto.createCipheriv('aes-128-ctr', md5(`${this.seed}/${name}`).digest(), Buffer.alloc(16));
        return cipher.update(Buffer.alloc(Math.floor(bytes * 3 / 4))).toString('base64');
    }

    // New ones, of so many bytes each, by a request each.
    async write(tablet, sizes) {
        for (const bytes of sizes) {
            const name = `doc-${this.hashes.size}`, noise = this.noise(name, bytes);
            const docs = [{ _id: name, _rev: `1-${REV}`, _revisions: { start: 1, ids: [REV] }, type: 'data_record', noise }];
            const answer = await post(`${tablet.url()}/_bulk_docs`, { docs, new_edits: false });
            assert.strictEqual(answer.status, 201, await answer.text());
            this.hashes.set(name, md5(noise).digest('hex'));
        }
    }

    // The server has what was written, byte by byte, and no more. How many documents that are.
    async compare(server) {
        const names = [...this.hashes.keys()], differences = [];
        const fits = ({ key, doc }) => doc && doc._rev === `1-${REV}` && md5(doc.noise).digest('hex') === this.hashes.get(key);
        for (let at = 0; at < names.length; at += AT_ONCE) {
            const answer = await post(`${server.admin}/_all_docs?include_docs=true`, { keys: names.slice(at, at + AT_ONCE) });
            const { rows, total_rows: total } = await answer.json();
            assert.strictEqual(total, names.length, 'documents at the server');
            differences.push(...rows.filter((row) => !fits(row)).map(({ key }) => key));
        }
        assert.deepStrictEqual(differences, []);
        return names.length;
    }
}

module.exports = { Documents };
