// SPDX-License-Identifier: AGPL-3.0-or-later
'use strict';

/*
 * Faults on demand, and counts, for the CHT front. A fault is {path, method, after, count, and one of: status (with json,
 * or body, retry_after), delay_ms, cut}: it spares the first `after` requests whose URL contains `path`, then strikes `count`
 * times (1 unless told). cut:true breaks the connection in the middle of the answer, after the write was done; cut:"request" before.
 */

const wait = (ms) => new Promise((done) => setTimeout(done, ms));

class Faults {
    constructor() {
        this.list = [];
        this.fired = 0;
    }

    add(fault) {
        this.list.push({ path: '', after: 0, count: 1, ...fault });
    }

    match(req) {
        for (const f of this.list) {
            if (req.url.includes(f.path) && (!f.method || f.method === req.method) && f.count > 0 && f.after-- <= 0) {
                f.count--;
                this.fired++;
                return f;
            }
        }
        return null;
    }

    // True if the request has been dealt with.
    async strike(req, res) {
        const fault = this.match(req);
        if (!fault) {
            return false;
        }
        if (fault.delay_ms) {
            await wait(fault.delay_ms);
        }
        if (fault.cut === 'request') {
            req.socket.destroy();
            return true;
        }
        if (fault.cut) {
            cutAnswer(res);
        }
        if (!fault.status) {
            return false;
        }
        const headers = { 'Content-Type': fault.json || fault.body ? 'application/json' : 'text/html' };
        if (fault.retry_after !== undefined) {
            headers['Retry-After'] = String(fault.retry_after);
        }
        req.resume();
        res.writeHead(fault.status, headers);
        res.end(fault.body || (fault.json ? JSON.stringify({ code: fault.status, error: 'fault', reason: 'asked for by the test' })
            : `<html><body><h1>${fault.status}</h1></body></html>\n`));
        return true;
    }
}

function cutAnswer(res) {
    const write = res.write.bind(res);
    res.end = (chunk) => {
        const body = Buffer.from(typeof chunk === 'function' || !chunk ? '' : chunk);
        write(body.length > 1 ? body.subarray(0, body.length >> 1) : ' ', () => res.socket && res.socket.destroy());
    };
}

class Stats {
    constructor() {
        this.seen = new Set();
        this.inFlight = 0;
        this.reset();
    }

    reset() {
        this.seen.clear();
        this.counts = { connections: 0, requests: {}, statuses: {}, in_flight_peak: 0, bytes_received: 0, largest_body_bytes: 0,
            docs_received: 0, docs_received_again: 0, docs_refused: 0, docs_per_request_max: 0, docs_served: 0 };
    }

    begin(req, res) {
        const counts = this.counts;
        const parts = req.url.split('?')[0].split('/');
        const route = `${req.method} ${parts.find((p) => p.startsWith('_')) || parts[parts.length - 1] || '/'}`;
        counts.requests[route] = (counts.requests[route] || 0) + 1;
        counts.in_flight_peak = Math.max(counts.in_flight_peak, ++this.inFlight);
        res.on('close', () => {
            this.inFlight--;
            counts.statuses[res.statusCode] = (counts.statuses[res.statusCode] || 0) + 1;
        });
    }

    body(bytes) {
        this.counts.bytes_received += bytes;
        this.counts.largest_body_bytes = Math.max(this.counts.largest_body_bytes, bytes);
    }

    // The documents of a _bulk_get's answer, which is returned.
    served(answer) {
        this.counts.docs_served += (answer.results || []).flatMap((r) => r.docs).filter((d) => d.ok).length;
        return answer;
    }

    // again: already received in an earlier request that was answered (a refused document tried once more counts as well).
    docs(docs) {
        this.counts.docs_received += docs.length;
        this.counts.docs_per_request_max = Math.max(this.counts.docs_per_request_max, docs.length);
        for (const doc of docs) {
            const key = `${doc._id} ${doc._rev}`;
            this.counts.docs_received_again += this.seen.has(key) ? 1 : 0;
            this.seen.add(key);
        }
    }
}

module.exports = { Faults, Stats };
