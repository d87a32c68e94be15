#!/bin/bash
# SPDX-License-Identifier: AGPL-3.0-or-later
# machine --systemd
# Goal: systemd runs in the machine: a unit that a udev rule wants starts when the device is plugged in, and its lines are
# in the journal. Nothing of the host's own services is there.
set -eu

fail() {
    echo "systemd: $*" >&2
    systemctl --no-pager --all list-units '*.service' >&2
    exit 1
}

# await COMMAND ARG...: until it succeeds. A bound of 60 seconds.
await() {
    local end=$((SECONDS + 60))
    until "$@"; do
        [[ $SECONDS -lt $end ]] || fail "not within 60 seconds: $*"
        sleep 0.1
    done
}

says() {
    journalctl --no-pager -o cat -u "$1" | grep -qxF "$2"
}

[[ $(cat /proc/1/comm) = systemd ]] || fail "process 1 is $(cat /proc/1/comm)"
[[ $(systemctl is-system-running --wait) = running ]] || fail "$(systemctl --no-pager --failed)"
services=$(systemctl --no-legend --plain --state=active list-units '*.service' | cut -d ' ' -f 1 | xargs)
[[ $services = 'machine-command.service systemd-journald.service systemd-udev-trigger.service systemd-udevd.service' ]] ||
    fail "these run: $services"

cat >/etc/systemd/system/greet@.service <<'END'
[Service]
ExecStart=/bin/echo greetings from %i
END
# shellcheck disable=SC2016 # udev's, not the shell's
echo 'SUBSYSTEM=="usb", ENV{DEVTYPE}=="usb_device", ATTR{serial}=="one", TAG+="systemd", ENV{SYSTEMD_WANTS}+="greet@$attr{serial}.service"' \
    >/etc/udev/rules.d/70-test.rules
systemctl daemon-reload
udevadm control --reload

gadget=/sys/kernel/config/usb_gadget/one
mkdir -p $gadget/strings/0x409 $gadget/configs/c.1 $gadget/functions/SourceSink.0
echo one >$gadget/strings/0x409/serialnumber
ln -s $gadget/functions/SourceSink.0 $gadget/configs/c.1/
! says greet@one.service 'greetings from one' || fail 'the unit ran before the device was there'
echo dummy_udc.0 >$gadget/UDC
await says greet@one.service 'greetings from one'
