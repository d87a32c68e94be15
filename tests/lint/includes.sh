#!/bin/sh
# The direction of dependence (docs/design.md, section 8): which room may include which. No arrow runs back, gadget and
# host never see each other, and the programs never see one another. includes.sh [TOP]
set -eu
cd "${1:-$(dirname "$0")/../..}"

# A room is the longest of these folders that a file lies in.
find base store link gadget host -name '*.[ch]' 2>/dev/null | sort | xargs -r grep -nE '^[[:space:]]*#[[:space:]]*include[[:space:]]*"' /dev/null |
    awk -F: '
    BEGIN {
        may["base"] = ""
        may["store"] = "base"
        may["link"] = "base store"
        may["gadget"] = "gadget/check link store base"
        may["gadget/check"] = "store base"
        may["host"] = "link store base"
        may["host/tablet"] = "host link store base"
        may["host/dock"] = "host link store base"
        may["host/boda"] = "store link base"
    }
    function room(path,    part) {
        split(path, part, "/")
        if ((part[1] "/" part[2]) in may)
            return part[1] "/" part[2]
        return path ~ /\// ? part[1] : ""
    }
    {
        from = room($1)
        path = $0
        sub(/^[^"]*"/, "", path)
        sub(/".*/, "", path)
        to = room(path)
        where = $1 ":" $2 ": \"" path "\": "
        if (to == "" || path ~ /\.\./) {
            print where "write it from the top, as \"room/file.h\""
            bad = 1
        } else if (!(from in may)) {
            print where from " is no room of the table in tests/lint/includes.sh"
            bad = 1
        } else if (to != from && index(" " may[from] " ", " " to " ") == 0) {
            print where from " may use " (may[from] == "" ? "nothing of ours" : may[from]) ", not " to
            bad = 1
        }
    }
    END { exit bad }'
