#!/bin/sh
# systemd-proof.sh BUILD: the Debian package under a systemd that really runs, in a small Debian of its own. Takes minutes,
# root and the Debian mirror of this machine; skipped with a message where something is missing.
#   SYSTEMD_PROOF_ROOT  a folder to keep that Debian in as it is unpacked, for another time (else it is gone afterwards)
set -eu
cd "$(dirname "$0")/.."
skip() {
    echo "systemd-proof: skipped: $1"
    exit 0
}
[ "$(id -u)" = 0 ] || skip "needs root: mounts, namespaces"
for program in debootstrap dpkg-deb nsenter setpriv unshare; do
    command -v "$program" >/dev/null || skip "$program is not installed"
done
grep -q ' - cgroup2 ' /proc/self/mountinfo || skip "no cgroup2 is mounted, which systemd needs"
package=$(tools/deb.sh "$1")
HF_BUILD=$(cd "$1" && pwd)
export HF_BUILD PYTHONDONTWRITEBYTECODE=1
exec /usr/bin/python3 tools/systemd_proof.py "$package"
