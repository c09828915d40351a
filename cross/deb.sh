#!/usr/bin/env bash
# deb.sh [TARGET...]: Debian packages of avl-edge, with its service, udev rule and example configuration.
#
# By default for amd64, arm64 and armhf. Builds what is not built yet, and prints the path of each package. What goes into a
# package stands in edge/Cargo.toml ([package.metadata.deb]); cargo-deb makes it, and is installed into the cache when it is not there.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
. "$here/targets.sh"
cd "$here/.."
export AVL_CACHE=${AVL_CACHE:-$HOME/.cache/avl}
export PATH="$AVL_CACHE/tools/bin:$HOME/.cargo/bin:$PATH"
VERSION=3.8.0 # of cargo-deb; what it is asked for below was tried with it
command -v cargo-deb >/dev/null ||
    env -u CARGO_TARGET_DIR cargo install cargo-deb --version "=$VERSION" --locked --quiet --root "$AVL_CACHE/tools" >&2
out=${AVL_PACKAGES:-artifacts/packages}
mkdir -p "$out"
for target in ${*:-x86_64-unknown-linux-gnu aarch64-unknown-linux-gnu armv7-unknown-linux-gnueabihf}; do
    program=$(./cross/build.sh "$target" | tail -n 1)
    [ "$target" = x86_64-unknown-linux-gnu ] || small_enough "$program"
    # build.sh has stripped it, and its folder is where cargo-deb looks for it.
    CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-target}/cross cargo deb --package avl-edge --target "$target" --profile edge --no-build --no-strip \
        --output "$out/" --quiet >&2
    target_facts "$target"
    package=$(ls -t "$out"/avl-edge_*_"$deb_arch".deb | head -n 1)
    # A package that holds another program than the one that was built would be worse than none.
    dpkg-deb --fsys-tarfile "$package" | tar -xO ./usr/bin/avl-edge | cmp - "$program"
    echo "$package"
done
