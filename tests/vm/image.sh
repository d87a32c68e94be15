#!/bin/bash
# Makes what the test machine boots, in build/vm (BUILD=build): vmlinux, the newest Debian kernel unpacked, which QEMU
# starts in half the time of a packed one; and initrd.cpio, which mounts the root. Does nothing where both are up to date;
# two at a time are no harm.
set -eu
cd "$(dirname "$0")/../.."
out=${BUILD:-build}/vm
PATH=$PATH:/usr/sbin:/sbin
stage=

fail() {
    echo "tests/vm/image.sh: $*" >&2
    exit 1
}

check_packages() {
    local program
    for program in qemu-system-x86_64:qemu-system-x86 busybox:busybox-static cpio:cpio modprobe:kmod xz:xz-utils; do
        command -v "${program%:*}" >/dev/null || fail "no ${program%:*} here: install the package ${program#*:} (make setup)"
    done
    ! ldd "$(command -v busybox)" >/dev/null 2>&1 || fail "busybox needs libraries: install the package busybox-static (make setup)"
}

# The newest kernel that is there with its modules.
newest_kernel() {
    local version
    while read -r version; do
        if [[ -r /boot/vmlinuz-$version && -n $(find "/lib/modules/$version" -name 'dummy_hcd.ko*' -print -quit) ]]; then
            echo "$version"
            return
        fi
    done < <(find /lib/modules -mindepth 1 -maxdepth 1 -printf '%f\n' | sort -rV)
    fail "no kernel in /boot with dummy_hcd in /lib/modules: install the package linux-image-amd64 (make setup)"
}

# unpack BZIMAGE: the ELF kernel in it (boot protocol: setup_sects, payload_offset and payload_length of the header), or,
# where that is not packed by xz, the whole as it is, which boots too.
unpack() {
    local sectors offset length
    sectors=$(od -A n -t u1 -j $((0x1f1)) -N 1 "$1")
    offset=$(od -A n -t u4 -j $((0x248)) -N 4 "$1")
    length=$(od -A n -t u4 -j $((0x24c)) -N 4 "$1")
    dd if="$1" iflag=skip_bytes,count_bytes skip=$(((sectors + 1) * 512 + offset)) count="$length" bs=64K status=none |
        xz -dc --single-stream 2>/dev/null || cat "$1"
}

# initrd VERSION: busybox, our init, and the modules it loads, numbered in the order of their dependence.
initrd() {
    local command module number=100
    mkdir -p "$stage/root/bin" "$stage/root/modules" "$stage/root/newroot"
    cp "$(command -v busybox)" "$stage/root/bin/busybox"
    for command in sh hostname ifconfig insmod ln mkdir mount switch_root; do
        ln -s busybox "$stage/root/bin/$command"
    done
    install -m 0755 tests/vm/init.sh "$stage/root/init"
    while read -r module; do
        number=$((number + 1))
        case $module in
        *.xz) xz -dc "$module" >"$stage/root/modules/$number.ko" ;;
        *) cp "$module" "$stage/root/modules/$number.ko" ;;
        esac
    done < <(modprobe -S "$1" --show-depends -a virtio_pci virtio_blk virtio_console virtio-rng 9pnet_virtio 9p overlay |
        awk '$1 == "insmod" && !seen[$2]++ { print $2 }')
    [[ $number -gt 100 ]] || fail "no modules of kernel $1 found"
    (cd "$stage/root" && find . | cpio -o -H newc --quiet -R 0:0) >"$stage/initrd.cpio"
}

main() {
    local version stamp
    check_packages
    version=$(newest_kernel)
    stamp=$(stat -L -c '%n %s %Y' "/boot/vmlinuz-$version" "$(command -v busybox)" tests/vm/init.sh tests/vm/image.sh)
    mkdir -p "$out"
    exec 9>"$out/lock"
    flock 9
    [[ ! -f $out/stamp || $stamp != "$(<"$out/stamp")" ]] || return 0
    stage=$(mktemp -d "$out/new.XXXX")
    trap 'rm -rf "$stage"' EXIT
    unpack "/boot/vmlinuz-$version" >"$stage/vmlinux"
    initrd "$version"
    mv "$stage/vmlinux" "$stage/initrd.cpio" "$out/"
    echo "$stamp" >"$out/stamp"
}

main
