#!/bin/sh
# SPDX-License-Identifier: AGPL-3.0-or-later
# The measurements over USB: in a test machine whose clock counts instructions, so that the ratios do not depend on what else
# this machine does. A disk outside would not fit into that time, so the stores are in the machine's memory: what commits cost
# a processor is in the figures, what they cost a disk is not. The environment: BENCH (compiled benches), BIN (programs),
# MEGABYTES (32).
set -eu
cd "$(dirname "$0")/../.."
BENCH=$(realpath "${BENCH:-build/gcc/tests/bench}")
BIN=$(realpath "${BIN:-build/gcc/bin}")
export BENCH BIN
tests/vm/run --virtual-time --timeout 1800 -- "$BENCH/usb/usb" /tmp "${MEGABYTES:-32}"
tests/vm/run --virtual-time --udev --timeout 1800 --env BIN -- tests/bench/usb/plug.js
