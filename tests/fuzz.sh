#!/bin/bash
# Behind make fuzz: fuzzes each target for SECONDS_EACH=60 seconds, T=word only those whose name has it. Starts from
# tests/fuzz/corpus/NAME; what is new goes to build/fuzz-corpus/NAME. With KEEP=1 the corpus in tests/fuzz then becomes
# the smallest set of inputs that covers the same. A crashing input lands in build/fuzz-corpus, and the exit status is 1.
set -u
cd "$(dirname "$0")/.." || exit 1
build=${BUILD:-build}
found=$build/fuzz-corpus
failed=0

for target in "$build"/fuzz/tests/fuzz/*_fuzz; do
    name=$(basename "$target" _fuzz)
    # shellcheck disable=SC2053 # T is a pattern
    [[ -x $target && $name == *${T:-}* ]] || continue
    seeds=tests/fuzz/corpus/$name
    mkdir -p "$found/$name" "$seeds"
    echo "fuzz $name: ${SECONDS_EACH:-60} seconds"
    if ! "$target" -max_total_time="${SECONDS_EACH:-60}" -timeout=25 -rss_limit_mb=2048 -print_final_stats=1 \
        -artifact_prefix="$found/$name-" "$found/$name" "$seeds" >"$found/$name.log" 2>&1; then
        failed=$((failed + 1))
        echo "FAIL $name, log $found/$name.log"
        tail -n 20 "$found/$name.log"
    elif [[ -n ${KEEP:-} ]]; then
        mkdir "$found/$name.least" && "$target" -merge=1 "$found/$name.least" "$seeds" "$found/$name" >/dev/null 2>&1 &&
            rm -r "$seeds" && mv "$found/$name.least" "$seeds"
    fi
    grep -E 'stat::(number_of_executed_units|new_units_added)' "$found/$name.log" | sed 's/^/  /'
done
[[ $failed -eq 0 ]]
