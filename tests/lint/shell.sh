#!/bin/sh
# Every shell script passes shellcheck.
set -eu
cd "$(dirname "$0")/../.."
# shellcheck disable=SC2046 # one word is one file
shellcheck -x .ci/run tests/lint/list $(tests/lint/list '*.sh')
