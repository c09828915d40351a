#!/usr/bin/env bash
# services.sh start|stop: Kafka and TimescaleDB on loopback and free ports, with their data in $AVL_CACHE/services.
# Says what to give to avl-cloud. What runs already is left running.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
data=${AVL_CACHE:-$HOME/.cache/avl}/services
mkdir -p "$data"

# The same port at each start, so that what was told to a program stays true; COUNT in a row that are free now.
port() {
    local name=$1 count=$2 file=$data/$1.port port
    if [ ! -f "$file" ]; then
        for port in $(shuf -i 20000-29000 -n 50); do
            local free=1 offset
            for offset in $(seq 0 $((count - 1))); do
                ! (exec 3<>"/dev/tcp/127.0.0.1/$((port + offset))") 2>/dev/null || free=
            done
            [ -z "$free" ] || break
        done
        echo "$port" >"$file"
    fi
    cat "$file"
}

case ${1:-} in
start)
    kafka=$(port kafka 2)
    if [ -f "$data/kafka.pid" ] && kill -0 "$(cat "$data/kafka.pid")" 2>/dev/null; then
        echo "Kafka runs already"
    else
        "$here/kafka.sh" start "$data/kafka" "$kafka" >/dev/null
    fi
    echo "Kafka:        avl-cloud all --kafka 127.0.0.1:$kafka (log: $data/kafka.log)"
    timescaledb=$(port timescaledb 1)
    if "$here/timescaledb.sh" ready "$timescaledb" 2>/dev/null; then
        echo "TimescaleDB runs already on port $timescaledb"
    else
        echo "TimescaleDB:  $("$here/timescaledb.sh" start "$data/timescaledb" "$timescaledb") (log: $data/timescaledb.log)"
    fi
    ;;
stop)
    "$here/kafka.sh" stop "$data/kafka"
    "$here/timescaledb.sh" stop "$data/timescaledb"
    ;;
*)
    sed -n '2,3s/^# \?//p' "${BASH_SOURCE[0]}" >&2
    exit 2
    ;;
esac
