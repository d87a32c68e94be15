#!/bin/bash
# SPDX-License-Identifier: AGPL-3.0-or-later
# outside
# timeout 600
# Goal: tests/vm/run gives back all that a command does in the machine, ends in time however the machine fares, and leaves
# nothing running.
set -eu
cd "$(dirname "$0")/../.."
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
# An image of its own, so that two machines started at once make it together.
export BUILD=$dir/build

fail() {
    echo "run: $*" >&2
    exit 1
}

# machine NAME STATUS ARG...: run ARG... ends with STATUS; its output is in NAME.out, what it says itself in NAME.err.
machine() {
    local name=$1 expected=$2 status=0
    shift 2
    tests/vm/run "$@" >"$dir/$name.out" 2>"$dir/$name.err" || status=$?
    [[ $status -eq $expected ]] || fail "$name: status $status, not $expected: $(cat "$dir/$name.err")"
}

# await COMMAND...: until it succeeds. A bound of 60 seconds.
await() {
    local end=$((SECONDS + 60))
    until "$@"; do
        [[ $SECONDS -lt $end ]] || fail "not within 60 seconds: $*"
        sleep 0.1
    done
}

# ended NAME: the machine called NAME by its share folder runs no more.
ended() {
    ! pgrep -f "qemu-system-x86_64 .*path=$dir/$1," >/dev/null
}

# What the command gets is what it was given, and what it gives is what comes: a disk, a folder, bytes, status.
gives_back() {
    # shellcheck disable=SC2016 # the machine's shell
    local script='
        printf %s "$ODD" >/share/odd
        [ -z "${UNNAMED:-}" ] && [ "$PWD" = "$TOP" ] && [ "$1 $2" = "a  b --" ] || exit 1
        echo forgotten >"$TOP/tests/vm/forgotten"
        printf Q | dd of=/dev/vdb bs=1 seek=4096 conv=fsync status=none
        head -c 3000000 /share/bytes
        printf "\036 no end: "
        echo error >&2
        exit 255'
    local odd=$' \'"$x\\\n*\xff,'
    mkdir "$dir/share"
    head -c 3000000 /dev/urandom >"$dir/share/bytes"
    truncate -s 1M "$dir/one" "$dir/two"
    ODD=$odd UNNAMED=1 TOP=$PWD machine given 255 --env ODD --env TOP --env ABSENT --share "$dir/share" \
        --disk "$dir/one" --disk "$dir/two" -- sh -c "$script" sh 'a  b' --
    (cat "$dir/share/bytes" && printf '\036 no end: error\n') | cmp - "$dir/given.out" || fail 'the output was changed'
    printf %s "$odd" | cmp - "$dir/share/odd" || fail 'a variable was changed'
    [[ $(dd if="$dir/two" bs=1 skip=4096 count=1 status=none) = Q ]] || fail 'the disk was not written'
    [[ ! -e tests/vm/forgotten ]] || fail 'the host was written'
}

# The clock of the machine jumps over idle time.
virtual_time() {
    machine virtual 0 --virtual-time --timeout 200 -- sh -c 'sleep 3600 && node -e "console.log(6 * 7)"'
    [[ $(<"$dir/virtual.out") = 42 ]] || fail "virtual time: $(cat "$dir/virtual.out")"
}

panics() {
    machine panic 1 -- sh -c 'echo before; sleep 1; echo c >/proc/sysrq-trigger; sleep 1000'
    grep -qx before "$dir/panic.out" || fail 'panic: what was written before is lost'
    grep -q 'Kernel panic' "$dir/panic.err" || fail "panic: $(cat "$dir/panic.err")"
}

hangs() {
    mkdir "$dir/hang"
    machine hang 1 --timeout 15 --share "$dir/hang" --console "$dir/console" -- sh -c 'echo on >/dev/console; sleep 1000'
    grep -q 'not done in time' "$dir/hang.err" || fail "hang: $(cat "$dir/hang.err")"
    grep -q 'Call Trace' "$dir/hang.err" || fail "hang: it does not say where: $(cat "$dir/hang.err")"
    ended hang || fail 'hang: the machine is still there'
    [[ -s $dir/console ]] || fail 'no console log'
}

# dies SIGNAL: the machine goes with the program that runs it.
dies() {
    local pid
    mkdir "$dir/$1"
    tests/vm/run --share "$dir/$1" -- sh -c 'echo >/share/started; sleep 1000' >"$dir/$1.out" 2>&1 &
    pid=$!
    await test -e "$dir/$1/started"
    ! ended "$1" || fail 'this test cannot see the machine'
    kill "-$1" "$pid"
    ! wait "$pid" || fail "ended by $1, but said all was well"
    await ended "$1"
}

names_package() {
    mkdir "$dir/bin"
    ln -s /usr/bin/* "$dir/bin/"
    rm -f "$dir/bin/cpio"
    ! PATH=$dir/bin BUILD=$dir/none tests/vm/image.sh 2>"$dir/none.err" || fail 'an image was made without cpio'
    grep -q 'install the package cpio' "$dir/none.err" || fail "no cpio: $(cat "$dir/none.err")"
}

names_package
virtual_time &
gives_back
wait $! || exit 1
panics
hangs
dies KILL
dies TERM
