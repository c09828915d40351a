# What is known of each target; sourced by the scripts beside it.
#
# target_facts TARGET sets: deb_arch (Debian's name), gcc (prefix of its cross compiler), libc_dev (the compiler's C library),
# qemu (its emulator), sysroot (where that finds the C library; empty for a static binary), musl (Debian's name of its
# musl folder; empty for glibc).

# Exit code of toolchain.sh on machines that the recipe is not for.
NOT_HERE=3
ALL_TARGETS="aarch64-unknown-linux-gnu aarch64-unknown-linux-musl armv7-unknown-linux-gnueabihf"

target_facts() {
    musl=
    case $1 in
    aarch64-*) deb_arch=arm64 gcc=aarch64-linux-gnu libc_dev=libc6-dev-arm64-cross qemu=qemu-aarch64 ;;
    armv7-*) deb_arch=armhf gcc=arm-linux-gnueabihf libc_dev=libc6-dev-armhf-cross qemu=qemu-arm ;;
    x86_64-unknown-linux-gnu) deb_arch=amd64 gcc=x86_64-linux-gnu libc_dev=libc6-dev qemu= ;;
    *)
        echo "unknown target '$1'; known: $ALL_TARGETS" >&2
        return 1
        ;;
    esac
    sysroot=/usr/$gcc
    if [[ $1 == aarch64-*-musl ]]; then
        musl=aarch64-linux-musl sysroot=
    fi
}

# What an update costs on the air, and what small flash must hold twice.
MOST_BYTES=$((6 * 1024 * 1024))

# small_enough PROGRAM: fails, with the figure and what to do, when the program for a gateway has grown beyond that.
small_enough() {
    local bytes
    bytes=$(stat -c %s "$1")
    [ "$bytes" -le $MOST_BYTES ] && return
    echo "$1 has $bytes bytes, and a gateway's program at most $MOST_BYTES: 'cargo bloat --profile edge --package avl-edge --crates' says what is heavy" >&2
    return 1
}
