#!/bin/sh
# SPDX-License-Identifier: AGPL-3.0-or-later
# Batch files dropped on the courier's drive (tests/bench/drive.js), in a test machine whose clock counts instructions. The
# store is in the machine's memory, as in usb.sh. The environment: BIN (programs), FILES (500).
set -eu
cd "$(dirname "$0")/../.."
BIN=$(realpath "${BIN:-build/gcc/bin}")
export BIN FILES="${FILES:-500}"
share=$(mktemp -d)
trap 'rm -rf "$share"' EXIT
node tests/bench/drive.js make "$share"
tests/vm/run --virtual-time --udev --memory 2048 --timeout 1800 --env BIN --env FILES --share "$share" -- node tests/bench/drive.js measure /share
