#!/bin/sh
# SPDX-License-Identifier: AGPL-3.0-or-later
# 10,000 batch files on a FAT stick's image, in a test machine whose clock counts instructions (as usb.sh): what the file
# system costs a processor is in the figures, what a stick's flash costs is not. The environment: BENCH (compiled benches),
# FILES (10000).
set -eu
cd "$(dirname "$0")/../.."
BENCH=$(realpath "${BENCH:-build/gcc/tests/bench}")
export BENCH FILES="${FILES:-10000}"
# shellcheck disable=SC2016 # the machine's shell
tests/vm/run --virtual-time --memory 2048 --timeout 1800 --env BENCH --env FILES -- sh -euc '
    modprobe -a vfat loop nls_ascii nls_utf8 nls_cp437
    truncate -s 256M /tmp/stick
    mkfs.vfat -F 32 /tmp/stick >/tmp/mkfs.out
    mkdir /tmp/medium
    mount -o loop /tmp/stick /tmp/medium
    echo "on a FAT image (goal <= 60 s):"
    "$BENCH/files_bench" /tmp/medium "$FILES"
    umount /tmp/medium'
