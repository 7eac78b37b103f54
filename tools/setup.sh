#!/bin/sh
# setup.sh BUILD: installs what the build needs and is missing (Debian packages, pinned npm
# sources), then configures BUILD. Quick when nothing is missing.
# setup.sh --tools GROUP: installs the tools of the gates, GROUP being `test` or `lint`. A tool that
# cannot be had is no error here: the check that needs it is skipped and says so.
set -eu
cd "$(dirname "$0")/.."

# Prints those of its arguments that dpkg does not know as installed.
missing_of() {
    for package in "$@"; do
        case "$package" in
            npm) command -v npm >/dev/null 2>&1 && continue ;;
        esac
        dpkg-query -W -f '${Status}\n' "$package" 2>/dev/null | grep -q 'ok installed' || printf ' %s' "$package"
    done
}

install() {
    echo "setup: installing $*"
    sudo=""
    [ "$(id -u)" -eq 0 ] || sudo=sudo
    $sudo apt-get update -qq
    DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -qq --no-install-recommends "$@" >/dev/null
}

if [ "$1" = --tools ]; then
    case "$2" in
        test) tools="valgrind clang libclang-rt-dev llvm util-linux python3-pytest-xdist postgresql spin haproxy iproute2 softhsm2 opensc python3-cryptography" ;;
        lint) tools="clang clang-tidy clang-format cppcheck shellcheck binutils" ;;
        *) echo "setup: no such group of tools: $2" >&2; exit 2 ;;
    esac
    # Before Debian 12 the sanitizers' runtime came with clang itself; that is fine as well.
    # shellcheck disable=SC2086  # a list of words
    missing=$(missing_of $tools)
    # shellcheck disable=SC2086
    [ -z "$missing" ] || install $missing || echo "setup: could not install$missing" >&2
    exit 0
fi

build=$1

packages="gcc make meson ninja-build pkg-config git npm openssl python3 python3-pytest python3-yaml
    dpkg-dev libmicrohttpd-dev libgnutls28-dev libjansson-dev libyaml-dev libsodium-dev libseccomp-dev
    libsqlite3-dev libssl-dev libcmocka-dev libunistring-dev libpq-dev libcurl4-openssl-dev libsecp256k1-dev
    libp11-kit-dev"

# shellcheck disable=SC2086  # a list of words
missing=$(missing_of $packages)
if [ -n "$missing" ]; then
    # shellcheck disable=SC2086
    install $missing
fi

if ! cmp -s third_party/package-lock.json third_party/node_modules/.holdfast-lock; then
    echo "setup: fetching the pinned sources of blst and the BIP-39 word list"
    (cd third_party && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error >/dev/null)
    cp third_party/package-lock.json third_party/node_modules/.holdfast-lock
fi

[ -f "$build/build.ninja" ] || meson setup "$build" >/dev/null
