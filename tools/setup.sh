#!/bin/sh
# setup.sh BUILD: installs what the build needs and is missing (Debian packages, pinned npm
# sources), then configures BUILD. Quick when nothing is missing.
set -eu
cd "$(dirname "$0")/.."
build=$1

packages="gcc make meson ninja-build pkg-config git npm python3 python3-pytest
    libmicrohttpd-dev libgnutls28-dev libjansson-dev libyaml-dev libsodium-dev libseccomp-dev
    libsqlite3-dev libssl-dev libcmocka-dev libunistring-dev"

missing=""
for package in $packages; do
    case "$package" in
        npm) command -v npm >/dev/null 2>&1 && continue ;;
    esac
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing="$missing $package"
done
if [ -n "$missing" ]; then
    echo "setup: installing$missing"
    sudo=""
    [ "$(id -u)" -eq 0 ] || sudo=sudo
    $sudo apt-get update -qq
    # shellcheck disable=SC2086
    DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -qq --no-install-recommends $missing >/dev/null
fi

if ! cmp -s third_party/package-lock.json third_party/node_modules/.holdfast-lock; then
    echo "setup: fetching the pinned sources of blst and the BIP-39 word list"
    (cd third_party && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error >/dev/null)
    cp third_party/package-lock.json third_party/node_modules/.holdfast-lock
fi

[ -f "$build/build.ninja" ] || meson setup "$build" >/dev/null
