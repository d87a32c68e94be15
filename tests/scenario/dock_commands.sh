#!/usr/bin/env bash
# SPDX-License-Identifier: AGPL-3.0-or-later
#
# boda-dock's commands without a courier: each wrong use is told, with the exit status that scripts rely on.
#
# timeout 60
set -u

BIN=$(realpath "${BIN:-build/gcc/bin}")
cd "$(mktemp -d "${WORK:-${TMPDIR:-/tmp}}/dock.XXXXXX")" || exit 1
trap 'rm -rf "$PWD"' EXIT
failed=0

# expect STATUS WORDS ARGUMENT...: boda-dock ends with STATUS, and says WORDS.
expect() {
    local status=$1 words=$2 got
    shift 2
    timeout 30 "$BIN/boda-dock" "$@" >out 2>&1
    got=$?
    if [[ $got != "$status" ]] || ! grep -qF -- "$words" out; then
        printf 'boda-dock %s: status %s instead of %s, or not "%s":\n' "$*" "$got" "$status" "$words"
        cat out
        failed=1
    fi
}

# configure LINE...: dock.ini with LINEs in its section [server].
configure() {
    printf '%s\n' '[deployment]' dir=dep '[store]' dir=store '[replay]' patience=0 '[server]' "$@" >dock.ini
}

umask 077
echo 'some words' >pass
echo 'other words' >wrong
printf 'username,password\nchw1,pw\n' >users.csv
"$BIN/boda" init dep --name demo --new-passphrase-file pass >init.out 2>&1 || { cat init.out; exit 1; }
dock=(--config dock.ini --passphrase-file pass)

configure url=http://127.0.0.1:1 users=users.csv
expect 0 usage: --help
expect 0 'boda-dock ' --version
expect 2 'needs a command' "${dock[@]}"
expect 2 'needs --config' upload
expect 2 'is not a command' "${dock[@]}" download
expect 2 'takes not all' "${dock[@]}" upload --once
expect 2 'takes not all' "${dock[@]}" upload all
expect 2 'needs --usb' "${dock[@]}" run
expect 2 'and one alone' "${dock[@]}" run --connect unix:none.sock --usb any
expect 2 'must be unix:PATH' "${dock[@]}" run --connect tcp:1
expect 2 'is not usb:BUS:DEV' "${dock[@]}" run --usb 1
expect 2 'needs --config' run --usb 1:2
expect 2 'boda-dock: wrong usage' "${dock[@]}" --log-level loud upload
expect 1 'has no store yet' "${dock[@]}" refused list
expect 1 'pass' --config dock.ini --passphrase-file wrong upload
expect 1 'cannot be opened' --config missing.ini --passphrase-file pass upload

# Nothing to do needs no server.
expect 0 '' "${dock[@]}" upload
expect 0 'no refused documents' "${dock[@]}" refused list
expect 0 'no batches set aside' "${dock[@]}" aside list
expect 1 'there is no number 1' "${dock[@]}" refused retry 1
expect 2 'is not a number' "${dock[@]}" refused dismiss x
expect 2 'say list' "${dock[@]}" refused forget
expect 2 'add --yes' "${dock[@]}" aside drop 1
expect 1 'there is no number 1' "${dock[@]}" aside drop 1 --yes
expect 75 'no courier was there' "${dock[@]}" run --once --connect unix:none.sock
expect 75 'has gone before it could be visited' "${dock[@]}" run --usb 255:127

# SIGTERM ends a run that waits, with status 0.
timeout -s TERM -k 10 2 "$BIN/boda-dock" "${dock[@]}" run --connect unix:none.sock >out 2>&1
[[ $? == 124 ]] || { echo 'boda-dock run did not end by SIGTERM'; cat out; failed=1; }

configure url=http://127.0.0.1:1 users=users.csv colour=red
expect 2 'dock.ini:10: [server] has no colour=' "${dock[@]}" upload
configure url=http://127.0.0.1:1
expect 2 'users= or account= is missing' "${dock[@]}" upload
configure url=http://127.0.0.1:1 users=users.csv
chmod 644 users.csv
expect 1 'chmod 600' "${dock[@]}" upload
chmod 600 users.csv
chmod 644 dep/server.p12
expect 1 'chmod 600' "${dock[@]}" upload
exit "$failed"
