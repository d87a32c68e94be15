#!/bin/bash
# Inside the machine, in its root. guest.sh boot: goes on as process 1, up to the command or to systemd, whose unit then
# starts guest.sh command. /run/machine holds what run says: settings, and the command as a script.
set -u
# shellcheck source=/dev/null
. /run/machine/settings
: "${top:?}" "${init:?}" "${ports:?}" "${super_speed:?}" "${end_mark:?}"
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin

# The host's settings would differ from machine to machine.
forget_host() {
    cd /etc || exit 1
    rm -rf modprobe.d systemd udev fstab machine-id
    mkdir -p modprobe.d systemd/system udev/rules.d
    echo machine >hostname
    echo 000000000000000000000000000b0da0 >machine-id
    printf '127.0.0.1 localhost machine\n::1 localhost\n' >hosts
    cd /
}

load_usb() {
    modprobe -a configfs usbcore
    mount -t configfs configfs /sys/kernel/config
    mount -t debugfs debugfs /sys/kernel/debug
    modprobe dummy_hcd num="$ports" is_super_speed="$super_speed"
    modprobe libcomposite
}

start_udev() {
    /usr/lib/systemd/systemd-udevd --daemon --resolve-names=never
    udevadm trigger --action=add --type=subsystems
    udevadm trigger --action=add --type=devices
    udevadm settle
}

# systemd as on a host with nothing installed but journald and udevd.
slim_systemd() {
    local units=/usr/lib/systemd/system target
    # Else it takes itself for a container, and the kernel command line is not read.
    rm -rf /.dockerenv /usr/local/lib/systemd /usr/lib/systemd/system-generators
    for target in sysinit sockets timers paths local-fs; do
        rm -rf "$units/$target.target.wants"
    done
    cd /etc/systemd/system || exit 1
    mkdir sysinit.target.wants sockets.target.wants
    ln -s $units/systemd-{journald,udevd,udev-trigger}.service sysinit.target.wants/
    ln -s $units/systemd-{journald,journald-dev-log,udevd-control,udevd-kernel}.socket sockets.target.wants/
    printf '[Journal]\nStorage=volatile\nRateLimitBurst=0\n' >../journald.conf
    cat >machine.target <<END
[Unit]
Description=The test machine
Requires=basic.target
After=basic.target
Wants=machine-command.service
AllowIsolate=yes
END
    cat >machine-command.service <<END
[Unit]
Description=The test machine's command
After=machine.target
[Service]
ExecStart=/bin/bash /run/guest command
END
    ln -s machine.target default.target
    ln -s "$top/tests/vm/guest.sh" /run/guest
}

# Runs the command with its output going to the host, then the line that says how it ended. Only cat opens the port: it can
# be open but once, and what the command gets should be a pipe like any other.
run_command() {
    local status=0 port=
    until [[ -c $port ]]; do
        port=$(compgen -G '/dev/vport*p1') || sleep 0.05
    done
    exec 3> >(exec cat >"$port")
    /bin/sh /run/machine/command </dev/null >&3 2>&3 3>&- || status=$?
    sync
    printf '\036%s %d\n' "$end_mark" "$status" >&3
    exec sleep infinity
}

main() {
    if [[ $1 = boot ]]; then
        forget_host
        load_usb
        case $init in
        udev) start_udev ;;
        systemd) slim_systemd && exec /usr/lib/systemd/systemd ;;
        esac
    fi
    [[ $init != systemd ]] || udevadm settle
    run_command
}

main "$@"
