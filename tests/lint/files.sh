#!/bin/bash
# The tables of docs/design.md, section 7, name every file of the rooms, and no file that is gone. files.sh [TOP]
set -eu
cd "${1:-$(dirname "$0")/../..}"
named=$(mktemp)
trap 'rm -f "$named"' EXIT

# ROOM/FILE for each `FILE` in the first column of the table under the heading '### ROOM/'.
awk '
    /^#/ { room = /^### [a-z\/]+\/$/ ? $2 : "" }
    room != "" && /^\| `/ {
        split($0, cells, "|")
        count = split(cells[2], words, "`")
        for (i = 2; i <= count; i += 2)
            print room words[i]
    }' docs/design.md >"$named"

bad=0
for room in base store link gadget gadget/check host host/tablet host/dock host/boda; do
    for file in "$room"/*.[ch]; do
        [[ -f $file ]] || continue
        grep -qxF -e "${file%.?}" -e "$file" "$named" || {
            echo "$file: has no line in docs/design.md, section 7"
            bad=1
        }
    done
done
while read -r name; do
    [[ -f $name || -f $name.c || -f $name.h ]] || { echo "docs/design.md names $name, but there is no such file" && bad=1; }
done <"$named"
exit $bad
