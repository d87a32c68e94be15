#!/bin/sh
# The machine's first program, run by busybox from the initramfs. The root is the host's / over 9p, read-only, under an
# overlay in memory, with the machine's own folders mounted in it; there it goes on with guest.sh.
set -e
export PATH=/bin

for module in /modules/*; do
    insmod "$module"
done
ifconfig lo up
hostname machine

mkdir -p /host /memory /job /top
mount -t tmpfs -o size=80% tmpfs /memory
mkdir /memory/upper /memory/work
mount -t 9p -o trans=virtio,version=9p2000.L,msize=524288,cache=loose,ro root /host
mount -t 9p -o trans=virtio,version=9p2000.L,ro job /job
mount -t overlay -o lowerdir=/host,upperdir=/memory/upper,workdir=/memory/work overlay /newroot
# shellcheck source=/dev/null # run writes it
. /job/settings

cd /newroot
# shellcheck disable=SC2154 # the settings say where the project is
case $top in
/tmp/* | /run/* | /dev/shm/*) mount -o bind "/newroot$top" /top && hidden=1 ;;
esac
mount -t proc proc proc
mount -t sysfs sysfs sys
mount -t devtmpfs -o mode=755 devtmpfs dev
mkdir -p dev/pts dev/shm share
ln -s /proc/self/fd dev/fd
ln -s fd/0 dev/stdin
ln -s fd/1 dev/stdout
ln -s fd/2 dev/stderr
mount -t devpts -o gid=5,mode=620,ptmxmode=666 devpts dev/pts
mount -t tmpfs -o mode=1777 tmpfs dev/shm
mount -t tmpfs -o mode=1777 tmpfs tmp
mount -t tmpfs -o mode=755 tmpfs run
mount -t 9p -o trans=virtio,version=9p2000.L,msize=524288,cache=none share share
mkdir run/machine run/lock
mount -o move /job run/machine
if [ "${hidden:-}" ]; then
    mkdir -p "/newroot$top"
    mount -o move /top "/newroot$top"
fi

exec switch_root /newroot "$top/tests/vm/guest.sh" boot
