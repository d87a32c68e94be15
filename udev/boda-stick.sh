#!/bin/sh
# SPDX-License-Identifier: AGPL-3.0-or-later
#
# What boda-stick@.service runs:
#   boda-stick take DEVICE BODA-DOCK   as root, in a mount namespace of its own. The stick is a stranger's: root does no more
#                                      than mount and unmount it; what is on it is touched by the user boda alone, and only
#                                      in the folder BODA. Exit status: 0 done, 3 the stick has no such folder, else
#                                      something failed or was left, as was said.
#   boda-stick say DEVICE              afterwards: tells how it ended (EXIT_CODE, EXIT_STATUS) to journal and terminals
set -eu

as_boda() {
    setpriv --reuid=boda --regid=boda --init-groups --inh-caps=-all --bounding-set=-all --no-new-privs -- "$@"
}

# exchange FOLDER BODA-DOCK
exchange() {
    failed=0
    as_boda "$2" --config /etc/boda/dock.ini import "$1" || failed=1
    # What the server then has for the tablets goes along, if the server is there. The upload goes on without the stick.
    timeout 60 systemctl start boda-dock-upload.service || true
    as_boda "$2" --config /etc/boda/dock.ini export "$1" || failed=1
    return "$failed"
}

take() {
    folder=${RUNTIME_DIRECTORY:?is set by the unit}
    status=3
    mount -t vfat,exfat -o "ro,nosuid,nodev,noexec,noatime,uid=$(id -u boda),gid=$(id -g boda),umask=077" "$1" "$folder"
    if as_boda test -d "$folder/BODA"; then
        status=0
        mount -o remount,rw "$folder" || echo "stick: is locked by a switch, or damaged: it can only be taken in"
        exchange "$folder/BODA" "$2" || status=1
    fi
    umount "$folder"
    sync "$1" # the stick's own cache
    return "$status"
}

say() {
    case $EXIT_CODE:$EXIT_STATUS in
    exited:0) text="stick $1: done, you may unplug" ;;
    exited:3) return ;; # none of ours
    exited:*) text="stick $1: you may unplug, but something was left or failed: journalctl -u boda-stick@$1.service" ;;
    *) text="stick $1: was pulled before all was done; plug it in again" ;;
    esac
    echo "$text"
    wall "$text" || true # nobody is logged in
}

case $1 in
take) take "/dev/$2" "$3" ;;
say) say "$2" ;;
esac
