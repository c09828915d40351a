#!/usr/bin/env bash
# test.sh [TARGET...]: builds avl-edge for the targets and runs system scenarios with each build, under emulation.
#
# The scenarios are those of hil-tests with another program in the gateway's place: `decode` and `pack` against the
# independent parser, and the whole way of each real log, from a serial port (a pseudo-terminal) through the emulated gateway,
# QUIC and the cloud to the API, every fix exactly once. Emulated speed and memory say nothing about a gateway.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
. "$here/targets.sh"
export AVL_CACHE=${AVL_CACHE:-$HOME/.cache/avl}
for target in ${*:-aarch64-unknown-linux-gnu}; do
    target_facts "$target"
    [ -n "$qemu" ] || { echo "test.sh: $target needs no emulator: 'make test' runs it" >&2; exit 1; }
    code=0
    "$here/toolchain.sh" "$target" || code=$?
    if [ $code -eq $NOT_HERE ] && [ "${CI:-}" != true ]; then
        echo "SKIPPED: $target under emulation: no emulator to be had here (see above); CI has it"
        continue
    fi
    [ $code -eq 0 ] || exit $code
    program=$("$here/build.sh" "$target" | tail -n 1)
    program=$(realpath "$program")
    echo "$target: $(stat -c %s "$program") bytes, $(file -b "$program" 2>/dev/null | cut -d, -f1-3 || true)"
    small_enough "$program"
    emulated=$program-emulated
    printf '#!/bin/sh\nQEMU_LD_PREFIX="%s" exec "%s" "%s" "$@"\n' "$sysroot" "$AVL_CACHE/cross/qemu/$qemu" "$program" >"$emulated"
    chmod +x "$emulated"
    "$emulated" --version
    (cd "$here/.." && AVL_EDGE_PROGRAM=$emulated AVL_ARTIFACTS=${AVL_ARTIFACTS:-artifacts}/$target \
        cargo test --quiet --package hil-tests --test system -- decode_and_pack:: whole_way::)
done
