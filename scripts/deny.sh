#!/usr/bin/env bash
# deny.sh [--install]: licences, bans and sources of every dependency, as deny.toml rules.
#
# cargo-deny takes some minutes to compile, so it is kept in $AVL_CACHE/tools. Without it and without --install
# (CI installs) this says so and passes.
set -euo pipefail
cd "$(dirname "$0")/.."
export AVL_CACHE=${AVL_CACHE:-$HOME/.cache/avl}
export PATH="$AVL_CACHE/tools/bin:$PATH"
if ! cargo deny --version >/dev/null 2>&1; then
    if [ "${1:-}" != --install ] && [ "${CI:-}" != true ]; then
        echo "SKIPPED: cargo-deny is not installed ('make deny' installs it, which takes some minutes)"
        exit 0
    fi
    # Its own target folder goes away with the install; the toolchain flags of this build do not concern it.
    env -u CARGO_TARGET_DIR cargo install cargo-deny --locked --quiet --root "$AVL_CACHE/tools"
fi
# Advisories need the network and change under us: they are a target of their own (make deny).
cargo deny --log-level error --offline check licenses bans sources 2>/dev/null ||
    cargo deny --log-level error check licenses bans sources
