// SPDX-License-Identifier: AGPL-3.0-or-later
'use strict';

/*
 * The users of the CHT front. The file has the columns of cht-conf's users.csv that matter here: username, password, roles, place;
 * a column reset that is not empty marks a user who must first change the password. The user admin/password is always there.
 */

const crypto = require('crypto');
const fs = require('fs');

const ONLINE_ROLES = ['_admin', 'admin', 'mm-online'];
const WRONG_PASSWORDS_ALLOWED = 5;

function csvFields(line) {
    return [...line.matchAll(/("(?:[^"]|"")*"|[^,]*)(?:,|$)/g)].map((m) => m[1])
        .map((f) => (f.startsWith('"') ? f.slice(1, -1).replace(/""/g, '"') : f.trim()));
}

function readUsers(file) {
    const [head, ...lines] = fs.readFileSync(file, 'utf8').split(/\r?\n/).filter((line) => line !== '');
    const names = csvFields(head);
    return lines.map((line) => Object.fromEntries(csvFields(line).map((field, i) => [names[i], field])));
}

class Accounts {
    constructor(users) {
        this.users = new Map([['admin', { username: 'admin', password: 'password', roles: '_admin' }]]);
        users.forEach((u) => this.users.set(u.username, u));
        this.key = crypto.randomBytes(32);
        this.reset();
    }

    reset() {
        this.wrong = new Map();
    }

    endSessions() {
        this.key = crypto.randomBytes(32);
    }

    online(user) {
        return (user.roles || '').split(/[|:; ]/).some((role) => ONLINE_ROLES.includes(role));
    }

    // Returns {user}, or {failure: 'wrong' | 'locked'}.
    check(name, password) {
        if ((this.wrong.get(name) || 0) >= WRONG_PASSWORDS_ALLOWED) {
            return { failure: 'locked' };
        }
        const user = this.users.get(name);
        if (!user || user.password !== password) {
            this.wrong.set(name, (this.wrong.get(name) || 0) + 1);
            return { failure: 'wrong' };
        }
        this.wrong.delete(name);
        return { user };
    }

    seal(name) {
        return crypto.createHmac('sha256', this.key).update(name).digest('hex');
    }

    cookie(user) {
        const value = Buffer.from(`${user.username}:${this.seal(user.username)}`).toString('base64url');
        return `AuthSession=${value}; Max-Age=31536000; Path=/; HttpOnly; SameSite=Lax`;
    }

    // Who asks: {user}, or {failure: 'none' | 'wrong' | 'locked'}.
    fromRequest(req) {
        const basic = /^Basic (.+)$/i.exec(req.headers.authorization || '');
        const session = /(?:^|;\s*)AuthSession=([^;]+)/.exec(req.headers.cookie || '');
        if (basic) {
            const text = Buffer.from(basic[1], 'base64').toString();
            return this.check(text.slice(0, text.indexOf(':')), text.slice(text.indexOf(':') + 1));
        }
        if (session) {
            const [name, seal] = Buffer.from(session[1], 'base64url').toString().split(':');
            return seal === this.seal(name) && this.users.has(name) ? { user: this.users.get(name) } : { failure: 'none' };
        }
        return { failure: 'none' };
    }
}

module.exports = { Accounts, readUsers };
