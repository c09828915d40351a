#!/usr/bin/env bash
# timescaledb.sh: TimescaleDB 2.19 on PostgreSQL 17 for tests and development, from Debian 13's packages.
#
#   install                        fetches and unpacks it into $AVL_CACHE/timescaledb; quiet and quick when it is there
#   run DATA PORT [OPTION...]      the server on 127.0.0.1:PORT with its data in DATA (made when missing), until it is told
#                                  to stop; options go to postgres, such as -c fsync=off
#   start DATA PORT [OPTION...]    the same in the background; prints its URL when it takes connections. Log: DATA.log
#   stop DATA                      stops it (by its process id) and waits for its end
#   ready PORT                     succeeds when it takes connections
#   psql ARGUMENT...               its command line
#
# User, password and database are `avl`: for this machine only. It is the Apache build: hypertables and drop_chunks, no
# compression, policies or continuous aggregates. Needs apt (Debian or Ubuntu on x86-64 or arm64) but no root: nothing is
# installed on the machine. As root the server runs as another user, because PostgreSQL refuses root.
set -euo pipefail

prefix=${AVL_CACHE:-$HOME/.cache/avl}/timescaledb
bin=$prefix/usr/lib/postgresql/17/bin
# A change of this script makes it anew.
version=$(sha256sum "${BASH_SOURCE[0]}" | cut -c1-16)
# Who the server runs as when root starts it: nobody.
NOBODY=65534

say() { echo "timescaledb: $*" >&2; }
fail() {
    printf 'timescaledb: %s\n' "$@" >&2
    exit 1
}

install() {
    [ "$(cat "$prefix/version" 2>/dev/null)" != "$version" ] || return 0
    command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null ||
        fail "this machine has no apt: set AVL_TEST_DATABASE_URL to a TimescaleDB of your own"
    mkdir -p "$(dirname "$prefix")"
    # Whoever comes second waits, and finds it done.
    exec 9>"$prefix.lock"
    flock 9
    [ "$(cat "$prefix/version" 2>/dev/null)" != "$version" ] || return 0
    local keyring=/usr/share/keyrings/debian-archive-keyring.gpg mirror work=$prefix.new
    [ -e "$keyring" ] || fail "$keyring is missing: apt-get install debian-archive-keyring"
    mirror=$(sed -n 's/^URIs: *//p' /etc/apt/sources.list.d/debian.sources 2>/dev/null | grep -v security | head -n 1)
    [ -n "$mirror" ] || mirror=$(awk '$1 == "deb" && !/security/ {for (i = 2; i <= NF; i++) if ($i ~ /debian/ && $i ~ /^http/) {print $i; exit}}' /etc/apt/sources.list 2>/dev/null || true)
    rm -rf "$work"
    mkdir -p "$work"/{apt/lists/partial,apt/cache/archives/partial,apt/none,deb,root}
    touch "$work/apt/status"
    printf 'Types: deb\nURIs: %s\nSuites: trixie\nComponents: main\nSigned-By: %s\n' "${mirror:-http://deb.debian.org/debian}" "$keyring" \
        >"$work/apt/trixie.sources"
    # A private list of packages, on an empty machine: the system's own is neither asked nor touched.
    cat >"$work/apt/apt.conf" <<CONF
APT::Sandbox::User "";
Acquire::Languages "none";
Acquire::Retries "3";
Dir::Etc::sourcelist "$work/apt/trixie.sources";
Dir::Etc::sourceparts "$work/apt/none";
Dir::State "$work/apt";
Dir::State::Lists "$work/apt/lists";
Dir::State::status "$work/apt/status";
Dir::Cache "$work/apt/cache";
CONF
    export APT_CONFIG=$work/apt/apt.conf
    say "fetching Debian 13's package lists"
    apt-get update -qq >&2 || fail "the package lists cannot be fetched (see above): check the network, then run it again"
    local libraries
    libraries=$(apt-cache depends --recurse --no-recommends --no-suggests --no-conflicts --no-breaks --no-replaces --no-enhances \
        libc6 libgssapi-krb5-2 libicu76 libldap2 liblz4-1 libpam0g libpq5 libreadline8t64 libselinux1 libssl3t64 libstdc++6 \
        libsystemd0 libuuid1 libxml2 libzstd1 zlib1g | grep -E '^(lib|zlib)' | grep -vE 'debian-installer|newt|slang|textwrap' | sort -u)
    say "downloading PostgreSQL 17 and TimescaleDB"
    # shellcheck disable=SC2086 # names
    (cd "$work/deb" && apt-get download -qq postgresql-17 postgresql-client-17 postgresql-17-timescaledb patchelf $libraries >&2) ||
        fail "the packages cannot be downloaded (see above)"
    say "unpacking $(du -sh "$work/deb" | cut -f1)"
    local package
    for package in "$work"/deb/*.deb; do
        dpkg-deb --fsys-tarfile "$package" | tar -x -C "$work/root" --exclude './usr/share/doc' --exclude './usr/share/locale' \
            --exclude './usr/share/man' --exclude '*/bitcode' --exclude '*llvmjit*'
    done
    # Debian 13's programs need Debian 13's C library: they are told where theirs is.
    local triplet loader libs
    triplet=$(basename "$(dirname "$(find "$work/root/usr/lib" -name libc.so.6 | head -n 1)")")
    libs=$prefix/usr/lib/$triplet
    loader=$(cd "$work/root/usr/lib" && find "$triplet" -maxdepth 1 -name 'ld-linux*' | head -n 1)
    [ -n "$loader" ] || fail "Debian's libc6 has no loader where it was expected"
    local program patchelf=("$work/root/usr/lib/$loader" --library-path "$work/root/usr/lib/$triplet" "$work/root/usr/bin/patchelf")
    for program in postgres initdb pg_ctl psql pg_isready pg_dump pg_basebackup; do
        "${patchelf[@]}" --set-interpreter "$prefix/usr/lib/$loader" --force-rpath --set-rpath "$libs" \
            "$work/root/usr/lib/postgresql/17/bin/$program"
    done
    echo "$version" >"$work/root/version"
    rm -rf "$prefix"
    mv "$work/root" "$prefix"
    rm -rf "$work"
    # Not held by a server that is started next.
    exec 9>&-
    say "ready: $("$bin/postgres" --version | cut -d' ' -f1-3), $(du -sh "$prefix" | cut -f1) in $prefix"
}

# Runs a command as whom PostgreSQL accepts, killed when whoever started it ends; becomes it.
unprivileged() {
    if [ "$(id -u)" -ne 0 ]; then
        [ ${#tied[@]} -eq 0 ] || exec setpriv "${tied[@]}" "$@"
        exec "$@"
    fi
    # The capability only opens the way to the programs, which may lie below /root.
    exec setpriv --reuid $NOBODY --regid $NOBODY --clear-groups --securebits=+no_setuid_fixup --inh-caps=-all,+dac_override --ambient-caps=+dac_override \
        "${tied[@]}" "$@"
}

make_cluster() { # DATA
    [ ! -e "$1/PG_VERSION" ] || return 0
    say "making a cluster in $1"
    mkdir -p "$1"
    chmod 700 "$1"
    [ "$(id -u)" -ne 0 ] || chown $NOBODY:$NOBODY "$1"
    local log
    log=$( (unprivileged "$bin/initdb" --pgdata "$1" --username avl --pwfile <(echo avl) --auth scram-sha-256 --encoding UTF8 \
        --locale-provider builtin --locale C.UTF-8 --no-sync) 2>&1) || fail "initdb failed:" "$log"
    # Sockets of a kind that other users could reach are not made.
    cat >>"$1/postgresql.conf" <<'CONF'
listen_addresses = '127.0.0.1'
unix_socket_directories = ''
shared_preload_libraries = 'timescaledb'
timescaledb.telemetry_level = off
timezone = 'UTC'
log_timezone = 'UTC'
jit = off
CONF
    log=$(echo 'CREATE DATABASE avl' | (unprivileged "$bin/postgres" --single -D "$1" postgres) 2>&1) ||
        fail "the database cannot be made:" "$log"
}

tied=()
[ $# -ge 1 ] || { sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}"; exit 2; }
command=$1
shift
case $command in
install) install ;;
run)
    [ $# -ge 2 ] || fail "run DATA PORT [OPTION...]"
    data=$1 port=$2
    shift 2
    install
    make_cluster "$data"
    # Tests must leave nothing behind, however they end.
    tied=(--pdeathsig KILL)
    cd "$data"
    unprivileged "$bin/postgres" -D "$data" -p "$port" "$@"
    ;;
start)
    [ $# -ge 2 ] || fail "start DATA PORT [OPTION...]"
    data=$1 port=$2
    shift 2
    install
    make_cluster "$data"
    (cd "$data" && unprivileged setsid "$bin/postgres" -D "$data" -p "$port" "$@" >>"$data.log" 2>&1 </dev/null) &
    for _ in $(seq 300); do
        if "$0" ready "$port"; then
            echo "postgres://avl:avl@127.0.0.1:$port/avl"
            exit 0
        fi
        kill -0 $! 2>/dev/null || fail "it ended: $(tail -n 5 "$data.log")"
        sleep 0.1
    done
    fail "it does not take connections; see $data.log"
    ;;
stop)
    [ $# -eq 1 ] || fail "stop DATA"
    pid=$(head -n 1 "$1/postmaster.pid" 2>/dev/null) || exit 0
    kill -INT "$pid" 2>/dev/null || exit 0
    for _ in $(seq 300); do
        kill -0 "$pid" 2>/dev/null || exit 0
        sleep 0.1
    done
    fail "process $pid does not end"
    ;;
ready)
    [ $# -eq 1 ] || fail "ready PORT"
    exec "$bin/pg_isready" -q -h 127.0.0.1 -p "$1"
    ;;
psql)
    install
    exec "$bin/psql" "$@"
    ;;
*) fail "unknown command '$command'" ;;
esac
