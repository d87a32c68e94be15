// SPDX-License-Identifier: AGPL-3.0-or-later
'use strict';

/*
 * What a process holds: descriptors, threads, memory; and what the kernel holds of all: contexts of asynchronous I/O.
 */

const fs = require('fs');
const path = require('path');

const lines = (file) => {
    try {
        return fs.readFileSync(file, 'utf8').split('\n');
    } catch (e) {
        return [];
    }
};

// Connections over TCP are HTTP's, and may be kept: as /proc/PID/fd names them.
const tcpSockets = () => new Set(['tcp', 'tcp6'].flatMap((name) => lines(`/proc/net/${name}`).slice(1)
    .map((line) => `socket:[${line.trim().split(/\s+/)[9]}]`)));

// What the descriptors of a process are.
function descriptors(pid) {
    const tcp = tcpSockets(), folder = `/proc/${pid}/fd`;
    return fs.readdirSync(folder).map((fd) => {
        try {
            return fs.readlinkSync(path.join(folder, fd));
        } catch (e) {
            return '';
        }
    }).filter((target) => target && !tcp.has(target));
}

function held(pid) {
    const rss = lines(`/proc/${pid}/status`).find((line) => line.startsWith('VmRSS:'));
    return { descriptors: descriptors(pid).length, threads: fs.readdirSync(`/proc/${pid}/task`).length,
        memory_kb: Number(/\d+/.exec(rss)[0]) };
}

const aioContexts = () => Number(lines('/proc/sys/fs/aio-nr')[0]);

// The only child of a process; 0 when it has none.
function childOf(pid) {
    return Number(lines(`/proc/${pid}/task/${pid}/children`)[0] || 0);
}

module.exports = { aioContexts, childOf, descriptors, held };
