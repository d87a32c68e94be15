#!/bin/bash
# Runs a command of the project in a fresh, minimal Debian root, to catch an install step that this machine hides.
# Root only. What is committed is cloned into the root; the root takes its apt mirror, npm settings, name service and
# certificate authorities from this machine, and nothing else: no node, no compiler, no environment.
#
#   RUN='make demo'   what runs there, by sh, in the clone (RUN='make setup', RUN='make test T=unit/', ...)
#   KEEP=1            keep the root; its path is printed
#   ROOTS=/var/tmp    where the root is made: 3 GB
#   SUITE=bookworm
set -eu
cd "$(dirname "$0")/.."
SUITE=${SUITE:-bookworm}

say() {
    printf 'fresh-root: %s\n' "$*"
}

# The apt sources of Debian itself; those of others would hide what Debian lacks.
debian_sources() {
    # shellcheck disable=SC2016 # apt-get fills these in
    apt-get indextargets --format '$(REPO_URI) $(RELEASE) $(COMPONENT)' 'Created-By: Packages' 'Origin: Debian' |
        awk -v suite="$SUITE" 'index($2, suite) == 1 { print "deb", $1, $2, $3 }' | sort -u
}

copy() {
    local path
    for path in "$@"; do
        if [[ -e $path ]]; then
            mkdir -p "$root$(dirname "$path")"
            cp -RL "$path" "$root$path"
        fi
    done
}

make_root() {
    local mirror
    mirror=$(debian_sources | awk -v suite="$SUITE" '$3 == suite { print $2; exit }')
    [[ -n $mirror ]] || { say "no apt source of $SUITE here: run apt-get update first" && return 1; }
    say "$SUITE from $mirror into $root"
    debootstrap --variant=minbase "$SUITE" "$root" "$mirror" >"$root.log" 2>&1 || { tail -n 20 "$root.log" && return 1; }
    rm "$root.log"
    rm -f "$root"/etc/apt/sources.list
    debian_sources >"$root/etc/apt/sources.list"
    apt-config dump Acquire::http Acquire::https >"$root/etc/apt/apt.conf.d/90host"
    copy /etc/resolv.conf /etc/hosts /usr/local/share/ca-certificates /etc/ssl/certs/ca-certificates.crt /etc/npmrc
    # Public packages need no credentials, so those stay outside.
    [[ ! -f ${HOME:-/root}/.npmrc ]] || grep -viE '_auth|_password' "${HOME:-/root}/.npmrc" >"$root/root/.npmrc" || true
    git clone -q --no-hardlinks . "$root/root/boda"
}

# Runs in a mount and process namespace of its own: everything mounted or started here ends with it.
inside() {
    # A mount point of its own, so that tests can make namespaces in there.
    mount --bind "$root" "$root"
    mount -t proc proc "$root/proc" 2>/dev/null || mount --rbind /proc "$root/proc"
    mount --rbind /dev "$root/dev"
    mount --rbind /sys "$root/sys"
    # Whoever has cloned the project has make.
    # shellcheck disable=SC2016 # the shell in there fills these in
    chroot "$root" /usr/bin/env -i HOME=/root TERM="${TERM:-dumb}" LANG=C.UTF-8 \
        PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin RUN="$RUN" /bin/sh -c '
        set -eu
        apt-get update -qq
        DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends make >/dev/null
        cd /root/boda
        eval "$RUN"'
}

if [[ ${1:-} = inside ]]; then
    inside
    exit
fi

[[ $(id -u) -eq 0 ]] || { say "needs root, for chroot and mount" && exit 1; }
export RUN=${RUN:-make demo}
command -v debootstrap >/dev/null || apt-get install -y --no-install-recommends debootstrap
root=$(mktemp -d "${ROOTS:-/var/tmp}/boda-fresh.XXXX")
export root
# The mounts are gone with their namespace, so this removes nothing but the root.
trap '[[ -n ${KEEP:-} ]] && say "kept: $root" || rm -rf --one-file-system "$root"' EXIT
chmod 0755 "$root"
make_root
say "running there: $RUN"
status=0
unshare --mount --propagation private --pid --fork --kill-child "$0" inside </dev/null || status=$?
say "exit status $status of: $RUN"
exit "$status"
