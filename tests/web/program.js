// SPDX-License-Identifier: AGPL-3.0-or-later
'use strict';

/*
 * Programs that a test starts, waits for and stops, by pid. Every wait has a bound, and its failure shows the tail of the
 * program's log. What still runs when the test ends is killed.
 */

const { spawn } = require('child_process');
const fs = require('fs');

const TAIL_LINES = 30;
const running = new Set();

const killAll = () => running.forEach((program) => program.child.kill('SIGKILL'));

process.on('exit', killAll);
['SIGINT', 'SIGTERM', 'SIGHUP'].forEach((signal) => process.on(signal, () => process.exit(1)));

const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

// Waits until fn() gives something true and returns it. programs: whose logs to show, and whose end makes waiting pointless.
async function waitFor(what, fn, timeout_ms, programs = []) {
    const end_ms = Date.now() + timeout_ms;
    for (;;) {
        const value = await fn();
        if (value) {
            return value;
        }
        const gone = programs.find((p) => p.ended);
        if (gone || Date.now() > end_ms) {
            const why = gone ? `${gone.name} ended with ${gone.ended}` : `not within ${timeout_ms / 1000} s`;
            throw new Error(`${what}: ${why}${programs.map((p) => p.tail()).join('')}`);
        }
        await sleep(100);
    }
}

class Program {
    // log: the file that gets the output of this and later runs.
    constructor(name, command, args, { log, env } = {}) {
        Object.assign(this, { name, log, lines: [], ended: null, waiting: [] });
        this.stream = log ? fs.createWriteStream(log, { flags: 'a' }) : null;
        this.child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, ...env } });
        this.command = [command, ...args].join(' ');
        running.add(this);
        this.read(this.child.stdout);
        this.read(this.child.stderr);
        this.exited = new Promise((done) => {
            this.child.on('error', (e) => this.finish(e.message, done));
            this.child.on('close', (code, signal) => this.finish(signal || `status ${code}`, done));
        });
    }

    read(pipe) {
        let rest = '';
        pipe.setEncoding('utf8');
        pipe.on('data', (text) => {
            const lines = (rest + text).split('\n');
            rest = lines.pop();
            lines.forEach((line) => this.line(line));
        });
        pipe.on('end', () => rest && this.line(rest));
    }

    line(line) {
        this.lines.push(line);
        if (this.stream) {
            this.stream.write(line + '\n');
        }
        this.waiting.forEach((check) => check());
    }

    finish(how, done) {
        this.ended = this.ended || how;
        running.delete(this);
        if (this.stream) {
            this.stream.end();
        }
        this.waiting.forEach((check) => check());
        done(this.ended);
    }

    tail() {
        return `\n--- ${this.name}: ${this.command}\n${this.lines.slice(-TAIL_LINES).join('\n')}`;
    }

    // The match of the first line, from line number `from` on, that fits the pattern.
    waitLine(pattern, timeout_ms = 10000, from = 0) {
        return new Promise((found, failed) => {
            let at = from;
            const end = (fn, value) => {
                clearTimeout(timer);
                this.waiting = this.waiting.filter((c) => c !== check);
                fn(value);
            };
            const fail = (why) => end(failed, new Error(`${this.name}: no line ${pattern}: ${why}${this.tail()}`));
            const check = () => {
                for (; at < this.lines.length; at++) {
                    const match = pattern.exec(this.lines[at]);
                    if (match) {
                        return end(found, match);
                    }
                }
                return this.ended && fail(`ended with ${this.ended}`);
            };
            const timer = setTimeout(() => fail(`not within ${timeout_ms / 1000} s`), timeout_ms);
            this.waiting.push(check);
            check();
        });
    }

    // Waits for the end; throws unless the status is one of those expected. Returns the output lines.
    async wait(timeout_ms = 60000, expected = [0]) {
        let timer;
        const late = new Promise((done) => { timer = setTimeout(done, timeout_ms, 'late'); });
        const how = await Promise.race([this.exited, late]);
        clearTimeout(timer);
        if (how === 'late') {
            await this.kill();
            throw new Error(`${this.name}: still running after ${timeout_ms / 1000} s${this.tail()}`);
        }
        if (!expected.map((status) => `status ${status}`).includes(how)) {
            throw new Error(`${this.name}: ended with ${how}${this.tail()}`);
        }
        return this.lines;
    }

    // A clean end, by SIGTERM; throws if it takes too long or fails.
    async stop(timeout_ms = 10000) {
        this.child.kill('SIGTERM');
        return this.wait(timeout_ms);
    }

    // Sudden death.
    async kill() {
        this.child.kill('SIGKILL');
        return this.exited;
    }
}

// The most memory that a running program has had; 0 once it has ended.
function peakMegabytes(program) {
    try {
        return Number(/VmHWM:\s+(\d+)/.exec(fs.readFileSync(`/proc/${program.child.pid}/status`, 'utf8'))[1]) / 1024;
    } catch (e) {
        return 0;
    }
}

// Runs a command to its end and returns its output lines.
async function run(name, command, args, { timeout_ms = 60000, ...options } = {}) {
    return new Program(name, command, args, options).wait(timeout_ms);
}

module.exports = { Program, killAll, peakMegabytes, run, sleep, waitFor };
