#!/bin/sh
# Each header compiles alone, and twice in one file: it includes what it uses and has a guard. headers.sh [TOP]
set -eu
lint=$(cd "$(dirname "$0")" && pwd)
cd "$lint/../.."
flags="$(make -s print-flags) -Werror"
cd "${1:-.}"

bad=0
for header in $("$lint/list" '*.h'); do
    # shellcheck disable=SC2086 # one word is one flag
    printf '#include "%s"\n#include "%s"\ntypedef int not_empty;\n' "$header" "$header" |
        gcc $flags -fsyntax-only -x c - || bad=1
done
exit $bad
