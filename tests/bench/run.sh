#!/bin/sh
# Speed and memory, as ratios measured side by side in this run; the machine's own speed cancels out. Nothing passes or fails.
# The environment: BIN and BENCH (programs, compiled benches), DOCS_COUNT (10000), DOCS_LARGE (25000), RUNS (3), SERVER=URL (a
# CouchDB to measure with), GIGABYTE=0 (leave out the gigabyte through the courier), USB=0 (leave out the test machine), MEGABYTES (32, over USB).
set -eu
cd "$(dirname "$0")/../.."
: "${BENCH:=build/gcc/tests/bench}"
export BIN="${BIN:-build/gcc/bin}"

for bench in "$BENCH"/*_bench; do
    "$bench"
done
node tests/bench/replay.js
node tests/bench/down.js
if [ "${GIGABYTE:-1}" != 0 ]; then
    node tests/bench/gigabyte.js
fi
if [ "${USB:-1}" != 0 ]; then
    tests/bench/files_fat.sh
    tests/bench/usb.sh
    tests/bench/drive.sh
fi
