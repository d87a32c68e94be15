#!/bin/sh
# SPDX-License-Identifier: AGPL-3.0-or-later
#
# For make install and uninstall on a running system:
#   tell-system.sh installed SYSUSERS.CONF TMPFILES.CONF | leaving | gone
# What is not there, or is not running (a container, a system without systemd), is left out; so is everything when it is
# not root who installs.
set -eu
[ "$(id -u)" -eq 0 ] || exit 0

have_systemd() {
    [ -d /run/systemd/system ] && command -v systemctl >/dev/null
}

reload() {
    ! have_systemd || systemctl daemon-reload
    if [ -S /run/udev/control ] && command -v udevadm >/dev/null; then
        udevadm control --reload
        udevadm trigger --subsystem-match=usb
        udevadm trigger --action=add --subsystem-match=udc --subsystem-match=leds
    fi
}

case ${1:-} in
installed)
    # The user first: rules and folders name it.
    ! command -v systemd-sysusers >/dev/null || systemd-sysusers "$2"
    ! command -v systemd-tmpfiles >/dev/null || systemd-tmpfiles --create "$3"
    reload
    ! have_systemd || systemctl try-restart boda-courier.service boda-tablet.service 'boda-dock@*.service'
    ;;
leaving)
    # What was never installed or started is no fault here. One after the other: a dock that ends starts the upload.
    have_systemd || exit 0
    systemctl stop boda-dock-upload.timer 'boda-dock@*.service' 'boda-stick@*.service' 2>/dev/null || true
    systemctl stop boda-dock-upload.service boda-courier.service boda-tablet.service 2>/dev/null || true
    systemctl --quiet disable boda-dock-upload.timer boda-courier.service boda-tablet.service 2>/dev/null || true
    ;;
gone)
    reload
    ! have_systemd || systemctl reset-failed 'boda-*' 2>/dev/null || true
    ;;
*)
    echo "usage: $0 installed SYSUSERS.CONF TMPFILES.CONF | leaving | gone" >&2
    exit 2
    ;;
esac
