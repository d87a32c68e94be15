#!/bin/bash
# SPDX-License-Identifier: AGPL-3.0-or-later
# machine --systemd --ports 2
# timeout 1800
# Goal: after make install and what docs/install.md says, nobody types anything. One machine is board, tablet and office PC,
# with a real USB stack in between: the units start by rules, do their work as the user boda in their sandboxes, and stop
# when the cable is pulled.
set -eu

BIN=$(realpath "${BIN:-build/gcc/bin}")
BUILD=$(dirname "$(dirname "$BIN")")
export BUILD
server_pid=

fail() {
    echo "units: $*" >&2
    journalctl --no-pager -o short-monotonic -u 'boda-*' | tail -n 60 >&2
    exit 1
}

# await COMMAND ARG...: until it succeeds. The bound is for a machine that has others beside it.
await() {
    local end=$((SECONDS + 300))
    until "$@"; do
        [[ $SECONDS -lt $end ]] || fail "not in time: $*"
        sleep 0.2
    done
}

step() {
    echo "units: $* ($SECONDS s)"
}

is() { # UNIT STATE: as systemctl show says
    [[ $(systemctl show -P ActiveState "$1") = "$2" ]]
}

says() { # UNIT PATTERN [TIMES]
    [[ $(journalctl --no-pager -o cat -u "$1" | grep -cE -- "$2") -ge ${3:-1} ]]
}

plugged() {
    compgen -G '/dev/boda/*' >/dev/null
}

both_plugged() {
    [[ $(compgen -G '/dev/boda/*' | wc -l) = 2 ]]
}

unplugged() {
    ! plugged
}

dock_unit() { # the unit of the courier that is plugged in
    echo "boda-dock@$(basename /dev/boda/*).service"
}

moved() { # a courier is there, and its unit is not this one
    plugged && [[ $(dock_unit) != "$1" ]]
}

shines() { # steadily: 1, not at all: 0
    grep -qF '[none]' "$lamp/trigger" && [[ $(cat "$lamp/brightness") = "$1" ]]
}

# Its main process is boda's, without capabilities, and with filters.
confined() { # UNIT [PID]
    local pid=${2:-$(systemctl show -P MainPID "$1")}
    [[ $(stat -c %U "/proc/$pid") = boda ]] || fail "$1 runs as $(stat -c %U "/proc/$pid")"
    grep -q '^CapEff:.0*$' "/proc/$pid/status" || fail "$1: $(grep ^Cap "/proc/$pid/status")"
    grep -q '^NoNewPrivs:.1$' "/proc/$pid/status" || fail "$1: may gain privileges"
    grep -q '^Seccomp:.2$' "/proc/$pid/status" || fail "$1: its system calls are not filtered"
}

step 'installed'
make -s -o all install
[[ $(getent passwd boda | cut -d : -f 7) = /usr/sbin/nologin ]] || fail 'there is no user boda'
udevadm settle
! systemctl is-failed 'boda-*' >/dev/null || fail 'something has failed already'
is boda-courier.service inactive || fail 'a courier runs without an identity'

step 'set up as a board, as a tablet, as an office PC'
cd /etc
mkdir -p /root boda
umask 077
echo 'words of the deployment' >/root/deployment.pass
boda init /root/deployment --name demo --new-passphrase-file /root/deployment.pass >/root/init.out
enroll() {
    echo "words of $2" >"boda/$1.passphrase"
    boda enroll "$@" --deployment /root/deployment --passphrase-file /root/deployment.pass -o "boda/$1.p12" \
        --new-passphrase-file "boda/$1.passphrase" >"/root/$2.out"
    chown boda: "boda/$1.p12"
}
enroll courier c1
enroll tablet t1 --user chw1
secret=$(sed -n 's/^secret //p' /root/t1.out)
chmod 755 boda
cd - >/dev/null

step 'the board starts its courier by itself'
# A lamp that a virtual machine has: an LED of its keyboard.
modprobe -a atkbd input-leds ledtrig-timer
await compgen -G '/sys/class/leds/*::scrolllock' >/dev/null
lamp=$(echo /sys/class/leds/*::scrolllock)
echo "OPTIONS=--lamp ${lamp##*/}" >/etc/boda/courier.conf
udevadm trigger --settle --action=add --subsystem-match=leds
udevadm trigger --action=add --subsystem-match=udc
await is boda-courier.service active
await says boda-courier.service 'dummy_udc'
await plugged
node=$(readlink -f /dev/boda/*)
[[ $(stat -c '%U:%G %a' "$node") = 'root:boda 660' ]] || fail "$node is $(stat -c '%U:%G %a' "$node")"
worker=$(pgrep -P "$(systemctl show -P MainPID boda-courier.service)")
confined boda-courier.service "$worker"
is "$(dock_unit)" inactive || fail 'a dock runs without a configuration'

step 'the tablet hands over'
systemctl start boda-tablet.service
await says boda-tablet.service 'listening on'
confined boda-tablet.service
curl -sS --fail -o /root/curl.out -u "chw1:$secret" -H 'Content-Type: application/json' http://127.0.0.1:5985/medic/_bulk_docs -d \
    '{"new_edits":false,"docs":[{"_id":"report","_rev":"1-a","_revisions":{"start":1,"ids":["a"]},"type":"data_record"}]}'
await says boda-tablet.service 'sent 1 batches'
await shines 1
systemctl stop boda-tablet.service
[[ $(systemctl show -P Result boda-tablet.service) = success ]] || fail 'boda-tablet did not end well'

step 'the office: the server is away at first'
port=5988
cp -r /root/deployment /etc/boda/deployment
rm /etc/boda/deployment/ca.p12
cp /root/deployment.pass /etc/boda/dock.passphrase
printf 'username,password\nchw1,chw1-pw\n' | tee /root/users.csv >/etc/boda/users.csv
chown -R boda: /etc/boda/deployment /etc/boda/users.csv
sed "s@^url = .*@url = http://127.0.0.1:$port\nkind = couchdb@" udev/dock.ini >/etc/boda/dock.ini
printf '[replay]\npatience = 2\n' >>/etc/boda/dock.ini
chmod 644 /etc/boda/dock.ini
tests/vm/cable.sh unplug
await unplugged
await shines 0
tests/vm/cable.sh plug
await plugged
dock=$(dock_unit)
await is "$dock" active
confined "$dock"
await says "$dock" 'took 2, freed 0; safe to unplug' # the report, and the tablet's receipt
await says "$dock" 'not reachable'
tests/vm/cable.sh unplug
await is "$dock" inactive
await says boda-dock-upload.service 'not reachable'
await is boda-dock-upload.service inactive
[[ $(systemctl show -P Result boda-dock-upload.service) = success ]] || fail 'a server that is away is a failure of the upload'

step 'the server is back: the timer brings it what is there'
node tests/web/server.js --kind couchdb --port $port --users /root/users.csv >/root/server.out 2>&1 &
server_pid=$!
await grep -q '^listening' /root/server.out
mkdir -p /etc/systemd/system/boda-dock-upload.timer.d
printf '[Timer]\nOnActiveSec=1\nOnUnitInactiveSec=3\nAccuracySec=1\n' >/etc/systemd/system/boda-dock-upload.timer.d/quick.conf
systemctl daemon-reload
systemctl enable --now boda-dock-upload.timer
await says boda-dock-upload.service '1 of 1 batches applied'
systemctl stop boda-dock-upload.timer
await is boda-dock-upload.service inactive
curl -sS --fail -u admin:password "http://127.0.0.1:$port/medic/report" | grep -q '"_rev":"1-a"' || fail 'the report is not at the server'

step 'plugged in again: another number, another instance; the courier is told'
tests/vm/cable.sh plug
await plugged
again=$(dock_unit)
[[ $again != "$dock" ]] || fail "the instance has the same number, $again"
await says "$again" 'freed 1'

step 'a quick re-plug'
tests/vm/cable.sh unplug
tests/vm/cable.sh plug
await moved "$again"
await is "$(dock_unit)" active
await is "$again" inactive
await says "$(dock_unit)" 'safe to unplug'

step 'a dock that is killed starts again while its courier is there'
dock=$(dock_unit)
systemctl kill -s KILL "$dock"
await says "$dock" 'courier c1: connected' 2
is "$dock" active || fail "$dock is not active"

step 'the courier is killed: its gadget goes and comes back'
systemctl kill -s KILL boda-courier.service
await is "$dock" inactive
await is boda-courier.service active
await plugged
await says "$(dock_unit)" 'safe to unplug'

step 'the office PC boots with the courier in it'
dock=$(dock_unit)
systemctl stop "$dock"
systemctl restart systemd-udev-trigger.service
await is "$dock" active

step 'installed again over what runs: it runs on, from the new files'
before=$(systemctl show -P MainPID boda-courier.service)
make -s -o all install
await is boda-courier.service active
[[ $(systemctl show -P MainPID boda-courier.service) != "$before" ]] || fail 'the old courier still runs'
await plugged
dock=$(dock_unit)
await says "$dock" 'safe to unplug'

step 'what somebody stops stays stopped'
systemctl stop "$dock" boda-courier.service
udevadm settle
sleep 3 # for what must not happen
is boda-courier.service inactive || fail 'the courier came back'
systemctl start boda-courier.service
await plugged
dock=$(dock_unit)
await is "$dock" active

step 'a second courier in a second port has a dock of its own, on the same store'
echo 'words of c2' >/root/c2.passphrase
boda enroll courier c2 --deployment /root/deployment --passphrase-file /root/deployment.pass -o /root/c2.p12 \
    --new-passphrase-file /root/c2.passphrase >/root/c2.out
boda-courier --identity /root/c2.p12 --passphrase-file /root/c2.passphrase --store /root/c2 --usb --udc dummy_udc.1 \
    >/root/c2.log 2>&1 &
second=$!
await both_plugged
for courier in /dev/boda/*; do
    await is "boda-dock@${courier##*/}.service" active
    await says "boda-dock@${courier##*/}.service" 'safe to unplug'
done
kill "$second"
await is "boda-dock@${courier##*/}.service" inactive
is "$(dock_unit)" active || fail 'the first courier lost its dock'

step 'uninstalled: nothing runs, nothing is there'
rm -r /etc/systemd/system/boda-dock-upload.timer.d
make -s uninstall
is boda-courier.service inactive || fail 'the courier still runs'
is "$dock" inactive || fail "$dock still runs"
is boda-dock-upload.service inactive || fail 'the upload still runs, or has failed'
left=$(find /usr/lib/systemd /usr/lib/udev /usr/lib/sysusers.d /usr/lib/tmpfiles.d /usr/local /etc/systemd -name '*boda*')
[[ -z $left ]] || fail "left: $left"
[[ -e /var/lib/boda/dock/boda.db && -e /etc/boda/dock.ini ]] || fail 'what the stations hold is gone'
kill "$server_pid"
