#!/usr/bin/env bash
# setup.sh [build] [test]: installs what is missing, and nothing else.
#
#   build   a C compiler, make and perl (the embedded stores, the crypto and the Kafka client are C), cargo, Node for the page
#   test    Chromium for the browser test, tools for the SD card test, gpsd for the receiver test, iproute2 for the
#           network tests, libfaketime for gateways whose clock is wrong, tmux and systemd for the gateway's tools,
#           TimescaleDB for the store, Maven for Kafka, rustfmt and clippy
#
# Packages come from apt, as root or by sudo without a password; without either it says what to run. Node and tools
# go to $AVL_CACHE (~/.cache/avl). Quiet when nothing is missing.
set -euo pipefail
cd "$(dirname "$0")/.."
export AVL_CACHE=${AVL_CACHE:-$HOME/.cache/avl}
export PATH="$AVL_CACHE/tools/bin:$HOME/.cargo/bin:$PATH"

fail() {
    printf 'setup: %s\n' "$@" >&2
    exit 1
}

packages=()
for want in "${@:-build}"; do
    case $want in
    build)
        command -v cc >/dev/null && command -v make >/dev/null || packages+=(build-essential)
        command -v perl >/dev/null || packages+=(perl)
        # node-setup.sh can install Node by pip, where there is none.
        command -v node >/dev/null || python3 -m pip --version >/dev/null 2>&1 || packages+=(python3-pip)
        ;;
    test)
        if [ -z "${CHROMIUM:-}" ] && ! command -v chromium >/dev/null && ! command -v chromium-browser >/dev/null &&
            ! command -v google-chrome >/dev/null; then
            packages+=(chromium)
        fi
        # What flash-sd.sh works with, and what makes an image for its test.
        for tool in sfdisk:fdisk mcopy:mtools debugfs:e2fsprogs mkfs.vfat:dosfstools xz:xz-utils; do
            [ -n "$(PATH=$PATH:/sbin:/usr/sbin command -v "${tool%:*}")" ] || packages+=("${tool#*:}")
        done
        # Network namespaces, for a gateway whose address changes.
        [ -n "$(PATH=$PATH:/sbin:/usr/sbin command -v ip)" ] || packages+=(iproute2)
        [ -x /usr/sbin/gpsd ] || [ -x /usr/local/sbin/gpsd ] || packages+=(gpsd)
        compgen -G '/usr/lib/*/faketime/libfaketime.so.1' >/dev/null || packages+=(libfaketime)
        [ -e /usr/lib/softhsm/libsofthsm2.so ] || packages+=(softhsm2)
        # The monitor is driven on a real terminal; systemd judges the unit.
        command -v tmux >/dev/null || packages+=(tmux)
        command -v systemd-analyze >/dev/null || packages+=(systemd)
        [ -x /usr/sbin/mosquitto ] || [ -x /usr/local/sbin/mosquitto ] || [ -x /usr/bin/mosquitto ] ||
            packages+=(mosquitto)
        # Kafka is fetched by Maven, which brings Java.
        command -v mvn >/dev/null && command -v java >/dev/null || packages+=(maven)
        ;;
    *) fail "unknown part '$want': build or test" ;;
    esac
done

install_packages() {
    local cure="apt-get install -y --no-install-recommends $*"
    command -v apt-get >/dev/null || fail "missing: $*" "this machine has no apt: install them by hand, then run make again"
    local as_root=()
    if [ "$(id -u)" -ne 0 ]; then
        command -v sudo >/dev/null && sudo -n true 2>/dev/null ||
            fail "missing: $*" "run this as root, then make again: $cure"
        as_root=(sudo)
    fi
    printf 'setup: installing %s\n' "$*"
    export DEBIAN_FRONTEND=noninteractive
    local log
    log=$(mktemp)
    # Lists may be old or absent (images often come without them): refresh them only when the first try fails.
    if ! "${as_root[@]}" apt-get install -y --no-install-recommends "$@" >"$log" 2>&1 &&
        ! { "${as_root[@]}" apt-get update >"$log" 2>&1 &&
            "${as_root[@]}" apt-get install -y --no-install-recommends "$@" >>"$log" 2>&1; }; then
        tail -n 15 "$log" >&2
        fail "apt could not install $* (all it said: $log)" "check the network and /etc/apt/sources.list, then run: $cure"
    fi
    rm -f "$log"
}

[ ${#packages[@]} -eq 0 ] || install_packages "${packages[@]}"

command -v cargo >/dev/null ||
    fail "cargo is not installed" "run: curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh -s -- -y"
wanted=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
found=$(rustc --version | cut -d' ' -f2)
if [ "$(printf '%s\n%s\n' "$wanted" "$found" | sort -V | head -n 1)" != "$wanted" ]; then
    fail "rustc $found is too old, $wanted is needed" "run: rustup update stable"
fi

if [[ " $* " == *" test "* ]]; then
    for component in fmt clippy; do
        if ! cargo "$component" --version >/dev/null 2>&1; then
            command -v rustup >/dev/null || fail "cargo $component is missing" "install it beside your cargo"
            rustup component add "${component/fmt/rustfmt}"
        fi
    done
    # With a database of one's own it is not needed.
    [ -n "${AVL_TEST_DATABASE_URL:-}" ] || ./scripts/timescaledb.sh install ||
        [ "${CI:-}" != true ] || fail "no TimescaleDB (see above)" "or set AVL_TEST_DATABASE_URL to one of your own"
fi

./scripts/with-node.sh true
