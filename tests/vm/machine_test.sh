#!/bin/bash
# SPDX-License-Identifier: AGPL-3.0-or-later
# machine --ports 2
# Goal: a gadget made in the machine is enumerated by the machine's host side, on the port that it should, goes when its
# cable is unplugged and comes back when it is plugged in.
set -eu

fail() {
    echo "machine: $*" >&2
    exit 1
}

# gadget NAME UDC: the kernel's source/sink function under the serial number NAME.
gadget() {
    local dir=/sys/kernel/config/usb_gadget/$1
    mkdir -p "$dir/strings/0x409" "$dir/configs/c.1" "$dir/functions/SourceSink.0"
    echo 0x1d6b >"$dir/idVendor"
    echo 0x0104 >"$dir/idProduct"
    echo "$1" >"$dir/strings/0x409/serialnumber"
    ln -s "$dir/functions/SourceSink.0" "$dir/configs/c.1/"
    echo "$2" >"$dir/UDC"
}

# await there|gone SERIAL PORT: until the device is so, in sysfs and in /dev/bus/usb. A bound of 30 seconds.
await() {
    local file folder state end=$((SECONDS + 30))
    while [[ $SECONDS -lt $end ]]; do
        state=gone
        for file in "/sys/devices/platform/dummy_hcd.$3"/usb*/*/serial; do
            folder=${file%/serial}
            if [[ $(cat "$file" 2>/dev/null) = "$2" && -c /dev/$(sed -n 's/^DEVNAME=//p' "$folder/uevent") &&
                $(cat "$folder/bNumInterfaces") -gt 0 ]]; then
                state=there
            fi
        done
        [[ $state != "$1" ]] || return 0
        sleep 0.05
    done
    fail "$2 at port $3 is not $1"
}

[[ $(id -u) -eq 0 && $PWD = "$(realpath "$(dirname "$0")/../..")" ]] || fail "not root in the project's folder, but in $PWD"
[[ -x $BIN/boda ]] || fail "the programs are not in $BIN"

gadget one dummy_udc.0
await there one 0
gadget two dummy_udc.1
await there two 1
tests/vm/cable.sh unplug 0
await gone one 0
await there two 1
tests/vm/cable.sh plug 0
await there one 0
tests/vm/cable.sh unplug 1
await gone two 1
await there one 0
echo >/sys/kernel/config/usb_gadget/one/UDC
await gone one 0
modprobe -a usb_f_fs usb_f_ss_lb usb_f_mass_storage dm-flakey || fail "modules cannot be loaded"
