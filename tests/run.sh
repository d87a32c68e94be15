#!/usr/bin/env bash
# The runner behind make test: finds every test, builds what it needs, runs it within a bound, and ends with the line
# 'N passed, N failed'. One line a test, with the end of its log where it failed; whole logs in build/test-logs.
#
#   build/FLAVOUR            everything compiles in that flavour
#   lint/NAME                tests/lint/NAME.sh
#   unit/FLAVOUR/NAME        tests/unit/NAME_test.c, under gcc, san (clang's ASan and UBSan) and valgrind
#   fuzz/NAME                tests/fuzz/NAME_fuzz.c replayed over tests/fuzz/corpus/NAME
#   scenario/NAME            tests/scenario/NAME.sh or .js with the gcc programs: exit 0 is a pass
#   scenario-san/NAME        the same with the sanitizers' programs, for the files that tests/scenario/sanitized.txt names
#   vm/NAME                  tests/vm/NAME_test.sh or .js inside a test machine (tests/vm/run), with the gcc programs
#
# Environment: T=word runs only tests whose name has it (a shell pattern), JOBS=2 how many at a time, LIBS=... only these
# libraries are linked into unit tests. A test gets BIN and SAN_BIN (the programs), WORK (a fresh folder, taken away
# afterwards; TMPDIR is the same) and runs in the project's top folder. It may say, in a comment line of its own:
#   serial             not while another test runs
#   timeout SECONDS    its bound, instead of the usual one
#   no valgrind: WHY   unit tests only
#   needs FLAVOUR      lint steps only: built first
#   machine OPTIONS    vm only: what tests/vm/run is to be told; BIN and SEED are always passed on
#   outside            vm only: run here, because it starts machines itself
set -u
cd "$(dirname "$0")/.." || exit 1

T=${T:-}
JOBS=${JOBS:-2}
BUILD=${BUILD:-build}
bin=$(realpath -m "$BUILD")
logs=$BUILD/test-logs
scratch=$(mktemp -d "${TMPDIR:-/tmp}/boda.XXXXXX") || exit 1
results=$scratch/results
: >"$results"
mkdir -p "$logs"

export BIN=$bin/gcc/bin SAN_BIN=$bin/san/bin
export ASAN_OPTIONS=${ASAN_OPTIONS:-detect_stack_use_after_return=1}
export UBSAN_OPTIONS=${UBSAN_OPTIONS:-print_stacktrace=1}

# Each test by its name: the command, its bound in seconds, the flavours it needs, and 1 where it runs alone.
names=()
declare -A command=() bound=() needs=() alone=() targets=() broken=()

# value_of FILE WORD: what follows WORD on a comment line of its own, or nothing.
value_of() {
    sed -nE "s@^(#|//|/\\*| \\*) *$2 ([^ ]+)( \\*/)?\$@\\2@p" "$1" | head -n 1
}

# add NAME FILE BOUND NEEDS COMMAND: keeps the test where T asks for it; FILE may change the bound.
add() {
    local name=$1 file=$2 seconds
    # shellcheck disable=SC2053 # T is a pattern
    [[ $name == *$T* ]] || return 0
    seconds=$(value_of "$file" timeout)
    names+=("$name")
    bound[$name]=${seconds:-$3}
    needs[$name]=$4
    command[$name]=$5
    ! grep -qE '^(#|//|/\*| \*) *serial( \*/)?$' "$file" || alone[$name]=1
}

find_lint() {
    local file
    # clang-tidy takes longest, so it starts first.
    for file in tests/lint/tidy.sh tests/lint/*.sh; do
        [[ -f $file && -z ${command[lint/$(basename "$file" .sh)]:-} ]] || continue
        add "lint/$(basename "$file" .sh)" "$file" 300 "$(value_of "$file" needs)" "$file"
    done
}

find_unit() {
    local file name supp=''
    [[ ! -f tests/valgrind.supp ]] || supp=--suppressions=tests/valgrind.supp
    for file in tests/unit/*_test.c; do
        [[ -f $file ]] || continue
        name=$(basename "$file" _test.c)
        add "unit/gcc/$name" "$file" 60 gcc "$BUILD/gcc/tests/unit/${name}_test"
        add "unit/san/$name" "$file" 120 san "$BUILD/san/tests/unit/${name}_test"
        grep -qE '^(//|/\*| \*) *no valgrind: ' "$file" ||
            add "unit/valgrind/$name" "$file" 300 gcc "valgrind -q --error-exitcode=99 --leak-check=full \
                --errors-for-leak-kinds=definite $supp $BUILD/gcc/tests/unit/${name}_test"
    done
}

find_fuzz() {
    local file name corpus
    for file in tests/fuzz/*_fuzz.c; do
        [[ -f $file ]] || continue
        name=$(basename "$file" _fuzz.c)
        corpus=tests/fuzz/corpus/$name
        add "fuzz/$name" "$file" 120 fuzz "[ -n \"\$(ls -A $corpus)\" ] &&
            $BUILD/fuzz/tests/fuzz/${name}_fuzz -runs=0 -timeout=25 -artifact_prefix=$logs/ $corpus"
    done
}

find_scenarios() {
    local file name flavours
    for file in tests/scenario/*.sh tests/scenario/*.js; do
        [[ -f $file ]] || continue
        name=$(basename "$file")
        name=${name%.*}
        flavours=gcc
        ! grep -q SAN_BIN "$file" || flavours='gcc san'
        add "scenario/$name" "$file" 180 "$flavours" "$file"
        ! grep -qxF "$(basename "$file")" tests/scenario/sanitized.txt 2>/dev/null ||
            add "scenario-san/$name" "$file" 360 san "BIN=\$SAN_BIN $file"
    done
}

find_vm() {
    local file name options run seconds
    for file in tests/vm/*_test.sh tests/vm/*_test.js; do
        [[ -f $file ]] || continue
        name=$(basename "$file")
        options=$(sed -nE 's@^(#|//) *machine +(-.*)$@\2@p' "$file" | head -n 1)
        seconds=$(value_of "$file" timeout)
        # A little sooner than the runner's bound: a machine that hangs can say where.
        run="tests/vm/run --timeout $((${seconds:-300} - 15)) --env BIN --env SEED $options -- $file"
        ! grep -qE '^(#|//) *outside$' "$file" || run=$file
        add "vm/${name%_test.*}" "$file" 300 gcc "$run"
    done
}

# add_builds: puts build/FLAVOUR before the tests that need it; all four for a whole run, else the targets needed.
add_builds() {
    local name flavour chosen=("${names[@]}")
    for name in "${chosen[@]}"; do
        for flavour in ${needs[$name]}; do
            case $name in
            unit/*) targets[$flavour]+=" $BUILD/$flavour/tests/unit/${name##*/}_test" ;;
            fuzz/*) targets[$flavour]+=" fuzzers" ;;
            lint/*) targets[$flavour]+=" everything" ;;
            vm/*) targets[$flavour]+=" programs vm-tools" ;;
            *) targets[$flavour]+=" programs" ;;
            esac
        done
    done
    for flavour in gcc clang san fuzz; do
        name=build/$flavour
        if [[ -z $T || ($T == build* && $name == *$T*) ]]; then
            targets[$flavour]=everything
            [[ $flavour != fuzz ]] || targets[$flavour]=fuzzers
        fi
        [[ -n ${targets[$flavour]:-} ]] || continue
        command[$name]="make -j$JOBS -k FLAVOUR=$flavour BUILD=$BUILD ${LIBS:+\"LIBS=$LIBS\"} ${targets[$flavour]}"
        bound[$name]=1800
        run_alone "$name" || broken[$flavour]=1
    done
}

# run_test NAME: runs it in a session of its own, so that whatever it started ends with it, by process group.
run_test() {
    local name=$1 log started status=0 pid seconds verdict=ok work
    log=$logs/${name//\//-}.log
    work=$(mktemp -d "$scratch/w.XXXX") || return 1
    started=${EPOCHREALTIME/[^0-9]/}
    WORK=$work TMPDIR=$work setsid timeout -k 10 "${bound[$name]}" bash -c "${command[$name]}" \
        >"$log" 2>&1 </dev/null &
    pid=$!
    # shellcheck disable=SC2064 # this very process
    trap "kill -TERM -- -$pid 2>/dev/null" TERM
    wait "$pid" || status=$?
    if kill -KILL -- "-$pid" 2>/dev/null; then
        echo "runner: processes were left behind, killed" >>"$log"
    fi
    trap - TERM
    rm -rf "$work"
    seconds=$(((${EPOCHREALTIME/[^0-9]/} - started) / 100000))
    seconds=$((seconds / 10)).$((seconds % 10))
    if [[ $status -eq 0 ]]; then
        printf 'ok %s (%s)\n' "$name" "$seconds"
    else
        verdict=FAIL
        [[ $status -ne 124 && $status -ne 137 ]] || echo "runner: ended after ${bound[$name]} seconds" >>"$log"
        printf 'FAIL %s (%s, status %s, log %s)\n%s\n' "$name" "$seconds" "$status" "$log" \
            "$(tail -n 40 "$log" | sed 's/^/    /')"
    fi
    echo "$verdict $name" >>"$results"
    return "$status"
}

# In a child of its own too, so that an interruption is dealt with in one way.
run_alone() {
    run_test "$1" &
    wait $!
}

run_all() {
    local name flavour running=0 missing=0
    for name in "${names[@]}"; do
        for flavour in ${needs[$name]}; do
            [[ -z ${broken[$flavour]:-} ]] || { missing=$((missing + 1)) && continue 2; }
        done
        [[ -z ${alone[$name]:-} ]] || continue
        if [[ $running -ge $JOBS ]]; then
            wait -n
            running=$((running - 1))
        fi
        run_test "$name" &
        running=$((running + 1))
    done
    wait
    for name in "${names[@]}"; do
        for flavour in ${needs[$name]}; do
            [[ -z ${broken[$flavour]:-} ]] || continue 2
        done
        [[ -z ${alone[$name]:-} ]] || run_alone "$name"
    done
    [[ $missing -eq 0 ]] || echo "not run, because a build failed: $missing tests"
}

interrupted() {
    trap - INT TERM
    local children
    children=$(jobs -p)
    # shellcheck disable=SC2086 # one word is one process
    [[ -z $children ]] || kill -TERM $children 2>/dev/null
    wait
    rm -rf "$scratch"
    exit 130
}

main() {
    local passed failed
    # What make tells its children about itself would make the builds below quarrel over jobs.
    unset MAKEFLAGS MAKELEVEL MFLAGS
    trap interrupted INT TERM
    find_lint
    find_scenarios
    find_unit
    find_fuzz
    find_vm
    add_builds
    run_all
    passed=$(grep -c '^ok ' "$results")
    failed=$(grep -c '^FAIL ' "$results")
    rm -rf "$scratch"
    if [[ $((passed + failed)) -eq 0 ]]; then
        echo "no test's name has '$T'"
        failed=1
    elif [[ $failed -gt 0 ]]; then
        echo "logs of the failed ones: $logs"
    fi
    echo "$passed passed, $failed failed"
    [[ $failed -eq 0 ]]
}

main
