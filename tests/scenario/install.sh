#!/usr/bin/env bash
# SPDX-License-Identifier: AGPL-3.0-or-later
#
# make install below a DESTDIR: the files that are expected and no other, units that name the installed programs, nobody
# told of it; make uninstall takes all of it away, and nothing else.
#
# timeout 120
set -eu

BIN=$(realpath "${BIN:-build/gcc/bin}")
work=$(mktemp -d "${WORK:-${TMPDIR:-/tmp}}/install.XXXXXX")
trap 'rm -rf "$work"' EXIT
BUILD=$(dirname "$(dirname "$BIN")")
export BUILD

fail() {
    echo "install: $*"
    exit 1
}

# What a real install would tell of it.
mkdir "$work/told"
for program in systemctl systemd-sysusers systemd-tmpfiles udevadm; do
    # shellcheck disable=SC2016 # the stub's own
    printf '#!/bin/sh\necho "$0 $*" >>%s/said\n' "$work" >"$work/told/$program"
    chmod 755 "$work/told/$program"
done
PATH=$work/told:$PATH

# run TARGET DESTDIR [VARIABLE=VALUE...]; the programs are there already.
run() {
    make -s -o all "$1" DESTDIR="$2" "${@:3}" >"$work/out" 2>&1 || { cat "$work/out" && fail "make $1 failed"; }
    [[ ! -e $work/said ]] || fail "make $1 with DESTDIR told the system: $(cat "$work/said")"
}

# Mode, path and kind of everything below $1.
contents() {
    (cd "$1" && find . ! -type d -printf '%m %P %y\n' | sort -k 2)
}

expected() {
    local prefix=$1 file
    for file in boda boda-courier boda-dock boda-tablet; do
        echo "755 $prefix/bin/$file f"
    done
    echo "755 $prefix/libexec/boda-stick f"
    for file in docs/*.md udev/dock.ini; do
        echo "644 $prefix/share/doc/boda/${file##*/} f"
    done
    for file in docs/*.[158]; do
        [[ ! -e $file ]] || echo "644 $prefix/share/man/man${file##*.}/${file##*/} f"
    done
    for file in boda-courier.service boda-dock-upload.service boda-dock-upload.timer boda-dock@.service \
        boda-stick@.service boda-tablet.service; do
        echo "644 usr/lib/systemd/system/$file f"
    done
    for file in sysusers.d/boda.conf tmpfiles.d/boda.conf udev/rules.d/70-boda-courier.rules udev/rules.d/70-boda.rules \
        udev/rules.d/71-boda-dock.rules udev/rules.d/72-boda-stick.rules; do
        echo "644 usr/lib/$file f"
    done
}

# check DESTDIR PREFIX: the files, and that each unit starts a program that was installed.
check() {
    local unit program
    expected "$2" | sort -k 2 >"$work/expected"
    contents "$1" >"$work/found"
    diff "$work/expected" "$work/found" || fail "not the files that were expected (PREFIX=/$2)"
    for unit in "$1"/usr/lib/systemd/system/*.service; do
        program=$(sed -nE 's/^ExecStart=!?([^ ]+).*/\1/p' "$unit")
        [[ $program == /$2/@(bin|libexec)/boda-* && -x $1$program ]] || fail "${unit##*/} starts $program"
    done
    ! grep -rn '@[A-Z]*@' "$1/usr/lib" || fail 'something is not filled in'
}

run install "$work/local"
check "$work/local" usr/local
run install "$work/usr" PREFIX=/usr
check "$work/usr" usr

# Again over what is there, then away, beside files of others.
run install "$work/usr" PREFIX=/usr
check "$work/usr" usr
others=(usr/lib/udev/rules.d/70-other.rules usr/lib/systemd/system/boda-other.service usr/share/doc/boda/NEWS usr/bin/boda-other)
for file in "${others[@]}"; do
    echo other >"$work/usr/$file"
done
run uninstall "$work/usr" PREFIX=/usr
contents "$work/usr" | cut -d ' ' -f 2 | diff - <(printf '%s\n' "${others[@]}" | sort) || fail 'uninstall took away too much or too little'
run uninstall "$work/local"
[[ -z $(contents "$work/local") ]] || fail "uninstall left $(contents "$work/local")"
[[ ! -d $work/local/usr/local/share/doc/boda ]] || fail 'uninstall left its folder of pages'
run uninstall "$work/local"

# The example is a whole configuration: what boda-dock then misses is what it names.
if "$BIN/boda-dock" --config udev/dock.ini upload >"$work/out" 2>&1 || ! grep -q '/etc/boda/users.csv' "$work/out"; then
    cat "$work/out"
    fail 'boda-dock does not take the example'
fi
