// SPDX-License-Identifier: AGPL-3.0-or-later
'use strict';

/*
 * What programs say at debug level about their sessions, while they say it: the frames, the bytes of batches that went and came,
 * and how many of them came again after a cut.
 *
 *   const tablet = new End(), courier = new End();
 *   tablet.watch(program);  tablet.listeners.add((line) => { if (...) { unplug(); } });
 */

const assert = require('assert');

const DATA_HEADER_BYTES = 12;
const OTHER_BYTES = 32 * 1024;    // a receipt that a later one replaced; frames besides the bytes of batches
const FRAME = /^frame: (\w+) (goes|comes), (\d+) bytes$/;
const CONNECTED = /^(courier|tablet|dock) \S+: connected$/;
const LOST = /^frame: (\d+) bytes did not go any more$/;
const WANTED = /^exchange: \d+ of \d+ batches are wanted, (\d+) bytes$/;
const GONE = /^(?:courier|tablet|dock) \S+: gone(?:; (\d+) bytes out, (\d+) in)?$/;

/*
 * One way that batches go, over many sessions. A session's first WANT says how much of what is to go is not there; what the
 * session before had sent, and is wanted all the same, goes again. Exact while nothing new is added between two sessions of one
 * series; what is added counts as if it went again. Bytes count as sent when they are given to the link, but for those that the
 * end of the session met there; of a killed program these count as well.
 */
class Way {
    constructor(name) {
        Object.assign(this, { name, sent: 0, again: [], owed: null, cut: '' });
    }

    begin() {
        this.session = { sent: 0, wanted: null };
    }

    wanted(bytes) {
        if (this.session.wanted === null) {
            this.settle(bytes);
        }
        this.session.wanted += bytes;
    }

    // The receiver wants nothing.
    idle() {
        if (this.session && this.session.wanted === null) {
            this.wanted(0);
        }
    }

    send(bytes) {
        this.session.sent += bytes;
        this.sent += bytes;
    }

    // Bytes of whole frames, control frames too.
    lose(bytes) {
        this.session.sent -= bytes;
        this.sent -= bytes;
    }

    // A session that did not come as far as WANT has sent nothing, and changes nothing.
    end(cut) {
        if (this.session && this.session.closed) {
            this.owed = null;
        } else if (this.session && this.session.wanted !== null) {
            this.owed = this.session.sent - this.session.wanted;
            this.cut = cut;
        } else if (this.session) {
            this.sent -= this.session.sent; // an OFFER that did not go
        }
        this.session = null;
    }

    settle(wanted) {
        if (this.owed !== null) {
            assert.ok(this.owed + wanted >= -OTHER_BYTES, `${this.name}: ${-this.owed} bytes were to go still, and ${wanted} are wanted`);
            this.again.push({ bytes: this.owed + wanted, cut: this.cut });
        }
        this.owed = null;
    }

    // The end of a series: all is there.
    close() {
        this.idle();
        const { sent, wanted } = this.session;
        assert.strictEqual(sent, wanted, `${this.name}: went in the last session, and was wanted`);
        this.session.closed = true;
    }
}

// One program, its restarts included.
class End {
    // ways: by the peer's role, { out: Way, in: Way }; only what goes out is counted here.
    constructor(ways) {
        Object.assign(this, { ways, session: null, last: null, began: 0, listeners: new Set(), complaints: new Map(), cut: '' });
    }

    watch(program) {
        const plain = program.line;
        program.line = (text) => {
            plain.call(program, text);
            this.take(text);
        };
        program.exited.then(() => this.over());
    }

    take(text) {
        const connected = CONNECTED.exec(text), frame = FRAME.exec(text), wanted = WANTED.exec(text), gone = GONE.exec(text);
        const lost = LOST.exec(text);
        if (connected) {
            this.began++;
            this.session = this.last = { peer: connected[1], out: 0, in: 0, went: {}, came: {}, frame: 'no frame', idle: false };
            this.way.begin();
        } else if (frame && this.session) {
            this.frame(frame[1], frame[2], Number(frame[3]));
        } else if (lost && this.session) {
            this.way.lose(Number(lost[1]));
        } else if (wanted) {
            this.way.wanted(Number(wanted[1]));
        } else if (/; safe to unplug$/.test(text) && this.session) {
            this.session.idle = true;
            this.way.idle();
        } else if (gone) {
            this.gone(gone);
        } else if (/^(warning|error): /.test(text)) {
            const kind = text.replace(/[0-9a-f]{12,}|\d+/g, 'N');
            this.complaints.set(kind, (this.complaints.get(kind) || 0) + 1);
        }
        this.listeners.forEach((listener) => listener(text));
    }

    get way() {
        return this.ways[this.session.peer];
    }

    frame(name, direction, bytes) {
        const { session } = this, counts = direction === 'goes' ? session.went : session.came;
        counts[name] = (counts[name] || 0) + 1;
        session.frame = `${name} ${direction}`;
        if (name === 'DATA') {
            const size = bytes - DATA_HEADER_BYTES;
            session[direction === 'goes' ? 'out' : 'in'] += size;
            if (direction === 'goes') {
                this.way.send(size);
            }
        }
    }

    // What the program counts is what its frames had.
    gone([, out, into]) {
        if (out !== undefined && this.session) {
            assert.deepStrictEqual({ out: Number(out), in: Number(into) }, { out: this.session.out, in: this.session.in });
        }
        this.over();
    }

    over() {
        if (this.session) {
            this.way.end(this.cut);
        }
        this.session = null;
    }
}

module.exports = { End, Way };
