// SPDX-License-Identifier: AGPL-3.0-or-later
'use strict';

/*
 * Batch files for tests: the subcommands export and import of a station, and what a folder has.
 */

const crypto = require('crypto');
const fs = require('fs');
const path = require('path');
const { run } = require('./program');

// The station's command line up to the subcommand.
function station(station_) {
    const { world } = station_;
    if (station_.config) {
        return ['boda-dock', ['--config', station_.config, '--passphrase-file', world.passphrase]];
    }
    return [station_.user ? 'boda-tablet' : 'boda-courier', station_.identityArgs()];
}

// Runs it; gives the last line that it printed. expected: exit statuses.
async function command(station_, ...words) {
    const [program, args] = station(station_);
    const lines = await run(`${station_.name} ${words[0]}`, path.join(station_.world.bin, program), [...args, ...words],
        { env: station_.world.env });
    return lines[lines.length - 1];
}

// Every file of a folder, by its path in it.
function list(folder, inside = '') {
    return fs.readdirSync(path.join(folder, inside), { withFileTypes: true }).flatMap((entry) => {
        const name = path.join(inside, entry.name);
        return entry.isDirectory() ? list(folder, name) : [name];
    }).sort();
}

const batchFiles = (folder) => list(folder).filter((name) => /^[^A-Z]*\.p7m$/.test(name));

// The hash of each file of a folder.
function tree(folder) {
    return Object.fromEntries(list(folder).map((name) =>
        [name, crypto.createHash('sha256').update(fs.readFileSync(path.join(folder, name))).digest('hex')]));
}

module.exports = { station, command, list, batchFiles, tree };
