// SPDX-License-Identifier: AGPL-3.0-or-later
'use strict';

/*
 * The moments at which tests/vm/unplug_test.js pulls the cable: variants of a kind, each at a host. arm(campaign, strike) lets
 * strike() be called in that moment of what the next plug brings. before: that is before the session. idles: it may come when all
 * is done. ends: the host's program ends by itself. controller: not the port, but the gadget's controller goes. order: those of a
 * phase go by it, as some use up what others need. may(campaign): whether it can come in this phase. prepare(campaign): what is
 * to be done for it, with the cable out.
 */

const { devices } = require('./usb');

// After the LINE that fits has been said K times by an end, here: 'host' or 'courier'.
function atLine(campaign, here, pattern, k, strike, delay_ms = 0) {
    const end = here === 'host' ? campaign.host.end : campaign.courier.end;
    let left = k;
    campaign.listen(end, (line) => {
        if (pattern.test(line) && --left === 0) {
            if (delay_ms) {
                setTimeout(strike, delay_ms);
            } else {
                strike();
            }
        }
    });
}

// A frame: as its sender says, or as its receiver does; at once or a little later.
function frame(at, from, name, { most = 1, order = 0, may } = {}) {
    const to = from === 'courier' ? at : 'courier';
    return { at, kind: name, name: `${from} -> ${to} ${name}`, order, may, idles: order >= 4,
        arm(campaign, strike) {
            const sends = campaign.random() < 0.5, here = (from === 'courier') === sends ? 'courier' : 'host';
            const k = this.late ? 1 : campaign.below(most) + 1;
            atLine(campaign, here, new RegExp(`^frame: ${name} ${sends ? 'goes' : 'comes'},`), k, strike,
                campaign.random() < 0.5 ? 0 : campaign.below(40));
        } };
}

const hasReceipts = (campaign) => campaign.receipts;

// The host ends by itself while all is idle, which is a BYE each way.
function bye(at, from) {
    const moment = frame(at, from, 'BYE', { order: 5 });
    return { ...moment, ends: true, arm(campaign, strike) {
        moment.arm(campaign, strike);
        campaign.listen(campaign.host.end, (line) => /safe to unplug$/.test(line) &&
            campaign.host.station.program.child.kill('SIGTERM'));
    } };
}

function moments(at) {
    return [
        // The port cannot be disabled before it has done with a device: that is cut off as soon as it is there.
        { at, kind: 'enumeration', name: `${at}: enumeration`, order: 0, before: true,
            arm(campaign, strike) { setTimeout(strike, campaign.below(this.late ? 100 : 400)); } },
        // But its controller can go meanwhile.
        { at, kind: 'half enumerated', name: `${at}: half enumerated`, order: 0, before: true, controller: true,
            arm(campaign, strike) { setTimeout(strike, campaign.below(this.late ? 100 : 400)); } },
        // Found by the host: opened, claimed, RESET.
        { at, kind: 'RESET', name: `${at}: RESET`, order: 0, before: true,
            arm(campaign, strike) {
                const delay_ms = campaign.below(this.late ? 10 : 80);
                const there = () => devices().some(({ vid }) => vid === '1d6b');
                const look = () => (there() ? setTimeout(strike, delay_ms) : setTimeout(look, 2));
                look();
            } },
        { at, kind: 'handshake', name: `${at}: handshake`, order: 0, before: true,
            arm(campaign, strike) {
                atLine(campaign, 'host', /: a session begins at interface/, 1, strike, this.late ? 0 : campaign.below(120));
            } },
        { at, kind: 'mid-DATA', name: `${at}: mid-DATA`, order: 0,
            arm(campaign, strike) {
                atLine(campaign, 'courier', /^frame: DATA/, 1, strike, this.late ? 1 : campaign.below(1500));
            } },
        { at, kind: 'commit', name: `${at}: commit`, order: 0,
            arm(campaign, strike) {
                atLine(campaign, at === 'tablet' ? 'courier' : 'host', /^exchange: \d+ batches are written$/,
                    this.late ? 1 : 1 + campaign.below(4), strike);
            } },
        { at, kind: 'idle', name: `${at}: idle`, order: 5, idles: true,
            arm(campaign, strike) { atLine(campaign, 'host', /safe to unplug$/, 1, strike, 1 + campaign.below(1500)); } },
    ];
}

const VARIANTS = [
    ...moments('tablet'),
    frame('tablet', 'courier', 'REVOKED', { order: -1, may: (campaign) => campaign.listAtCourier }),
    frame('tablet', 'tablet', 'HELLO'), frame('tablet', 'courier', 'HELLO'),
    frame('tablet', 'tablet', 'OFFER'), frame('tablet', 'courier', 'WANT'),
    frame('tablet', 'tablet', 'DATA', { most: 20 }), frame('tablet', 'courier', 'STORED'),
    { ...frame('tablet', 'courier', 'ERROR', { order: 1 }), prepare: (campaign) => campaign.lockStore() },
    frame('tablet', 'tablet', 'PULL', { order: 2 }), frame('tablet', 'courier', 'OFFER', { order: 2 }),
    frame('tablet', 'tablet', 'WANT', { order: 3, may: hasReceipts }),
    frame('tablet', 'courier', 'DATA', { order: 3.1, may: hasReceipts }),
    frame('tablet', 'tablet', 'STORED', { order: 3.2, may: hasReceipts }),
    frame('tablet', 'tablet', 'APPLIED', { order: 3.3, may: hasReceipts }),
    frame('tablet', 'courier', 'FREED', { order: 3.4, may: hasReceipts }),
    frame('tablet', 'tablet', 'PING', { most: 2, order: 4 }), frame('tablet', 'courier', 'PONG', { most: 2, order: 4 }),
    bye('tablet', 'tablet'), bye('tablet', 'courier'),

    ...moments('dock'),
    { ...frame('dock', 'dock', 'REVOKED', { order: -1 }), prepare: (campaign) => campaign.revoke() },
    frame('dock', 'dock', 'HELLO'), frame('dock', 'courier', 'HELLO'),
    frame('dock', 'dock', 'OFFER'), frame('dock', 'dock', 'PULL'),
    frame('dock', 'courier', 'OFFER'), frame('dock', 'dock', 'WANT'),
    frame('dock', 'courier', 'DATA', { most: 20 }), frame('dock', 'dock', 'STORED'),
    frame('dock', 'dock', 'APPLIED', { order: 3 }), frame('dock', 'courier', 'FREED', { order: 3 }),
    frame('dock', 'courier', 'WANT', { order: 3.1 }), frame('dock', 'dock', 'DATA', { order: 3.1 }),
    frame('dock', 'courier', 'STORED', { order: 3.2 }),
    frame('dock', 'dock', 'PING', { most: 2, order: 4 }), frame('dock', 'courier', 'PONG', { most: 2, order: 4 }),
    bye('dock', 'dock'), bye('dock', 'courier'),
];

module.exports = { VARIANTS };
