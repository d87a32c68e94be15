// SPDX-License-Identifier: AGPL-3.0-or-later
'use strict';

/*
 * A headless Chromium, driven by its DevTools protocol over a pipe (https://chromedevtools.github.io/devtools-protocol).
 *
 *   const browser = await Chromium.start(profile);
 *   const page = await browser.open(url);   await page.run('return document.title');   await browser.stop();
 */

const { spawn } = require('child_process');
const fs = require('fs');
const os = require('os');
const path = require('path');

const START_MS = 60000;
const OPTIONS = ['--headless=new', '--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage', '--no-first-run',
    '--disable-component-update', '--disable-background-networking', '--remote-debugging-pipe'];

function bounded(promise, ms, what) {
    let timer;
    const late = new Promise((done, failed) => {
        timer = setTimeout(() => failed(new Error(`${what}: not within ${ms / 1000} s`)), ms);
    });
    return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

class Page {
    constructor(browser, session) {
        Object.assign(this, { browser, session });
    }

    send(method, params = {}) {
        return this.browser.send(method, params, this.session);
    }

    // Runs the text as the body of an async function in the page; what it returns (as JSON) is the result.
    async run(body, timeout_ms = 60000) {
        const { result, exceptionDetails: fault } = await bounded(this.send('Runtime.evaluate',
            { expression: `(async () => {${body}})()`, awaitPromise: true, returnByValue: true }), timeout_ms, 'page');
        if (fault) {
            throw new Error(`page: ${(fault.exception || {}).description || JSON.stringify(fault.exception || fault.text)}`);
        }
        return result.value;
    }

    // Runs a script's text, as a script element would.
    async load(file) {
        await this.send('Runtime.evaluate', { expression: fs.readFileSync(file, 'utf8') });
    }

    async goto(url) {
        const loaded = this.browser.event(this.session, 'Page.loadEventFired');
        const { errorText: fault } = await this.send('Page.navigate', { url });
        if (fault) {
            throw new Error(`${new URL(url).host}: ${fault}`);
        }
        await bounded(loaded, START_MS, url);
    }
}

class Chromium {
    // dir: a folder of the test's own, for the profile.
    static async start(dir = fs.mkdtempSync(path.join(os.tmpdir(), 'chromium-'))) {
        const browser = new Chromium();
        Object.assign(browser, { number: 0, calls: new Map(), events: [], rest: '' });
        browser.child = spawn(process.env.CHROMIUM || 'chromium', [...OPTIONS, `--user-data-dir=${dir}`, 'about:blank'],
            { stdio: ['ignore', 'ignore', 'ignore', 'pipe', 'pipe'] });
        browser.exited = new Promise((done) => {
            browser.child.on('error', (e) => browser.fail(new Error(`chromium: ${e.message}: install what packages.txt names`), done));
            browser.child.on('exit', (code) => browser.fail(new Error(`chromium: ended with status ${code}`), done));
        });
        process.on('exit', () => browser.child.kill('SIGKILL'));
        browser.child.stdio[3].on('error', () => {});
        browser.child.stdio[4].setEncoding('utf8').on('data', (text) => browser.read(text));
        await bounded(browser.send('Browser.getVersion'), START_MS, 'chromium');
        return browser;
    }

    fail(error, done) {
        this.ended = error;
        this.calls.forEach(({ failed }) => failed(error));
        done();
    }

    // Messages end with a zero byte.
    read(text) {
        const messages = (this.rest + text).split('\0');
        this.rest = messages.pop();
        messages.map((message) => JSON.parse(message)).forEach((message) => this.take(message));
    }

    take({ id, method, sessionId, result, error }) {
        const call = this.calls.get(id);
        if (call) {
            this.calls.delete(id);
            return error ? call.failed(new Error(`${call.method}: ${error.message}`)) : call.done(result);
        }
        const due = this.events.filter((e) => e.method === method && e.session === sessionId);
        this.events = this.events.filter((e) => !due.includes(e));
        return due.forEach((e) => e.done());
    }

    send(method, params = {}, sessionId = undefined) {
        if (this.ended) {
            return Promise.reject(this.ended);
        }
        return new Promise((done, failed) => {
            const id = ++this.number;
            this.calls.set(id, { done, failed, method });
            this.child.stdio[3].write(JSON.stringify({ id, method, params, sessionId }) + '\0');
        });
    }

    event(session, method) {
        return new Promise((done) => { this.events.push({ session, method, done }); });
    }

    async open(url) {
        const { targetId } = await this.send('Target.createTarget', { url: 'about:blank' });
        const { sessionId } = await this.send('Target.attachToTarget', { targetId, flatten: true });
        const page = new Page(this, sessionId);
        await page.send('Page.enable');
        await page.goto(url);
        return page;
    }

    async stop() {
        this.send('Browser.close').catch(() => {});
        await bounded(this.exited, 10000, 'chromium').catch(() => this.child.kill('SIGKILL'));
    }
}

module.exports = { Chromium };
