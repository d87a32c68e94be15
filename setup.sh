#!/bin/sh
# Installs what Boda is built and tested with: the Debian packages of packages.txt and the npm packages of tests/web.
# Safe to repeat: where nothing is missing it changes nothing and uses no network.
set -eu
cd "$(dirname "$0")"

say() {
    printf 'setup: %s\n' "$*"
}

fail() {
    printf 'setup: %s\n' "$*" >&2
    exit 1
}

as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        fail "packages are missing and there is no sudo: run $0 as root once"
    fi
}

# True where node is 18 or newer and npm is there, wherever they came from.
have_node() {
    command -v npm >/dev/null && command -v node >/dev/null &&
        node -e 'process.exit(parseInt(process.versions.node, 10) >= 18 ? 0 : 1)'
}

wanted_packages() {
    if have_node; then
        sed 's/#.*//' packages.txt | grep -vwE '^(nodejs|npm)[[:space:]]*$' | xargs
    else
        sed 's/#.*//' packages.txt | xargs
    fi
}

# Names of the wanted packages that dpkg does not have installed.
missing_packages() {
    # shellcheck disable=SC2046 # one word is one package
    dpkg-query -W -f '${Package} ${db:Status-Status}\n' $(wanted_packages) 2>/dev/null |
        awk -v wanted="$(wanted_packages)" '
            $2 == "installed" { have[$1] = 1 }
            END { n = split(wanted, name, " "); for (i = 1; i <= n; i++) if (!(name[i] in have)) print name[i] }' |
        xargs
}

install_packages() {
    command -v apt-get >/dev/null || fail "no apt-get here: install what packages.txt names by other means"
    missing=$(missing_packages)
    if [ -z "$missing" ]; then
        say "Debian packages: all there"
        return
    fi
    say "Debian packages: installing $missing"
    as_root apt-get update -q
    # shellcheck disable=SC2086 # one word is one package
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $missing
    missing=$(missing_packages)
    [ -z "$missing" ] || fail "still missing after apt-get: $missing"
}

# Install scripts stay off: leveldown, the one native package, ships its binaries and finds them at run time.
install_node_modules() {
    if [ ! -f tests/web/package-lock.json ]; then
        say "npm packages: skipped, tests/web has no package-lock.json"
        return
    fi
    installed=tests/web/node_modules/.package-lock.json
    if [ -f "$installed" ] && [ -z "$(find tests/web/package-lock.json -newer "$installed")" ]; then
        say "npm packages: all there"
        return
    fi
    say "npm packages: npm ci in tests/web"
    (cd tests/web && npm ci --ignore-scripts --no-audit --no-fund)
    touch "$installed"
}

install_packages
install_node_modules
