#!/bin/bash
# needs gcc
# foo.c exports foo and foo_* and nothing else, main.c exports main alone. exports.sh [TOP]: reads build/gcc there.
# Exceptions, each with its reason, in tests/lint/exports.txt: FILE SYMBOL # why (SYMBOL is a shell pattern)
set -eu
cd "${1:-$(dirname "$0")/../..}"
build=${BUILD:-build}/gcc

excepted() {
    local file pattern
    while read -r file pattern _; do
        # shellcheck disable=SC2053 # a pattern
        [[ $file != "$1" || $2 != $pattern ]] || return 0
    done < <(cat tests/lint/exports.txt 2>/dev/null)
    return 1
}

bad=0
while read -r object; do
    source=${object#"$build/"}
    source=${source%.o}.c
    [[ -f $source ]] || continue
    stem=$(basename "$source" .c)
    while read -r symbol; do
        [[ $symbol != "$stem" && ($symbol != "${stem}_"* || $stem == main) ]] || continue
        ! excepted "$source" "$symbol" || continue
        echo "$source: exports $symbol: make it static, or call it ${stem}_..."
        bad=1
    done < <(nm -g --defined-only --format=posix "$object" | awk '{ print $1 }')
done < <(find "$build/base" "$build/store" "$build/link" "$build/gadget" "$build/host" -name '*.o' 2>/dev/null | sort)
exit $bad
