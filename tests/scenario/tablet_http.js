#!/usr/bin/env node
// SPDX-License-Identifier: AGPL-3.0-or-later
'use strict';

/*
 * The tablet's endpoint over real HTTP: strangers stay out (password, Host, Origin), pages that are named may call, bodies that are
 * too large are refused with an answer that arrives, uploads at the same time and connections that hang do no harm, SIGTERM ends it
 * within a second.
 */

const assert = require('assert');
const http = require('http');
const net = require('net');
const { run } = require('../web/program');
const { scenario } = require('../web/scenario');

const MIB = 1 << 20;
// No connection is kept but where a test says so: what is left of one would wake uploads that wait.
http.globalAgent = new http.Agent({ keepAlive: false });
const ORIGIN = 'https://chw.example.org';

// One request; headers as given. {status, headers, json}
function ask(tablet, method, where, { headers = {}, body, agent, user = tablet.user, secret = tablet.secret } = {}) {
    return new Promise((done, failed) => {
        const all = { ...(body === undefined ? {} : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) }),
            ...(user ? { authorization: 'Basic ' + Buffer.from(`${user}:${secret}`).toString('base64') } : {}), ...headers };
        if (all['transfer-encoding']) {
            delete all['content-length'];
        }
        const req = http.request({ host: '127.0.0.1', port: tablet.port, method, path: where, headers: all, agent }, (res) => {
            const chunks = [];
            res.on('data', (chunk) => chunks.push(chunk));
            res.on('end', () => {
                const text = Buffer.concat(chunks).toString();
                done({ status: res.statusCode, headers: res.headers, json: text ? JSON.parse(text) : null });
            });
            res.on('error', failed);
        });
        req.on('error', failed);
        req.setTimeout(20000, () => req.destroy(new Error(`${method} ${where}: no answer`)));
        req.end(body);
    });
}

// Bytes on a bare connection, and the first line of what comes back; nothing is sent behind them.
function raw(tablet, text) {
    return new Promise((done, failed) => {
        const socket = net.connect(tablet.port, '127.0.0.1', () => socket.write(text));
        socket.once('data', (data) => { socket.destroy(); done(data.toString().split('\r\n')[0]); });
        socket.on('error', failed);
        socket.setTimeout(10000, () => socket.destroy(new Error('no answer')));
    });
}

async function strangers(tablet) {
    for (const [user, secret] of [[null], [tablet.user, 'wrong'], ['chw2', tablet.secret], [tablet.user, '']]) {
        const answer = await ask(tablet, 'GET', '/', { user, secret });
        assert.strictEqual(answer.status, 401);
        assert.strictEqual(answer.json.error, 'unauthorized');
        assert.match(answer.headers['www-authenticate'], /^Basic/);
        assert.strictEqual(answer.headers['logout-authorization'], undefined);
    }
    const page = await ask(tablet, 'GET', '/', { user: null, headers: { origin: ORIGIN } });
    assert.strictEqual(page.status, 401);
    assert.strictEqual(page.headers['www-authenticate'], undefined, 'no dialog in a browser');
    assert.strictEqual((await ask(tablet, 'GET', '/', { headers: { host: 'evil.example.org' } })).status, 421);
    for (const origin of ['https://evil.example.org', 'null', 'http://127.0.0.1:1']) {
        const answer = await ask(tablet, 'GET', '/', { headers: { origin } });
        assert.strictEqual(answer.status, 403);
        assert.strictEqual(answer.headers['access-control-allow-origin'], undefined);
    }
}

async function pages(tablet) {
    const preflight = await ask(tablet, 'OPTIONS', '/medic/_bulk_docs', { user: null,
        headers: { origin: ORIGIN, 'access-control-request-method': 'POST', 'access-control-request-headers': 'content-type' } });
    assert.strictEqual(preflight.status, 204);
    assert.strictEqual(preflight.headers['access-control-allow-origin'], ORIGIN);
    assert.strictEqual(preflight.headers['access-control-allow-credentials'], 'true');
    assert.match(preflight.headers['access-control-allow-methods'], /POST/);
    assert.match(preflight.headers['access-control-allow-headers'], /content-type/);
    assert.ok(Number(preflight.headers['access-control-max-age']) > 0);
    for (const origin of [ORIGIN, `http://127.0.0.1:${tablet.port}`]) {
        const answer = await ask(tablet, 'GET', '/medic', { headers: { origin } });
        assert.strictEqual(answer.status, 200);
        assert.strictEqual(answer.headers['access-control-allow-origin'], origin);
        assert.match(answer.headers.vary, /Origin/);
    }
}

async function bodies(tablet) {
    const good = JSON.stringify({ docs: [{ _id: 'a', _rev: '1-a' }], new_edits: false });
    const type = await ask(tablet, 'POST', '/medic/_bulk_docs', { body: good, headers: { 'content-type': 'text/plain' } });
    assert.deepStrictEqual([type.status, type.json.error], [415, 'bad_content_type']);
    const charset = await ask(tablet, 'POST', '/medic/_bulk_docs',
        { body: good, headers: { 'content-type': 'application/json; charset=utf-8' } });
    assert.deepStrictEqual([charset.status, charset.json], [201, []]);

    const large = { status: 413, json: { error: 'too_large', reason: 'the request entity is too large' } };
    const pick = ({ status, json }) => ({ status, json });
    for (let i = 0; i < 5; i++) {
        assert.deepStrictEqual(pick(await ask(tablet, 'POST', '/medic/_bulk_docs', { body: Buffer.alloc(33 * MIB, ' ') })), large);
    }
    assert.deepStrictEqual(pick(await ask(tablet, 'POST', '/medic/_revs_diff', { body: Buffer.alloc(9 * MIB, ' ') })), large);
    assert.deepStrictEqual(pick(await ask(tablet, 'PUT', '/medic/_local/x', { body: Buffer.alloc(MIB, ' ') })), large);
    const chunked = { 'transfer-encoding': 'chunked' };
    assert.deepStrictEqual(pick(await ask(tablet, 'POST', '/medic/_bulk_docs',
        { body: Buffer.alloc(33 * MIB, ' '), headers: chunked })), large);
    // Said at once, before the body comes.
    const authorization = 'Basic ' + Buffer.from(`${tablet.user}:${tablet.secret}`).toString('base64');
    const head = `POST /medic/_bulk_docs HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: ${authorization}\r\n` +
        'Content-Type: application/json\r\n';
    assert.match(await raw(tablet, `${head}Content-Length: 99999999999\r\n\r\n`), / 413 /);
    assert.match(await raw(tablet, `${head}Content-Length: 40000000\r\nExpect: 100-continue\r\n\r\n`), / 413 /);
    assert.match(await raw(tablet, `${head}Content-Length: 40\r\nExpect: 100-continue\r\n\r\n`), / 100 /);
    // Other refusals with a body keep the connection.
    const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
    for (let i = 0; i < 3; i++) {
        assert.strictEqual((await ask(tablet, 'POST', '/medic/_nothing', { agent, body: Buffer.alloc(MIB, ' ') })).status, 404);
        assert.strictEqual((await ask(tablet, 'POST', '/medic/_nothing', { agent, body: '{}' })).status, 404);
    }
    agent.destroy();
}

// A connection that stops in the middle of an upload delays others no longer than it lives, and leaves nothing.
async function atTheSameTime(tablet, keepAlive) {
    const name = keepAlive ? 'kept' : 'closed', agent = new http.Agent({ keepAlive });
    const authorization = 'Basic ' + Buffer.from(`${tablet.user}:${tablet.secret}`).toString('base64');
    const hung = net.connect(tablet.port, '127.0.0.1');
    hung.on('error', () => {});
    await new Promise((done) => hung.write(`POST /medic/_bulk_docs HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: ${authorization}\r\n` +
        'Content-Type: application/json\r\nContent-Length: 1000\r\n\r\n{"docs":[{"_id":"hung","_rev":"1-a"},', done));
    await new Promise((tick) => setTimeout(tick, 200));
    const uploads = [];
    for (let i = 0; i < 12; i++) {
        const docs = [{ _id: `${name}${i}`, _rev: '1-a', data: 'x'.repeat(5 * MIB) }];
        uploads.push(ask(tablet, 'POST', '/medic/_bulk_docs', { agent, body: JSON.stringify({ docs, new_edits: false }) }));
    }
    await new Promise((tick) => setTimeout(tick, 200));
    assert.strictEqual((await ask(tablet, 'GET', '/medic', { agent })).status, 200, 'others are served meanwhile');
    hung.destroy();
    for (const answer of await Promise.all(uploads)) {
        assert.deepStrictEqual([answer.status, answer.json], [201, []]);
    }
    const asked = { hung: ['1-a'], ...Object.fromEntries(uploads.map((_, i) => [`${name}${i}`, ['1-a']])) };
    const diff = await ask(tablet, 'POST', '/medic/_revs_diff', { body: JSON.stringify(asked) });
    assert.deepStrictEqual(diff.json, { hung: { missing: ['1-a'] } });
    agent.destroy();
}

async function endsAtOnce(tablet) {
    const authorization = 'Basic ' + Buffer.from(`${tablet.user}:${tablet.secret}`).toString('base64');
    const open = [0, 1].map(() => {
        const socket = net.connect(tablet.port, '127.0.0.1');
        socket.on('error', () => {});
        socket.write(`POST /medic/_bulk_docs HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: ${authorization}\r\n` +
            'Content-Type: application/json\r\nContent-Length: 1000\r\n\r\n{"docs":[');
        return socket;
    });
    await new Promise((tick) => setTimeout(tick, 300));
    const start_ms = Date.now();
    await tablet.stop();
    assert.ok(Date.now() - start_ms < 3000, 'SIGTERM ends it at once, also with uploads under way and waiting');
    open.forEach((socket) => socket.destroy());
}

async function usage(world, tablet) {
    const args = ['--identity', tablet.identity, '--passphrase-file', tablet.passphrase, '--store', tablet.store];
    for (const extra of [['--http', '0.0.0.0:5985'], ['--http', '192.0.2.1:1'], ['--http', '127.0.0.1'], ['--usb=1'], ['--usb-fd', 'x'],
        ['--connect', 'tcp:1'], ['--quota', '-1'], ['--origin', '*'], ['extra'], ['--nothing']]) {
        await assert.rejects(run('boda-tablet', `${world.bin}/boda-tablet`, [...args, ...extra]), /status 2/, extra.join(' '));
    }
    const secret = await run('boda-tablet', `${world.bin}/boda-tablet`, [...args, '--show-secret']);
    assert.deepStrictEqual(secret, [`secret ${tablet.secret}`]);
}

scenario('the endpoint on the loopback keeps strangers out and answers in CouchDB’s words', async ({ world }) => {
    const tablet = await world.tablet('t1', { user: 'chw1' });
    await usage(world, tablet);
    await tablet.start(['--origin', ORIGIN]);
    await strangers(tablet);
    await pages(tablet);
    await bodies(tablet);
    await atTheSameTime(tablet, false);
    await atTheSameTime(tablet, true);
    await endsAtOnce(tablet);
});
