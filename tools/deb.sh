#!/bin/sh
# deb.sh BUILD: makes BUILD/holdfast_VERSION_ARCH.deb from a finished build, for the Debian it was built on.
# The same sources and build give the same package, byte for byte.
set -eu
cd "$(dirname "$0")/.."
build=${1:-build}
version=$(sed -n "s/^  version: '\(.*\)',$/\1/p" meson.build)
arch=$(dpkg --print-architecture)
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct 2>/dev/null || stat -c %Y CHANGELOG.md)
export SOURCE_DATE_EPOCH
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM

# The programs find each other beside their own place, so the prefix they were built for does not matter.
DESTDIR="$work/tree" meson install -C "$build" --no-rebuild --quiet
prefix=$(meson introspect "$build" --buildoptions |
    /usr/bin/python3 -c 'import json,sys; print(next(o["value"] for o in json.load(sys.stdin) if o["name"] == "prefix"))')
root="$work/root"
mkdir -p "$root/usr/bin" "$root/usr/libexec/holdfast" "$root/usr/share" "$root/DEBIAN" "$root/etc/holdfast"
cp "$work/tree$prefix/bin/holdfast" "$root/usr/bin/"
cp "$work/tree$prefix"/libexec/holdfast/holdfast-* "$root/usr/libexec/holdfast/"
cp -r "$work/tree$prefix/share/man" "$work/tree$prefix/share/doc" "$root/usr/share/"
find "$root/usr/share/man" -type f ! -name '*.gz' -exec gzip -9n {} +
strip --strip-unneeded "$root/usr/bin/holdfast" "$root"/usr/libexec/holdfast/*
install -D -m 0644 packaging/holdfast.service "$root/lib/systemd/system/holdfast.service"
install -D -m 0644 packaging/holdfast.sysusers "$root/usr/lib/sysusers.d/holdfast.conf"
install -D -m 0644 packaging/holdfast.tmpfiles "$root/usr/lib/tmpfiles.d/holdfast.conf"
install -m 0640 packaging/holdfast.example.yaml "$root/etc/holdfast/holdfast.yaml"
gzip -9nc CHANGELOG.md >"$root/usr/share/doc/holdfast/changelog.gz"
cp packaging/debian/copyright SECURITY.md "$root/usr/share/doc/holdfast/"
cp -r packaging/haproxy packaging/nginx packaging/prometheus packaging/grafana "$root/usr/share/doc/holdfast/"
install -m 0755 packaging/debian/postinst packaging/debian/prerm packaging/debian/postrm "$root/DEBIAN/"
echo /etc/holdfast/holdfast.yaml >"$root/DEBIAN/conffiles"

# What the programs load, by the names and versions of this Debian.
mkdir -p "$work/debian"
printf 'Source: holdfast\n\nPackage: holdfast\nArchitecture: any\n' >"$work/debian/control"
depends=$(cd "$work" && dpkg-shlibdeps -O --ignore-missing-info root/usr/bin/holdfast root/usr/libexec/holdfast/* 2>/dev/null |
    sed -n 's/^shlibs:Depends=//p')
[ -n "$depends" ] || { echo "deb: dpkg-shlibdeps does not tell what the programs need" >&2; exit 1; }
cat >"$root/DEBIAN/control" <<CONTROL
Package: holdfast
Version: $version
Architecture: $arch
Section: net
Priority: optional
Maintainer: The Holdfast authors <holdfast@localhost>
Installed-Size: $(du -sk --exclude=DEBIAN "$root" | cut -f1)
Depends: $depends
Recommends: systemd
Description: signer for validators that refuses what would be slashed
 Holds every secret that a validator depends on, and signs nothing that could get it slashed: keys live in a
 process of their own, which parses nothing from the network and records each message before it signs.
CONTROL
(cd "$root" && find . -type f ! -path './DEBIAN/*' -printf '%P\n' | LC_ALL=C sort | xargs -d '\n' md5sum) >"$work/md5sums"
mv "$work/md5sums" "$root/DEBIAN/md5sums"
find "$root" -type d -exec chmod 0755 {} +
find "$root" -type f ! -perm -u=x ! -path '*/etc/holdfast/*' -exec chmod 0644 {} +
find "$root" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
dpkg-deb --root-owner-group --build "$root" "$work/package.deb" >/dev/null
# Whoever makes it at the same time makes the same one.
cp "$work/package.deb" "$build/.package.$$"
mv "$build/.package.$$" "$build/holdfast_${version}_$arch.deb"
echo "$build/holdfast_${version}_$arch.deb"
