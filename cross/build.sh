#!/usr/bin/env bash
# build.sh [TARGET...]: builds avl-edge for gateways, with the `edge` profile (small, no unwinding, stripped).
#
# Prints the path of each program. With `cargo zigbuild` and rustup's standard library for the target, these are used, and
# the program runs on any system with glibc 2.28 or later (Debian 10, Ubuntu 20.04); otherwise the compiler that toolchain.sh
# makes from Debian's packages (glibc 2.36: Debian 12). The musl target is static and runs on any kernel.
#
# Known targets: see targets.sh; x86_64-unknown-linux-gnu is built with your own compiler.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
. "$here/targets.sh"
cd "$here/.."
export AVL_CACHE=${AVL_CACHE:-$HOME/.cache/avl}
export PATH="$AVL_CACHE/tools/bin:$HOME/.cargo/bin:$PATH"
prefix=$AVL_CACHE/cross
# A folder of its own: the compilers differ, and a fat-LTO build should not evict the daily one.
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-target}/cross
flags=(--profile edge --package avl-edge --bin avl-edge --quiet)

has_rustup_std() {
    local libraries
    libraries=$(rustc --print target-libdir --target "$1" 2>/dev/null) && compgen -G "$libraries/libstd-*.rlib" >/dev/null
}

for target in ${*:-aarch64-unknown-linux-gnu}; do
    target_facts "$target"
    variable=${target^^}
    variable=${variable//-/_}
    if [ "$deb_arch" = amd64 ]; then
        cargo build "${flags[@]}" --target "$target" >&2
    elif has_rustup_std "$target" && command -v cargo-zigbuild >/dev/null; then
        [[ $target == *-musl ]] && zig_target=$target || zig_target=$target.2.28
        cargo zigbuild "${flags[@]}" --target "$zig_target" >&2
    else
        "$here/toolchain.sh" "$target" >&2
        linker=$gcc-gcc
        cc=${musl:+$prefix/bin/$musl-gcc}
        env PATH="$prefix/bin:$PATH" RUSTC="$prefix/bin/rustc" \
            "CARGO_TARGET_${variable}_LINKER=$linker" "CC_${target//-/_}=${cc:-$linker}" \
            cargo build "${flags[@]}" --target "$target" >&2
    fi
    echo "$CARGO_TARGET_DIR/$target/edge/avl-edge"
done
