#!/usr/bin/env bash
# try-deb.sh PACKAGE: installs a package of the gateway with dpkg, upgrades and removes it, and looks at what it left.
#
# On a copy of this machine that is gone afterwards: an overlay over / in a mount namespace. Needs root, and a machine with
# systemd's tools. A package for another architecture is unpacked and configured by force: its scripts are shell.
set -euo pipefail
fail() { echo "try-deb.sh: $*" >&2; exit 1; }

if [ "${1:-}" != --inside ]; then
    package=$(realpath "${1:?the package}")
    if [ "$(id -u)" -ne 0 ] || ! unshare -m true 2>/dev/null; then
        [ "${CI:-}" = true ] && fail "needs root and mount namespaces"
        echo "SKIPPED: try-deb.sh needs root and mount namespaces" >&2
        exit 0
    fi
    scratch=$(mktemp -d)
    trap 'rmdir "$scratch"' EXIT
    unshare -m "$0" --inside "$package" "$scratch"
    exit
fi

package=$2 scratch=$3
mount -t tmpfs tmpfs "$scratch"
mkdir "$scratch"/{upper,work,root}
mount -t overlay overlay -o "lowerdir=/,upperdir=$scratch/upper,workdir=$scratch/work" "$scratch/root"
cp "$package" "$scratch/root/tmp/package.deb"
inside() { chroot "$scratch/root" "$@"; }
# Nothing is started here, whatever a maintainer script asks for.
printf '#!/bin/sh\nexit 101\n' >"$scratch/root/usr/sbin/policy-rc.d"
chmod 755 "$scratch/root/usr/sbin/policy-rc.d"
force=()
[ "$(dpkg-deb --field "$package" Architecture)" = "$(dpkg --print-architecture)" ] ||
    force=(--force-architecture --force-depends)
install() { inside dpkg "${force[@]}" --install /tmp/package.deb >"$scratch/log" 2>&1 || { cat "$scratch/log"; fail "dpkg --install"; }; }
wants="$scratch/root/etc/systemd/system/multi-user.target.wants/avl-edge.service"

install
inside getent passwd avl-edge >/dev/null || fail "no user avl-edge"
inside id -nG avl-edge | grep -qw dialout || fail "avl-edge may not open serial devices"
[ -L "$wants" ] || fail "the service is not enabled"
for file in usr/bin/avl-edge usr/lib/udev/rules.d/60-avl-edge-gnss.rules usr/share/doc/avl-edge/avl-edge.example.toml; do
    [ -s "$scratch/root/$file" ] || fail "/$file is absent"
done
grep -q "write /etc/avl-edge.toml" "$scratch/log" || fail "it does not say what to do next"

# An upgrade keeps what the owner wrote.
echo 'state_dir = "/var/lib/avl-edge"' >"$scratch/root/etc/avl-edge.toml"
mkdir -p "$scratch/root/var/lib/avl-edge"
echo precious >"$scratch/root/var/lib/avl-edge/buffer"
inside systemctl disable --quiet avl-edge.service
install
[ ! -L "$wants" ] || fail "an upgrade enables a service that its owner has disabled"
grep -q "write /etc/avl-edge.toml" "$scratch/log" && fail "it asks for a configuration that is there"

# Neither removal nor purge takes a vehicle's unsent fixes.
inside dpkg --remove avl-edge >/dev/null
inside dpkg --purge avl-edge >/dev/null
[ ! -e "$scratch/root/usr/bin/avl-edge" ] || fail "the program is left over"
[ ! -e "$scratch/root/lib/systemd/system/avl-edge.service" ] || fail "the service is left over"
[ -s "$scratch/root/var/lib/avl-edge/buffer" ] || fail "the buffer is gone with the package"
[ -s "$scratch/root/etc/avl-edge.toml" ] || fail "the configuration is gone with the package"
echo "$(basename "$package"): installed, upgraded and removed cleanly"
