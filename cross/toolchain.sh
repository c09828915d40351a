#!/usr/bin/env bash
# toolchain.sh [TARGET...]: a Rust compiler for ARM from Debian's packages alone, and the emulators to try its programs.
#
# For machines that cannot reach rustup's servers. Where they are reachable, build.sh uses `cargo zigbuild` instead and
# none of this is needed. Debian's `rustc-web` comes with the standard library for arm64; for musl and armv7 it is compiled
# from Debian's copy of its sources. Everything is unpacked into $AVL_CACHE/cross (938 MB with all targets), with a private
# list of packages: the machine's own package system gets the C cross compilers and no foreign architecture.
#
# Without arguments: all targets. Quiet and quick when everything is there. Needs Debian 12 on x86-64, and root or sudo.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
. "$here/targets.sh"
prefix=${AVL_CACHE:-$HOME/.cache/avl}/cross
targets=${*:-$ALL_TARGETS}

# A change of this script or of the C helper makes the toolchain anew.
version=$(cat "$here/toolchain.sh" "$here/targets.sh" "$here/musl/dl_find_object.c" | sha256sum | cut -c1-16)
[ "$(cat "$prefix/version" 2>/dev/null)" = "$version" ] || rm -rf "$prefix"
missing=()
for target in $targets; do
    target_facts "$target"
    [ -e "$prefix/ready/$target" ] || missing+=("$target")
done
[ ${#missing[@]} -gt 0 ] || exit 0

say() { echo "cross: $* (${SECONDS} s)"; }
fail() { printf 'cross: %s\n' "$@" >&2; exit 1; }

. /etc/os-release
if [ "$(dpkg --print-architecture 2>/dev/null)" != amd64 ] || [ "${VERSION_CODENAME:-}" != bookworm ]; then
    echo "cross: this recipe is for Debian 12 on x86-64; this is ${PRETTY_NAME:-unknown}" >&2
    echo "cross: elsewhere: rustup target add ${missing[*]}; cargo install cargo-zigbuild; pip install ziglang; then cross/build.sh" >&2
    exit $NOT_HERE
fi
as_root=()
if [ "$(id -u)" -ne 0 ]; then
    sudo -n true 2>/dev/null || fail "needs root for apt-get: run it as root, or with sudo"
    as_root=(sudo)
fi

# The C cross compilers: for ring and sled's zstd-free C parts, and as linkers. --no-remove: never at the cost of what is installed.
compilers=()
for target in "${missing[@]}"; do
    target_facts "$target"
    command -v "$gcc-gcc" >/dev/null && [ -e "/usr/$gcc/lib/libc.so.6" ] || compilers+=("gcc-$gcc" "$libc_dev")
done
if [ ${#compilers[@]} -gt 0 ]; then
    export DEBIAN_FRONTEND=noninteractive
    install() { "${as_root[@]}" apt-get install -y -qq --no-install-recommends --no-remove -o DPkg::Lock::Timeout=600 "${compilers[@]}" >/dev/null; }
    install 2>/dev/null || { "${as_root[@]}" apt-get update -qq && install; } || fail "apt-get cannot install ${compilers[*]}"
    say "C compilers installed"
fi

mkdir -p "$prefix"/{ready,bin,qemu,apt/lists/partial,apt/cache/archives/partial,apt/sources,deb}
# Lists of packages of our own. armhf only in the main suite: Debian 12's security suite has no sound index for it.
# Emulators from Debian 13: serial ports (TCGETS2) do not work in qemu-user before 10.0.13.
mirror=$(sed -n 's/^URIs: *//p' /etc/apt/sources.list.d/debian.sources 2>/dev/null | grep -v security | head -n 1)
[ -n "$mirror" ] || mirror=$(awk '$1 == "deb" && !/security/ {for (i = 2; i <= NF; i++) if ($i ~ /^http/) {print $i; exit}}' /etc/apt/sources.list 2>/dev/null)
security=$(sed -n 's/^URIs: *//p' /etc/apt/sources.list.d/debian.sources 2>/dev/null | grep security | head -n 1)
keyring=/usr/share/keyrings/debian-archive-keyring.gpg
[ -n "$mirror" ] || fail "no Debian mirror in /etc/apt: add one to /etc/apt/sources.list.d/debian.sources"
source_of() { printf 'Types: deb\nURIs: %s\nSuites: %s\nComponents: main\nArchitectures: %s\nSigned-By: %s\n\n' "$1" "$2" "$3" "$keyring"; }
{
    source_of "$mirror" bookworm "amd64 arm64 armhf"
    # Where rustc-web is kept current.
    [ -z "$security" ] || source_of "$security" bookworm-security "amd64 arm64"
    source_of "$mirror" trixie amd64
} >"$prefix/apt/sources/debian.sources"
cat >"$prefix/apt/apt.conf" <<CONF
APT::Architecture "amd64";
APT::Architectures { "amd64"; "arm64"; "armhf"; };
APT::Default-Release "/^bookworm(|-security)$/";
APT::Sandbox::User "root";
Acquire::Languages "none";
Acquire::Retries "3";
Dir::Etc::sourcelist "/dev/null";
Dir::Etc::sourceparts "$prefix/apt/sources";
Dir::State::Lists "$prefix/apt/lists";
Dir::Cache "$prefix/apt/cache";
CONF
export APT_CONFIG=$prefix/apt/apt.conf

fetch() { (cd "$prefix/deb" && apt-get download -qq "$@"); }
unpack() { # FILE TARGET-FOLDER [tar options]
    local file=$1 into=$2
    shift 2
    mkdir -p "$into"
    dpkg-deb --fsys-tarfile "$file" | tar -x -C "$into" "$@"
}

if [ ! -e "$prefix/ready/compiler" ]; then
    apt-get update -qq || fail "the package lists cannot be fetched (see above)"
    say "package lists"
    rustc=$(apt-cache policy rustc-web | sed -n 's/ *Candidate: //p')
    [ -n "$rustc" ] && [ "$rustc" != "(none)" ] || fail "Debian's rustc-web was not found in the package lists"
    libraries=$(apt-cache depends --recurse --no-recommends --no-suggests --no-conflicts --no-breaks --no-replaces --no-enhances \
        "rustc-web=$rustc" | grep -E '^(libstd-rust-web-[0-9.]+|libllvm[0-9]+)$' | sort -uV |
        awk '/libllvm/ {llvm = $0} /libstd/ {std = $0} END {print std, llvm}')
    # shellcheck disable=SC2086 # two names
    fetch rustc-web $libraries libstd-rust-web-dev libstd-rust-web-dev:arm64 rust-web-src musl-dev:arm64 qemu-user/trixie
    say "downloaded rustc $rustc, $(du -sh "$prefix/deb" | cut -f1)"
    for package in "$prefix"/deb/{rustc-web,libstd-rust-web,libllvm}*.deb; do
        unpack "$package" "$prefix" --exclude './usr/share/*' --exclude '*.so.dwp'
    done
    unpack "$prefix"/deb/rust-web-src_*.deb "$prefix" --wildcards './usr/src/rustc-*/library' './usr/lib/rustlib/src'
    unpack "$prefix"/deb/musl-dev_*_arm64.deb "$prefix/musl"
    unpack "$prefix"/deb/qemu-user_*.deb "$prefix/qemu" --strip-components=3 ./usr/bin/qemu-aarch64 ./usr/bin/qemu-arm
    rm -rf "$prefix/deb" "$prefix/apt/cache"
    for tool in rustc rustdoc; do
        cat >"$prefix/bin/$tool" <<TOOL
#!/bin/sh
LD_LIBRARY_PATH="$prefix/usr/lib/x86_64-linux-gnu\${LD_LIBRARY_PATH:+:\$LD_LIBRARY_PATH}" exec "$prefix/usr/bin/$tool" "\$@"
TOOL
        chmod +x "$prefix/bin/$tool"
    done
    echo "$version" >"$prefix/version"
    touch "$prefix/ready/compiler"
    say "compiler unpacked: $("$prefix/bin/rustc" --version)"
fi

# The standard library, from Debian's sources, for targets without a package of it.
rustlib=$prefix/usr/lib/rustlib
to_build=()
for target in "${missing[@]}"; do
    [ -d "$rustlib/$target/lib" ] || to_build+=(--target "$target")
done
if [ ${#to_build[@]} -gt 0 ]; then
    say "compiling the standard library for ${to_build[*]//--target/} (some minutes)"
    work=$prefix/std-build
    rm -rf "$work"
    mkdir -p "$work/src"
    : >"$work/src/lib.rs"
    printf '[package]\nname = "std-build"\nversion = "0.0.0"\nedition = "2024"\n[workspace]\n' >"$work/Cargo.toml"
    # panic_abort must be compiled with the panic strategy that it implements.
    cat >"$work/wrap" <<'WRAP'
#!/bin/sh
case " $* " in *" --crate-name panic_abort "*) exec "$@" -C panic=abort ;; esac
exec "$@"
WRAP
    chmod +x "$work/wrap"
    (cd "$work" && env -u APT_CONFIG -u CARGO_TARGET_DIR RUSTC="$prefix/bin/rustc" RUSTC_BOOTSTRAP=1 RUSTC_WRAPPER="$work/wrap" \
        RUSTFLAGS="-Cembed-bitcode=yes" cargo build -q --release -Zbuild-std=std,panic_abort,panic_unwind,proc_macro,test "${to_build[@]}")
    for target in "${missing[@]}"; do
        [ -d "$work/target/$target" ] || continue
        mkdir -p "$rustlib/$target/lib"
        cp "$work/target/$target"/release/deps/*.rlib "$rustlib/$target/lib/"
        rm -f "$rustlib/$target/lib"/libstd_build*
    done
    rm -rf "$work"
    say "standard library compiled"
fi

# musl: its start-up objects and C library where rustc looks for them, and the unwinder of Debian's gcc.
for target in "${missing[@]}"; do
    target_facts "$target"
    if [ -n "$musl" ]; then
        sed "s#/usr/#$prefix/musl/usr/#g" "$prefix/musl/usr/lib/$musl/musl-gcc.specs" >"$prefix/bin/$musl.specs"
        printf '#!/bin/sh\nexec %s-gcc "$@" -specs "%s"\n' "$gcc" "$prefix/bin/$musl.specs" >"$prefix/bin/$musl-gcc"
        chmod +x "$prefix/bin/$musl-gcc"
        own=$rustlib/$target/lib/self-contained
        mkdir -p "$own"
        cp "$prefix/musl/usr/lib/$musl"/{crt1,Scrt1,rcrt1,crti,crtn}.o "$prefix/musl/usr/lib/$musl/libc.a" "$own/"
        for object in crtbegin.o crtbeginS.o crtend.o crtendS.o; do
            cp "$("$gcc-gcc" -print-file-name=$object)" "$own/"
        done
        cp "$("$gcc-gcc" -print-file-name=libgcc_eh.a)" "$own/libunwind.a"
        "$prefix/bin/$musl-gcc" -O2 -fPIC -c "$here/musl/dl_find_object.c" -o "$own/dl_find_object.o"
        "$gcc-ar" r "$own/libunwind.a" "$own/dl_find_object.o" 2>/dev/null
        rm "$own/dl_find_object.o"
    fi
    touch "$prefix/ready/$target"
done
say "ready for ${missing[*]}: $(du -sh "$prefix" | cut -f1) in $prefix"
