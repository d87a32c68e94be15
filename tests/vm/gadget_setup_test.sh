#!/bin/bash
# SPDX-License-Identifier: AGPL-3.0-or-later
# machine --ports 2
# timeout 600
# Goal: boda-courier --usb sets its gadget up and takes all of it down again, however it ends; what was left by a kill is
# gone after the next start; it shares the board with other couriers and gadgets; it is bound again whenever its UDC is
# there; it sleeps while nobody is plugged in.
set -eu
gadgets=/sys/kernel/config/usb_gadget
cycles=${CYCLES:-12}
work=$(mktemp -d)
cd "$work"

fail() {
    echo "gadget_setup: $*" >&2
    for log in "$work"/*.log; do
        echo "-- ${log##*/}" && tail -n 40 "$log"
    done >&2
    dmesg | tail -n 20 >&2
    exit 1
}

# await SECONDS COMMAND ARG...: until it succeeds.
await() {
    local end=$((SECONDS + $1))
    until "${@:2}"; do
        [[ $SECONDS -lt $end ]] || fail "not within $1 seconds: ${*:2}"
        sleep 0.05
    done
}

says() { # FILE WORDS [TIMES]
    [[ $(grep -cF -- "$2" "$1") -ge ${3:-1} ]]
}

ended() {
    ! kill -0 "$1" 2>/dev/null || [[ $(sed 's/.*) //;s/ .*//' "/proc/$1/stat" 2>/dev/null) = Z ]]
}

# sees PORT SERIAL: the host's side of dummy_udc.PORT has the device, with its interface.
sees() {
    local file
    for file in "/sys/devices/platform/dummy_hcd.$1"/usb*/*-1/serial; do
        [[ $(cat "$file" 2>/dev/null) != "$2" || ! -d ${file%/serial}/$(basename "${file%/serial}"):1.0 ]] || return 0
    done
    return 1
}

clean() {
    [[ -z $(ls $gadgets) ]] && ! grep -q functionfs /proc/mounts
}

# start NAME OPTION...: its keeper is then $keeper, its log NAME.log.
start() {
    "$BIN/boda-courier" --identity "$1.p12" --store "$1.store" --passphrase-file pass --usb --user carrier "${@:2}" \
        2>>"$1.log" &
    keeper=$!
}

worker_of() {
    ps -o pid= --ppid "$1" | tr -d ' '
}

# up NAME OPTION...: started and bound.
up() {
    : >"$1.log"
    start "$@"
    await 30 says "$1.log" 'USB gadget at'
    worker=$(worker_of "$keeper")
}

# down STATUS: asked to end; ended so, and nothing of it is left.
down() {
    local status=0 begin=$EPOCHREALTIME
    kill -TERM "$keeper"
    wait "$keeper" || status=$?
    [[ $status -eq $1 ]] || fail "status $status, not $1"
    await 30 clean
    echo "ended after $(((${EPOCHREALTIME/./} - ${begin/./}) / 1000)) ms"
}

serial_of() {
    cat "$gadgets/boda-$1/strings/0x409/serialnumber"
}

prepare() {
    useradd --system carrier
    "$BIN/boda" init d --name test >said
    (umask 077 && sed -n 's/^passphrase //p' said >pass)
    for name in c1 c2; do
        "$BIN/boda" enroll courier $name --deployment d --passphrase-file pass -o $name.p12 --new-passphrase-file pass
    done
    chown -R carrier "$work"
}

set_up_and_down() {
    local serial device
    up c1
    serial=$(serial_of c1)
    await 30 sees 0 "$serial"
    device=$(dirname "$(grep -lxF "$serial" /sys/devices/platform/dummy_hcd.0/usb*/*/serial)")
    [[ $(cat "$device"/{manufacturer,product,idVendor,idProduct,bMaxPower} "$device"/*:1.0/bInterface{Class,SubClass,Protocol} |
        xargs) = 'Boda Boda courier c1 1d6b 0104 500mA ff 42 01' ]] || fail "the host sees another device"
    [[ $(stat -c '%U %a' /run/boda-courier/c1/ffs /run/boda-courier/c1/ffs/ep1 | xargs) = 'carrier 500 carrier 600' ]] ||
        fail "functionfs is not the worker's alone"
    [[ $(ps -o user= "$worker") = carrier ]] || fail "the worker is $(ps -o user= "$worker")"
    grep -qx 'CapBnd:[[:space:]]*0*' "/proc/$worker/status" || fail "the worker's bounding set is not empty"
    down 0
    up c1
    [[ $(serial_of c1) = "$serial" ]] || fail "the serial number has changed"
    down 0
}

# Voluntary context switches of a process's threads.
switches() {
    cat "/proc/$1/task"/*/status | awk '/^voluntary/ { sum += $2 } END { print sum }'
}

# In six seconds the worker wakes up about once a second, the keeper not at all.
sleeps_now() {
    local before_worker before_keeper
    before_worker=$(switches "$worker")
    before_keeper=$(switches "$keeper")
    sleep 6
    [[ $(($(switches "$worker") - before_worker)) -le 8 && $(switches "$keeper") -eq $before_keeper ]]
}

sleeps() {
    up c1
    await 60 sleeps_now # the host's first questions come first
    down 0
}

killed() {
    local round status
    for round in 1 2 3; do
        up c1
        kill -KILL "$worker"
        status=0
        wait "$keeper" || status=$?
        [[ $status -eq 1 ]] || fail "status $status after the worker was killed"
        await 30 clean
        up c1
        disown "$keeper" # bash would tell of its end
        kill -KILL "$keeper"
        await 30 ended "$worker"
        [[ -d $gadgets/boda-c1 ]] || fail "there is nothing to be taken down"
        up c1
        says c1.log "a killed courier's" || fail "it did not say what it took down"
        await 30 sees 0 "$(serial_of c1)"
        disown "$keeper"
        kill -KILL "$worker" "$keeper"
        # At once: what is dying is still there.
        up c1
        await 30 sees 0 "$(serial_of c1)"
        down 0
    done
}

# A worker that does not end is killed after 15 s.
stubborn() {
    local begin=$SECONDS status=0
    up c1
    kill -STOP "$worker"
    kill -TERM "$keeper"
    wait "$keeper" || status=$?
    [[ $status -eq 1 && $((SECONDS - begin)) -ge 14 ]] || fail "status $status after $((SECONDS - begin)) seconds"
    await 30 clean
}

several() {
    local first second status=0
    up c2 --udc dummy_udc.1
    second=$keeper
    disown "$second"
    kill -KILL "$worker" "$second"
    up c1
    first=$keeper
    says c1.log "gadget boda-c2: was a killed courier's, removed" || fail "a dead courier's gadget was left"
    up c2 --udc dummy_udc.1
    second=$keeper
    start c1
    wait "$keeper" || status=$?
    [[ $status -eq 75 ]] || fail "the second c1 ended with $status"
    says c1.log 'another boda-courier of this name' || fail "the second c1 did not say why"
    sees 0 "$(serial_of c1)" || fail "the living c1 was disturbed"
    sees 1 "$(serial_of c2)" || fail "the living c2 was disturbed"
    kill -TERM "$first"
    wait "$first" || fail "c1 ended with $?"
    [[ $(ls $gadgets) = boda-c2 ]] || fail "left are $(ls $gadgets)"
    keeper=$second
    down 0
}

# A gadget of another program, with a function that libusbgx does not know.
foreign() {
    mkdir -p $gadgets/other/{strings/0x409,configs/c.1,functions/printer.0}
    echo 1 >$gadgets/other/strings/0x409/serialnumber
    ln -s $gadgets/other/functions/printer.0 $gadgets/other/configs/c.1/
    echo dummy_udc.0 >$gadgets/other/UDC
    : >c1.log
    start c1 --udc dummy_udc.0
    await 30 says c1.log "the gadget 'other' holds it"
    echo >$gadgets/other/UDC
    await 30 says c1.log 'USB gadget at dummy_udc.0'
    kill -TERM $keeper
    wait $keeper || fail "it ended with $?"
    [[ $(ls $gadgets) = other ]] || fail "left are $(ls $gadgets)"
    echo dummy_udc.0 >$gadgets/other/UDC
    up c1
    says c1.log 'USB gadget at dummy_udc.1' || fail "it did not take the free one"
    kill -TERM $keeper
    wait $keeper || fail "it ended with $?"
    echo >$gadgets/other/UDC
    rm $gadgets/other/configs/c.1/printer.0
    rmdir $gadgets/other/{functions/printer.0,configs/c.1,strings/0x409} $gadgets/other
}

# The controller goes and comes back, each tenth time after it was missed.
udc_gone() {
    local round serial begin
    up c1 --udc dummy_udc.0
    serial=$(serial_of c1)
    for ((round = 1; round <= cycles; round++)); do
        await 30 sees 0 "$serial"
        echo dummy_udc.0 >/sys/bus/platform/drivers/dummy_udc/unbind
        ! sees 0 "$serial" || fail "the host still sees it"
        if [[ $((round % 10)) -eq 1 ]]; then
            await 30 says c1.log 'UDC gone, waiting for it' $((round / 10 + 1))
        fi
        begin=$EPOCHREALTIME
        echo dummy_udc.0 >/sys/bus/platform/drivers/dummy_udc/bind
        await 30 sees 0 "$serial"
        echo "round $round: back after $(((${EPOCHREALTIME/./} - ${begin/./}) / 1000)) ms"
    done
    ! ended "$worker" || fail "the worker did not live through it"
    says c1.log 'bound again' || fail "it did not say that it was bound again"
    # Started without any.
    down 0
    echo dummy_udc.0 >/sys/bus/platform/drivers/dummy_udc/unbind
    : >c1.log
    start c1 --udc dummy_udc.0
    await 30 says c1.log 'not bound yet: UDC dummy_udc.0: is not there'
    echo dummy_udc.0 >/sys/bus/platform/drivers/dummy_udc/bind
    await 30 says c1.log 'USB gadget at'
    await 30 sees 0 "$serial"
    down 0
}

prepare
for step in set_up_and_down sleeps killed stubborn several foreign udc_gone; do
    echo "-- $step"
    $step
done
! dmesg | grep -E 'BUG|WARNING|Oops|KASAN' || fail "the kernel complains"
