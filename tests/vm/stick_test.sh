#!/bin/bash
# SPDX-License-Identifier: AGPL-3.0-or-later
# machine --systemd
# timeout 900
# Goal: on an office PC where somebody has typed `touch /etc/boda/sticks`, a USB stick with a folder BODA is taken in when it is
# plugged, filled with what goes down, and let go with a word: FAT with partitions, exFAT without. Nothing but the folder is
# touched, other sticks not at all; a stick that is locked, or pulled in the middle, is told, and loses nothing.
set -eu

BIN=$(realpath "${BIN:-build/gcc/bin}")
BUILD=$(dirname "$(dirname "$BIN")")
export BUILD
gadget=/sys/kernel/config/usb_gadget/stick
port=5988
background=()
trap 'kill "${background[@]}" 2>/dev/null' EXIT

fail() {
    echo "stick: $*" >&2
    journalctl --no-pager -o short-monotonic | grep -E 'boda|stick' | tail -n 60 >&2
    exit 1
}

# await COMMAND ARG...: until it succeeds. The bound is for a machine that has others beside it.
await() {
    local end=$((SECONDS + 200))
    until "$@"; do
        [[ $SECONDS -lt $end ]] || fail "not in time: $*"
        sleep 0.2
    done
}

step() {
    echo "stick: $* ($SECONDS s)"
}

says() { # PATTERN TIMES: lines of the sticks' units
    [[ $(journalctl --no-pager -o cat -u 'boda-stick@*' 2>/dev/null | grep -cE -- "$1") -ge ${2:-1} ]]
}

ended() { # no stick's unit runs
    [[ -z $(systemctl --no-legend --plain list-units --state=activating,active,deactivating 'boda-stick@*') ]]
}

has_disk() {
    udevadm settle && compgen -G '/dev/sd?' >/dev/null
}

has_no_disk() {
    ! compgen -G '/dev/sd?' >/dev/null
}

# A stick that is the image FILE [and can be read only].
plug() {
    echo "${2:-0}" >$gadget/functions/mass_storage.0/lun.0/ro
    echo "$1" >$gadget/functions/mass_storage.0/lun.0/file
    echo dummy_udc.0 >$gadget/UDC
    await has_disk
}

unplug() {
    echo >$gadget/UDC
    await has_no_disk
    echo >$gadget/functions/mass_storage.0/lun.0/file
}

# look IMAGE [OPTIONS]: its file system at /mnt.
look() {
    mount -o "loop${2:+,$2}" "$1" /mnt
}

say_tablet() {
    boda-tablet --identity /root/t1.p12 --passphrase-file /root/t1.pass --store /root/t1 "$@"
}

# visit ID: a document of the app's.
visit() {
    curl -sS --fail -o /root/curl.out -u "chw1:$secret" -H 'Content-Type: application/json' http://127.0.0.1:5985/medic/_bulk_docs \
        -d "{\"new_edits\":false,\"docs\":[{\"_id\":\"$1\",\"_rev\":\"1-a\",\"_revisions\":{\"start\":1,\"ids\":[\"a\"]},\"type\":\"data_record\"}]}"
}

at_server() {
    curl -sS --fail -u admin:password "http://127.0.0.1:$port/medic/$1" | grep -q '"_rev":"1-a"'
}

# others IMAGE [OPTIONS]: what is on it beside the folder BODA.
others() {
    look "$1" "ro${2:+,$2}"
    (cd /mnt && find . -path ./BODA -prune -o -type f -exec sha256sum {} + | sort)
    umount /mnt
}

step 'an office PC'
make -s -o all install
cd /etc
mkdir -p /root boda
umask 077
echo 'words of the deployment' >/root/deployment.pass
echo 'words of t1' >/root/t1.pass
boda init /root/deployment --name demo --new-passphrase-file /root/deployment.pass >/root/init.out
boda enroll tablet t1 --user chw1 --deployment /root/deployment --passphrase-file /root/deployment.pass -o /root/t1.p12 \
    --new-passphrase-file /root/t1.pass >/root/t1.out
secret=$(sed -n 's/^secret //p' /root/t1.out)
cp -r /root/deployment /etc/boda/deployment
rm /etc/boda/deployment/ca.p12
cp /root/deployment.pass /etc/boda/dock.passphrase
printf 'username,password\nchw1,chw1-pw\n' | tee /root/users.csv >/etc/boda/users.csv
chown -R boda: /etc/boda/deployment /etc/boda/users.csv
chmod 755 boda
cd - >/dev/null
sed "s@^url = .*@url = http://127.0.0.1:$port\nkind = couchdb@" udev/dock.ini >/etc/boda/dock.ini
printf '[replay]\npatience = 2\n' >>/etc/boda/dock.ini
chmod 644 /etc/boda/dock.ini
node tests/web/server.js --kind couchdb --port $port --users /root/users.csv >/root/server.out 2>&1 &
background+=($!)
boda-tablet --identity /root/t1.p12 --passphrase-file /root/t1.pass --store /root/t1 --http 127.0.0.1:5985 --connect unix:/root/none \
    >/root/tablet.log 2>&1 &
background+=($!)
await grep -q '^listening' /root/server.out
await grep -q 'listening on' /root/tablet.log

step 'three sticks'
modprobe -a usb_f_mass_storage usb_storage sd_mod vfat exfat loop nls_ascii nls_utf8 nls_cp437
mkdir -p $gadget/strings/0x409 $gadget/configs/c.1 $gadget/functions/mass_storage.0
echo 0x1d6b >$gadget/idVendor
echo 0x0104 >$gadget/idProduct
echo 1 >$gadget/functions/mass_storage.0/lun.0/removable
ln -s $gadget/functions/mass_storage.0 $gadget/configs/c.1/
truncate -s 64M /root/fat /root/exfat /root/plain
# A partition from the first MiB to the end, type 0C.
printf '\x00\x00\x00\x00\x0c\x00\x00\x00\x00\x08\x00\x00\x00\xf8\x01\x00' | dd of=/root/fat bs=1 seek=446 conv=notrunc status=none
printf '\x55\xaa' | dd of=/root/fat bs=1 seek=510 conv=notrunc status=none
mkfs.vfat --offset 2048 /root/fat 64512 >/root/mkfs.out
mkfs.exfat /root/exfat >/root/mkfs.out
mkfs.vfat /root/plain >/root/mkfs.out
partition=offset=$((1 << 20)),sizelimit=$((63 << 20))
for stick in "/root/fat $partition" /root/exfat /root/plain; do
    # shellcheck disable=SC2086 # image and options
    look $stick
    mkdir /mnt/Photos
    [[ $stick = /root/plain ]] || mkdir /mnt/BODA
    echo holiday >/mnt/Photos/holiday.jpg
    echo 'not ours' >/mnt/report.p7m
    umount /mnt
done
others /root/fat "$partition" >/root/others.fat
others /root/exfat >/root/others.exfat
sha256sum /root/plain >/root/plain.sum
visit first
look /root/fat "$partition"
say_tablet export /mnt/BODA
umount /mnt

step 'off by default'
plug /root/fat
sleep 3 # for what must not happen
says . && fail 'a stick was taken in'
unplug

step 'turned on: FAT, in a partition'
# What the dock's program sees.
cat >/usr/local/bin/seeing-dock <<'END'
#!/bin/sh
{ id -un && grep -E '^(CapEff|CapBnd|NoNewPrivs)' /proc/self/status && grep /run/boda-stick /proc/self/mountinfo; } >/var/lib/boda/dock/seen
[ ! -e /var/lib/boda/dock/slow ] || sleep 20
exec /usr/local/bin/boda-dock "$@"
END
chmod 755 /usr/local/bin/seeing-dock
mkdir -p /etc/systemd/system/boda-stick@.service.d
printf '[Service]\nExecStart=\nExecStart=!/usr/local/libexec/boda-stick take %%I /usr/local/bin/seeing-dock\n' \
    >/etc/systemd/system/boda-stick@.service.d/seen.conf
systemctl daemon-reload
touch /etc/boda/sticks
plug /root/fat
await says 'stick sd[a-z]1: done, you may unplug'
says '^imported [1-9]' || fail 'nothing was imported'
at_server first || fail 'the document is not at the server'
mapfile -t seen </var/lib/boda/dock/seen
[[ ${seen[0]} = boda ]] || fail "runs as ${seen[0]}"
[[ $(grep -c '^Cap\(Eff\|Bnd\):.0*$' /var/lib/boda/dock/seen) = 2 ]] || fail "has capabilities: ${seen[*]}"
grep -q '^NoNewPrivs:.1$' /var/lib/boda/dock/seen || fail 'may gain privileges'
for option in nosuid nodev noexec; do
    grep -qE "/run/boda-stick.*[ ,]${option}[, ]" /var/lib/boda/dock/seen || fail "not mounted $option: ${seen[*]}"
done
! grep -q boda-stick /proc/1/mountinfo || fail 'the mount is seen outside'
unplug
others /root/fat "$partition" | diff - /root/others.fat || fail 'files of others are not as they were'
look /root/fat "ro,$partition"
compgen -G '/mnt/BODA/t1/server-*.p7m' >/dev/null || fail "no receipt is on the stick: $(find /mnt/BODA)"
say_tablet import /mnt/BODA
umount /mnt
freed() { boda status --json --store /root/t1 | grep -q '"held": *0'; }
await freed

step 'exFAT, without partitions; another stick'
visit second
look /root/exfat
say_tablet export /mnt/BODA
umount /mnt
plug /root/exfat
await says 'stick sd[a-z]: done, you may unplug'
at_server second || fail 'the second document is not at the server'
unplug
others /root/exfat | diff - /root/others.exfat || fail 'files of others are not as they were'
look /root/exfat ro
compgen -G '/mnt/BODA/t1/server-*.p7m' >/dev/null || fail 'no receipt is on the exFAT stick'
umount /mnt

step 'a stick without the folder is not touched'
plug /root/plain
await ended
sleep 2
await ended
unplug
sha256sum --quiet -c /root/plain.sum || fail 'a stick without the folder was changed'
says 'you may unplug' 3 && fail 'a stick of somebody else was told'

step 'a stick that is locked is taken in, and the lock told'
visit third
look /root/exfat
say_tablet export /mnt/BODA
rm -r /mnt/BODA/t1
umount /mnt
plug /root/exfat 1
await says 'you may unplug, but something was left or failed'
says 'is it locked by a switch' || fail 'the lock is not told'
at_server third || fail 'the third document is not at the server'
unplug

step 'a stick that is pulled in the middle, and comes again'
visit fourth
look /root/fat "$partition"
say_tablet export /mnt/BODA
umount /mnt
touch /var/lib/boda/dock/slow
rm /var/lib/boda/dock/seen
plug /root/fat
await test -s /var/lib/boda/dock/seen
unplug
await says 'was pulled before all was done'
await ended
rm /var/lib/boda/dock/slow
plug /root/fat
await says 'done, you may unplug' 3
at_server fourth || fail 'the fourth document is not at the server'
unplug
others /root/fat "$partition" | diff - /root/others.fat || fail 'files of others are not as they were'
step 'done'
