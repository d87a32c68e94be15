#!/bin/bash
# The lint steps are seen to fail: each planted fault is found, and the same tree without it passes.
set -eu
cd "$(dirname "$0")/../.."
top=$PWD
tree=$(mktemp -d)
trap 'rm -rf "$tree"' EXIT

plant() {
    mkdir -p "$(dirname "$tree/$1")"
    printf '%s\n' "${@:2}" >"$tree/$1"
}

# caught STEP FILE LINE...: the fault in FILE is found, and gone with the file.
caught() {
    local step=$1 file=$2
    plant "$file" "${@:3}"
    if "$top/tests/lint/$step.sh" "$tree" >"$tree/said" 2>&1; then
        echo "$step.sh did not find the fault planted in $file: ${*:3}"
        exit 1
    fi
    grep -q "$file" "$tree/said" || { echo "$step.sh did not name $file:" && cat "$tree/said" && exit 1; }
    rm -f "$tree/$file"
    passes "$step"
}

passes() {
    "$top/tests/lint/$1.sh" "$tree" || { echo "$1.sh fails where there is no fault" && exit 1; }
}

plant base/error.h '#ifndef E' '#define E' 'struct error { int code; };' '#endif'
plant store/store.c '#include "base/error.h"' '#include <stdio.h>'
plant host/usb.c '#include "link/link.h"' '#include "base/error.h"'
plant host/dock/replay.c '#include "host/dock/replay.h"' '#include "host/usb.h"' '#include "store/store.h"'
plant host/boda/init.c '#include "store/store.h"'
passes includes
caught includes base/log.c '#include "store/store.h"'
caught includes store/bad.c '#include "link/frame.h"'
caught includes link/bad.h '  #  include "host/usb.h"'
caught includes gadget/bad.c '#include "host/usb.h"'
caught includes host/bad.c '#include "gadget/lamp.h"'
caught includes host/bad.c '#include "host/dock/replay.h"'
caught includes host/dock/bad.c '#include "host/tablet/routes.h"'
caught includes host/boda/bad.c '#include "host/usb.h"'
caught includes host/tablet/bad.c '#include "routes.h"'
caught includes store/bad.c '#include "../link/frame.h"'
caught includes store/deep/bad.c '#include "tests/unit/support/deployment.h"'
caught includes host/new/bad.c '#include "host/dock/replay.h"'

passes headers
caught headers base/bad.h '#ifndef B' '#define B' 'size_t bad(void);' '#endif'
caught headers base/twice.h 'struct twice { int once; };'

# object NAME CODE: compiles CODE as base/NAME.c, as the build lays it out.
object() {
    plant "base/$1.c" "$2"
    mkdir -p "$tree/build/gcc/base"
    gcc -c -o "$tree/build/gcc/base/$1.o" "$tree/base/$1.c"
}
object hex 'static int helper; int hex_decode(void); int hex_decode(void) { return helper; }'
passes exports
object main 'int main(void) { return 0; }'
passes exports
object leak 'int leak_ok; int other;'
caught exports base/leak.c 'int leak_ok; int other;'
object main 'int main_loop(void) { return 0; } int main(void) { return 0; }'
caught exports base/main.c 'int main_loop(void) { return 0; } int main(void) { return 0; }'

# shellcheck disable=SC2016 # Markdown's, not the shell's
plant docs/design.md '### base/' '| `error`, `hex` | x |' '### store/' '| `store` | x |' '### host/' '| `usb` | x |' \
    '### host/dock/' '| `replay` | x |' '### host/boda/' '| `init` | x |' '## 8' '| `other` | x |'
passes files
caught files store/new.c ''
printf '| %cgone%c | x |\n' '`' '`' >"$tree/more"
sed -i "/^### base/r $tree/more" "$tree/docs/design.md"
if "$top/tests/lint/files.sh" "$tree" >"$tree/said" 2>&1 || ! grep -q base/gone "$tree/said"; then
    echo 'files.sh did not find that base/gone is gone' && exit 1
fi
# A unit that is closed enough, and what each fault is made of.
closed=('[Service]' 'ExecStart=@BINDIR@/boda-tablet' User=boda CapabilityBoundingSet= NoNewPrivileges=yes PrivateNetwork=yes
    PrivateDevices=yes PrivateUsers=yes PrivateMounts=yes PrivateTmp=yes ProtectSystem=strict ProtectHome=yes ProtectClock=yes
    ProtectHostname=yes ProtectKernelLogs=yes ProtectKernelModules=yes ProtectKernelTunables=yes ProtectControlGroups=yes
    ProtectProc=invisible ProcSubset=pid RestrictNamespaces=yes RestrictRealtime=yes RestrictSUIDSGID=yes RestrictAddressFamilies=none
    SystemCallArchitectures=native SystemCallFilter=@system-service 'SystemCallFilter=~@privileged @resources' LockPersonality=yes
    MemoryDenyWriteExecute=yes KeyringMode=private RemoveIPC=yes UMask=0077 DevicePolicy=closed IPAddressDeny=any)
plant udev/boda-good.service "${closed[@]}"
passes units
caught units udev/boda-open.service '[Service]' 'ExecStart=@BINDIR@/boda-tablet'
caught units udev/boda-key.service "${closed[@]}" ProtectHme=yes
caught units udev/boda-program.service '[Service]' 'ExecStart=/usr/bin/not-there' "${closed[@]:2}"
caught units udev/boda-left.service "${closed[@]}" 'Environment=A=@MANDIR@'
caught units udev/boda-names.service '[Unit]' 'OnSuccess=boda-gone.service' "${closed[@]}"
# shellcheck disable=SC2016 # udev's, not the shell's
caught units udev/70-boda.rules 'TAG+="systemd", ENV{SYSTEMD_WANTS}+="boda-gone@$env{BUSNUM}.service"'
echo "every planted fault was found"
