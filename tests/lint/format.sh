#!/bin/sh
# Every C file is laid out as .clang-format says; `tests/lint/format.sh -i` lays them out.
set -eu
cd "$(dirname "$0")/../.."
files=$(tests/lint/list '*.[ch]')
[ -n "$files" ] || exit 0
if [ "${1:-}" = -i ]; then
    # shellcheck disable=SC2086 # one word is one file
    exec clang-format -i $files
fi
# shellcheck disable=SC2086
clang-format --dry-run -Werror $files
