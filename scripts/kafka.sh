#!/usr/bin/env bash
# kafka.sh: Apache Kafka 4 (KRaft) for tests and development, from Maven Central's artifacts.
#
#   install                        fetches it into $AVL_CACHE/kafka; quiet and quick when it is there
#   run FOLDER ID PORT VOTERS      broker number ID, which is also a controller, on 127.0.0.1:PORT until it is told to stop;
#                                  FOLDER keeps what it has written. VOTERS names the controllers of all brokers:
#                                  1@127.0.0.1:9093[,2@127.0.0.1:9095...]
#   start FOLDER PORT              one broker in the background; prints its address when it serves. Log: FOLDER.log
#   stop FOLDER                    stops it (by its process id) and waits for its end
#   tool CLASS ARGUMENT...         one of Kafka's own tools: org.apache.kafka.tools.TopicCommand ...
#
# For this machine only: small memory, no TLS, no passwords. Needs Java 17 or later and Maven.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
export AVL_CACHE=${AVL_CACHE:-$HOME/.cache/avl}
# Another list of jars is another folder: an update does not mix versions.
home=$AVL_CACHE/kafka/$(sha256sum "$here/kafka/pom.xml" | cut -c1-12)
java=(java -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Dlog4j2.configurationFile="$here/kafka/log4j2.yaml" -cp "$home/*")

say() { echo "kafka: $*" >&2; }
fail() {
    printf 'kafka: %s\n' "$@" >&2
    exit 1
}

install() {
    [ ! -d "$home" ] || return 0
    command -v mvn >/dev/null && command -v java >/dev/null ||
        fail "Java or Maven is missing: run ./scripts/setup.sh test (or: apt-get install maven)"
    mkdir -p "$AVL_CACHE/kafka"
    # Whoever comes second waits, and finds it done.
    exec 9>"$home.lock"
    flock 9
    [ ! -d "$home" ] || return 0
    say "fetching Apache Kafka (some 50 MB, once)"
    local work=$home.new log=$home.log
    rm -rf "$work"
    mkdir "$work"
    cp "$here/kafka/pom.xml" "$work/"
    fetch() {
        mvn --quiet --batch-mode -Dstyle.color=never --file "$work/pom.xml" dependency:copy-dependencies \
            -DoutputDirectory="$work/jars" -DincludeScope=runtime >"$log" 2>&1
    }
    # Twice: a mirror that has not met a file yet may be slow to answer.
    fetch || fetch || {
        tail -n 15 "$log" >&2
        fail "its parts cannot be fetched (all that Maven said: $log)" "check the network and Maven's settings, then try again"
    }
    mv -T "$work/jars" "$home"
    rm -rf "$work"
    exec 9>&-
}

run() {
    local folder=$1 id=$2 port=$3 voters=$4 controller brokers
    controller=$(tr ',' '\n' <<<"$voters" | sed -n "s/^$id@//p")
    brokers=$(tr ',' '\n' <<<"$voters" | wc -l)
    mkdir -p "$folder"
    cat >"$folder/server.properties" <<EOF
process.roles=broker,controller
node.id=$id
controller.quorum.voters=$voters
controller.listener.names=CONTROLLER
listeners=PLAINTEXT://127.0.0.1:$port,CONTROLLER://$controller
advertised.listeners=PLAINTEXT://127.0.0.1:$port
log.dirs=$folder/data
auto.create.topics.enable=false
offsets.topic.replication.factor=$brokers
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=$brokers
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=$brokers
share.coordinator.state.topic.min.isr=1
# Groups form at once, and a broker that was killed is missed within seconds.
group.initial.rebalance.delay.ms=0
broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=500
# By default half of a heap as small as ours, and taken at once.
log.cleaner.dedupe.buffer.size=8388608
num.network.threads=2
num.io.threads=4
EOF
    if [ ! -f "$folder/data/meta.properties" ]; then
        "${java[@]}" -Xmx64m kafka.tools.StorageTool format --cluster-id 4L6g3nShT-eMCtK--X86sw \
            --config "$folder/server.properties" >"$folder/format.log" 2>&1 || {
            cat "$folder/format.log" >&2
            exit 1
        }
    fi
    exec "${java[@]}" -Xms64m -Xmx256m kafka.Kafka "$folder/server.properties"
}

start() {
    local folder=$1 port=$2
    ! running "$folder" || fail "it runs already in $folder"
    mkdir -p "$folder"
    : >"$folder.log"
    # The controller's port is nobody else's business.
    setsid "${BASH_SOURCE[0]}" run "$folder" 1 "$port" "1@127.0.0.1:$((port + 1))" >>"$folder.log" 2>&1 </dev/null &
    echo $! >"$folder.pid"
    for _ in $(seq 300); do
        grep -q 'Kafka Server started' "$folder.log" && {
            echo "127.0.0.1:$port"
            return
        }
        running "$folder" || break
        sleep 0.2
    done
    tail -n 15 "$folder.log" >&2
    fail "it does not serve; see $folder.log"
}

running() { [ -f "$1.pid" ] && kill -0 "$(cat "$1.pid")" 2>/dev/null; }

stop() {
    local folder=$1
    running "$folder" || return 0
    kill "$(cat "$folder.pid")"
    while running "$folder"; do sleep 0.1; done
    rm -f "$folder.pid"
}

case ${1:-} in
install) install ;;
run | start)
    install
    "$@"
    ;;
stop) stop "$2" ;;
tool)
    install
    exec "${java[@]}" -Xmx256m -Dkafka.log.level=ERROR "${@:2}"
    ;;
*)
    sed -n '3,12s/^# \?//p' "${BASH_SOURCE[0]}" >&2
    exit 2
    ;;
esac
