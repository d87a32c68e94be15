// SPDX-License-Identifier: AGPL-3.0-or-later
'use strict';

/*
 * A deployment in a folder, with any number of tablets, couriers and docks, driven through the real programs. The cable is a Unix
 * socket: each tablet and dock has a socket of its own, and to plug a courier in is to let it listen there.
 *
 *   const world = await World.create({ dir, bin });
 *   const tablet = await world.tablet('t1', { user: 'chw1' }), courier = await world.courier('c1');
 *   const server = await world.server(), dock = await world.dock('d1', server);
 *   await tablet.start();  await courier.plug(tablet);  ...  await courier.unplug();
 *   await courier.plug(dock);  await dock.runOnce();
 */

const fs = require('fs');
const path = require('path');
const { Program, run, waitFor } = require('./program');

const START_MS = 180000;

function secretFile(file, text) {
    fs.writeFileSync(file, text, { mode: 0o600 });
    return file;
}

const csv = (rows) => rows.map((row) => row.join(',') + '\n').join('');

class Station {
    constructor(world, name) {
        Object.assign(this, { world, name, program: null });
        this.store = path.join(world.dir, `${name}.store`);
        this.identity = path.join(world.dir, `${name}.p12`);
        this.passphrase = path.join(world.dir, `${name}.pass`);
        this.cable = path.join(world.dir, `${name}.sock`);
    }

    spawn(program, args) {
        const log = path.join(this.world.dir, `${this.name}.log`);
        this.program = new Program(this.name, path.join(this.world.bin, program), args, { log, env: this.world.env });
        return this.program;
    }

    async enroll(role, extra = []) {
        secretFile(this.passphrase, `station ${this.name}\n`);
        const lines = await this.world.boda(['enroll', role, this.name, ...extra, '--deployment', this.world.deployment,
            '--passphrase-file', this.world.passphrase, '-o', this.identity, '--new-passphrase-file', this.passphrase]);
        return Object.fromEntries(lines.map((line) => [line.split(' ')[0], line.slice(line.indexOf(' ') + 1)]));
    }

    identityArgs() {
        return ['--identity', this.identity, '--passphrase-file', this.passphrase, '--store', this.store];
    }

    async status() {
        return JSON.parse((await this.world.boda(['status', '--json', '--store', this.store])).join('\n'));
    }

    // undefined while there is no store yet.
    async statusIfMade() {
        return this.status().catch((e) => {
            if (!/there is no store/.test(e.message)) {
                throw e;
            }
        });
    }

    // Waits until what the store holds fits the predicate; progress is given each status.
    async waitStatus(what, predicate, { timeout_ms = 60000, programs = [], progress } = {}) {
        return waitFor(`${this.name}: ${what}`, async () => {
            const status = await this.statusIfMade();
            if (!status) {
                return false;           // the program has only just started
            }
            if (progress) {
                progress(status.batches);
            }
            return predicate(status.batches, status) && status;
        }, timeout_ms, [this.program, ...programs].filter((p) => p));
    }

    async stop() {
        await this.program.stop();
    }

    async kill() {
        return this.program.kill();
    }
}

class Tablet extends Station {
    constructor(world, name, user) {
        super(world, name);
        Object.assign(this, { user, port: 0 });
    }

    // Ready when PouchDB can talk to it. Started again, it keeps its port.
    async start(extra = []) {
        const program = this.spawn('boda-tablet', [...this.identityArgs(), '--http', `127.0.0.1:${this.port}`,
            ...this.cableArgs(), ...extra]);
        [, this.port] = await program.waitLine(/http: listening on 127\.0\.0\.1:(\d+)/, START_MS);
        return this;
    }

    cableArgs() {
        return ['--connect', `unix:${this.cable}`];
    }

    url(db = 'medic') {
        return `http://${encodeURIComponent(this.user)}:${encodeURIComponent(this.secret)}@127.0.0.1:${this.port}/${db}`;
    }

    // A request with the app's authentication; gives {status, headers, json or text}.
    async ask(method, route, body) {
        const authorization = 'Basic ' + Buffer.from(`${this.user}:${this.secret}`).toString('base64');
        const answer = await fetch(`http://127.0.0.1:${this.port}/${route}`, { method, body: body && JSON.stringify(body),
            headers: { authorization, accept: 'application/json', 'content-type': 'application/json' } });
        const text = await answer.text();
        const json = /json/.test(answer.headers.get('content-type')) ? JSON.parse(text) : null;
        return { status: answer.status, headers: answer.headers, json, text };
    }
}

class Courier extends Station {
    async plug(station, extra = []) {
        fs.rmSync(station.cable, { force: true });
        this.spawn('boda-courier', [...this.identityArgs(), '--listen', `unix:${station.cable}`, ...extra]);
        await waitFor(`${this.name}: listens`, () => fs.existsSync(station.cable), START_MS, [this.program]);
        return this;
    }

    async unplug() {
        await this.stop();
    }
}

class Dock extends Station {
    configure(deployment, server, couriers = {}) {
        this.config = path.join(this.world.dir, `${this.name}.ini`);
        const file = server.users ? ['users', server.users] : ['account', server.account];
        const lines = ['[deployment]', `dir=${deployment}`,
            '[server]', `url=${server.url}`, `kind=${server.kind}`, `db=${server.db}`, file.join('='),
            ...(server.ca ? [`ca=${server.ca}`] : []), '[down]', ...(server.selector ? [`selector=${server.selector}`] : []),
            ...(server.fetch === false ? ['fetch=no'] : []), '[store]', `dir=${this.store}`, '[couriers]',
            ...Object.entries(couriers).map(([courier, tablets]) => `${courier}=${tablets.join(',')}`)];
        fs.writeFileSync(this.config, lines.join('\n') + '\n');
    }

    // Another process of this dock: the same store, but a cable (and log) of its own.
    beside(name) {
        const cable = path.join(this.world.dir, `${name}.sock`);
        return Object.assign(Object.create(Dock.prototype), this, { name, cable, program: null });
    }

    command(...args) {
        return this.spawn('boda-dock', ['--config', this.config, '--passphrase-file', this.world.passphrase, ...args]);
    }

    start(extra = []) {
        return this.command('run', '--connect', `unix:${this.cable}`, ...extra);
    }

    async runOnce(timeout_ms = 60000, expected = [0]) {
        return this.start(['--once']).wait(timeout_ms, expected);
    }

    async fetched() {}              // runOnce() has waited for that, too

    async upload(timeout_ms = 60000, expected = [0]) {
        return this.command('upload').wait(timeout_ms, expected);
    }
}

class Server {
    constructor(world, users, { kind = 'cht', durable = false, pace } = {}) {
        Object.assign(this, { world, kind, db: 'medic', port: 0, durable, pace });
        this.users = secretFile(path.join(world.dir, 'users.csv'), csv([
            ['username', 'password', 'roles', 'name', 'place', 'reset'],
            ...users.map((u) => [u.user, u.password || `${u.user}-pw`, u.roles || 'chw', u.user, u.place || `facility-${u.user}`,
                u.reset ? 'yes' : ''])]));
    }

    // Started again, it keeps its port, and its documents if it is durable.
    async start() {
        const store = [...this.durable ? ['--store', path.join(this.world.dir, 'server.store')] : [],
            ...this.pace ? ['--pace', this.pace] : []];
        this.program = new Program('server', process.execPath, [path.join(__dirname, 'server.js'), '--port', String(this.port),
            '--kind', this.kind, '--users', this.users, '--control', ...store], { log: path.join(this.world.dir, 'server.log') });
        [, this.url, this.port] = await this.program.waitLine(/^listening (.*:(\d+))$/, START_MS);
        this.admin = this.as('admin', 'password');
        return this;
    }

    // The database's URL for a user.
    as(user, password = `${user}-pw`, db = this.db) {
        return this.url.replace('//', `//${user}:${password}@`) + `/${db}`;
    }

    async test(what, body) {
        const answer = await fetch(`${this.url}/_test/${what}`, body && { method: 'POST', body: JSON.stringify(body) });
        return answer.json();
    }

    stats() { return this.test('stats'); }
    fault(fault) { return this.test('fault', fault); }
    reset() { return this.test('reset', {}); }
    purge(user, ids) { return this.test('purge', { user, ids }); }
    sentinel(options = {}) { return this.test('sentinel', options); }
    stop() { return this.program.stop(); }
    kill() { return this.program.kill(); }
}

class World {
    // dir must exist, be empty, and have a short name: a socket's path has at most 107 bytes. classes: others than those above,
    // for stations that meet in another way.
    static async create({ dir, bin, env, classes = {} }) {
        const world = new World();
        Object.assign(world, { dir, bin, env, deployment: path.join(dir, 'deployment'), docks: 0 });
        world.classes = { Tablet, Courier, Dock, ...classes };
        world.passphrase = secretFile(path.join(dir, 'deployment.pass'), 'deployment of a test\n');
        await world.boda(['init', world.deployment, '--name', 'demo', '--new-passphrase-file', world.passphrase]);
        return world;
    }

    async boda(args) {
        return run(`boda ${args[0]}`, path.join(this.bin, 'boda'), args, { env: this.env });
    }

    async tablet(name, { user }) {
        const tablet = new this.classes.Tablet(this, name, user);
        tablet.secret = (await tablet.enroll('tablet', ['--user', user])).secret;
        if (!tablet.secret) {
            throw new Error(`${name}: boda enroll tablet printed no line 'secret VALUE'`);
        }
        return tablet;
    }

    async courier(name) {
        const courier = new this.classes.Courier(this, name);
        await courier.enroll('courier');
        return courier;
    }

    // users: [{user, place, roles, password, reset}]
    async server(users, options) {
        return new Server(this, users, options).start();
    }

    // server: a Server, or {url, kind, db, users or account, ca, selector}. The first dock is the one that boda init made; a later one has
    // a copy of the deployment's folder with its own identity in it.
    async dock(name, server, couriers) {
        const dock = new this.classes.Dock(this, name);
        let folder = this.deployment;
        if (this.docks++) {
            folder = path.join(this.dir, `${name}.deployment`);
            fs.cpSync(this.deployment, folder, { recursive: true });
            dock.passphrase = this.passphrase;
            await this.boda(['enroll', 'dock', name, '--deployment', this.deployment, '--passphrase-file', this.passphrase,
                '-o', dock.identity, '--new-passphrase-file', this.passphrase]);
            fs.copyFileSync(dock.identity, path.join(folder, 'dock.p12'));
        }
        dock.configure(folder, server, couriers);
        return dock;
    }
}

module.exports = { World, Tablet, Courier, Dock, Server, secretFile, csv };
