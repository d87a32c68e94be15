#!/bin/bash
# What udev/ gives to systemd: each unit is understood (systemd-analyze verify says nothing), is as closed as its bound
# below says (systemd-analyze security; 0 is closed, 10 open), and names no unit of ours that is not there. The rules
# are read by udevadm verify where there is one (systemd 254). units.sh [TOP]
set -eu
cd "${1:-$(dirname "$0")/../..}"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
bad=0

complain() {
    printf '%s\n' "$*"
    bad=1
}

# Root processes that mount, and become boda; see their units.
bound() {
    case $1 in
    boda-courier.service) echo 1.5 ;;
    boda-stick@.service) echo 1.7 ;;
    boda-dock@.service) echo 1.5 ;;
    *) echo 1.3 ;;
    esac
}

exposure() {
    systemd-analyze security --offline=yes "$1" | sed -nE 's/.*Overall exposure level for .*: ([0-9.]+) .*/\1/p'
}

# As make install lays them out, with something at the paths of the programs.
mkdir "$work/bin" "$work/udev"
for file in udev/*; do
    [[ ! -f $file ]] || sed -e "s|@BINDIR@|$work/bin|g" -e "s|@LIBEXECDIR@|$work/bin|g" -e 's|@DOCDIR@|/usr/share/doc/boda|g' "$file" >"$work/$file"
done
sed -nE "s|.*$work/bin/([a-z-]+).*|\\1|p" "$work"/udev/*.service 2>/dev/null | while read -r program; do
    ln -sf /bin/true "$work/bin/$program"
done
export SYSTEMD_UNIT_PATH=$work/udev:/usr/lib/systemd/system:/lib/systemd/system

for unit in udev/*.service udev/*.timer; do
    [[ -f $unit ]] || continue
    said=$(systemd-analyze verify --man=no --recursive-errors=no "$work/$unit" 2>&1) || said+=" (status $?)"
    [[ -z $said ]] || complain "$unit: ${said//"$work/"/}"
    ! grep -nH '@[A-Z]*@' "$work/$unit" || complain "$unit: this is not filled in by make install"
    [[ $unit == *.service ]] || continue
    found=$(exposure "$work/$unit") most=$(bound "$(basename "$unit")")
    awk -v found="${found:-10}" -v most="$most" 'BEGIN { exit found > most }' ||
        complain "$unit: its exposure is ${found:-unknown}, its bound $most: systemd-analyze security --offline=yes tells why"
done

# An instance is left out: what a rule or unit calls boda-dock@WHATEVER is boda-dock@.service.
grep -HoE 'boda-[a-z-]+(@[^ "]*)?\.(service|timer)' udev/*.rules udev/*.service udev/*.timer >"$work/named" 2>/dev/null ||
    true # no such file, or none that names one
while IFS=: read -r file name; do
    [[ $name != *@* ]] || name=${name%%@*}@.${name##*.}
    [[ -f udev/$name ]] || complain "$file: names $name, but there is no udev/$name"
done <"$work/named"

if udevadm verify --help >/dev/null 2>&1; then
    udevadm verify --resolve-names=never udev/*.rules >"$work/said" || { cat "$work/said" && bad=1; }
fi
exit "$bad"
