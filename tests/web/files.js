// SPDX-License-Identifier: AGPL-3.0-or-later
'use strict';

/*
 * Batch files for tests: the subcommands export and import of a station, and what a folder has.
 */

const assert = require('assert');
const crypto = require('crypto');
const fs = require('fs');
const path = require('path');
const { Program } = require('./program');

// The station's command line up to the subcommand.
function station(station_) {
    const { world } = station_;
    if (station_.config) {
        return ['boda-dock', ['--config', station_.config, '--passphrase-file', world.passphrase]];
    }
    return [station_.user ? 'boda-tablet' : 'boda-courier', station_.identityArgs()];
}

// Starts the subcommand.
function start(station_, ...words) {
    const [program, args] = station(station_), { world } = station_;
    return new Program(`${station_.name} ${words[0]}`, path.join(world.bin, program), [...args, ...words], { env: world.env });
}

// Runs it; gives the last line that it printed. The status must be one of those expected.
async function command(station_, ...words) {
    return commandEnds([0], station_, ...words);
}

async function commandEnds(expected, station_, ...words) {
    const lines = await start(station_, ...words).wait(120000, expected);
    return lines[lines.length - 1];
}

// A folder that an export has not finished to make. To look into one that a power cut has torn makes a FAT medium read-only.
const isHalfMade = (entry) => entry.isDirectory() && /^\.boda-[a-z2-7]{6}\.tmp$/.test(entry.name);

// Every file of a folder, by its path in it.
function list(folder, inside = '') {
    const entries = fs.readdirSync(path.join(folder, inside), { withFileTypes: true });
    return entries.filter((entry) => !isHalfMade(entry)).flatMap((entry) => {
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

// The batch files that have not the bytes that their names promise.
function unsound(folder) {
    return batchFiles(folder).filter((name) => {
        const hash = crypto.createHash('sha256').update(fs.readFileSync(path.join(folder, name))).digest('hex');
        return !path.basename(name, '.p7m').endsWith(hash.slice(0, 16));
    });
}

// A folder on a stick that has files of somebody else.
function freshStick(folder) {
    fs.rmSync(folder, { recursive: true, force: true });
    fs.mkdirSync(path.join(folder, 'Photos'), { recursive: true });
    fs.writeFileSync(path.join(folder, 'holiday.jpg'), 'not ours');
    fs.writeFileSync(path.join(folder, 'Photos/A.P7M'), 'not ours either');
    fs.writeFileSync(path.join(folder, '.boda.tmp'), 'nor this');
    return folder;
}

// What freshStick put there is as it was.
function assertTheirs(folder) {
    assert.strictEqual(fs.readFileSync(path.join(folder, 'holiday.jpg'), 'utf8'), 'not ours');
    assert.strictEqual(fs.readFileSync(path.join(folder, 'Photos/A.P7M'), 'utf8'), 'not ours either');
    assert.strictEqual(fs.readFileSync(path.join(folder, '.boda.tmp'), 'utf8'), 'nor this');
}

module.exports = { start, command, commandEnds, list, batchFiles, tree, unsound, freshStick, assertTheirs };
