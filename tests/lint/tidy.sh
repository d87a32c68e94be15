#!/bin/bash
# timeout 2400
# clang-tidy with .clang-tidy on every C file, or on the files given. What passed is remembered in build/tidy by the hash
# of all that decides the outcome (settings, tool, flags, the preprocessed file with its comments), so repeats are quick.
set -eu
cd "$(dirname "$0")/../.."
flags=$(make -s FLAVOUR=clang print-flags)
passed=${BUILD:-build}/tidy
tool=$(clang-tidy --version)
mkdir -p "$passed"
export flags passed tool

check() {
    local hash found
    # shellcheck disable=SC2086 # one word is one flag
    hash=$( (cat .clang-tidy tests/.clang-tidy && echo "$tool $flags $1" && cat "$1" && clang $flags -Wno-everything -E -CC "$1") |
        sha256sum | cut -d ' ' -f 1)
    [[ ! -e $passed/$hash ]] || return 0
    # shellcheck disable=SC2086
    if found=$(clang-tidy --quiet "$1" -- $flags 2>&1); then
        touch "$passed/$hash"
    else
        printf '%s\n' "$found" | grep -vE '^[0-9]+ warnings? (generated|treated)'
        return 1
    fi
}
export -f check

if [[ $# -gt 0 ]]; then
    printf '%s\n' "$@"
else
    tests/lint/list '*.c'
fi | xargs -r -P "${JOBS:-2}" -I{} bash -c 'set -o pipefail; check {}'
