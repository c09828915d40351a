#!/usr/bin/env bash
# prometheus.sh: Prometheus and Alertmanager from Debian's packages, to judge what deploy/observability ships.
#
#   install                  fetches and unpacks them into $AVL_CACHE/prometheus; quiet and quick when they are there
#   check                    lints the rules, runs their tests, checks the configurations, and that each alert has a runbook
#   run FOLDER PORT CONFIG   Prometheus on 127.0.0.1:PORT until it is told to stop, with its data in FOLDER
#
# Needs apt (Debian or Ubuntu) but no root: nothing is installed on the machine.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
prefix=${AVL_CACHE:-$HOME/.cache/avl}/prometheus
bin=$prefix/usr/bin
shipped=$here/../deploy/observability

fail() {
    printf 'prometheus: %s\n' "$@" >&2
    exit 1
}

install() {
    [ ! -x "$bin/promtool" ] || [ ! -x "$bin/amtool" ] || return 0
    command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null || fail "this machine has no apt, which brings Prometheus"
    mkdir -p "$(dirname "$prefix")"
    # Whoever comes second waits, and finds it done.
    exec 9>"$prefix.lock"
    flock 9
    [ ! -x "$bin/promtool" ] || [ ! -x "$bin/amtool" ] || return 0
    echo "prometheus: downloading Prometheus and Alertmanager (some 30 MB, once)" >&2
    local work=$prefix.new
    rm -rf "$work"
    mkdir -p "$work/deb" "$work/root"
    download() {
        (cd "$work/deb" && apt-get -o APT::Sandbox::User= download -qq prometheus prometheus-alertmanager >"$work/log" 2>&1)
    }
    # Lists of packages may be old or absent.
    download || { apt-get update -qq >>"$work/log" 2>&1 && download; } || {
        tail -n 5 "$work/log" >&2
        fail "the packages cannot be downloaded: run apt-get update as root, then try again"
    }
    for package in "$work"/deb/*.deb; do
        dpkg-deb -x "$package" "$work/root"
    done
    rm -rf "$prefix"
    mv -T "$work/root" "$prefix"
    rm -rf "$work"
    exec 9>&-
}

check() {
    cd "$shipped"
    "$bin/promtool" check rules --lint=all --lint-fatal prometheus/rules.yaml
    "$bin/promtool" test rules prometheus/rules-test.yaml
    "$bin/promtool" check config --syntax-only prometheus/prometheus.yaml
    "$bin/amtool" check-config alertmanager/alertmanager.yaml
    local alert missing=()
    for alert in $(sed -n 's/^ *- alert: //p' prometheus/rules.yaml); do
        [ -s "runbooks/$alert.md" ] || missing+=("runbooks/$alert.md")
        # A test that fires, and one that does not.
        [ "$(grep -c "ALERTS{alertname=\"$alert\"" prometheus/rules-test.yaml)" -ge 2 ] || missing+=("a test of $alert")
        grep -q "runbook_url: .*/$alert.md\$" prometheus/rules.yaml || missing+=("the runbook_url of $alert")
    done
    [ "${#missing[@]}" -eq 0 ] || fail "missing in deploy/observability: ${missing[*]}"
}

case ${1:-} in
install) install ;;
check) install && check ;;
run)
    install
    exec "$bin/prometheus" --config.file="$4" --storage.tsdb.path="$2" --web.listen-address="127.0.0.1:$3" \
        --storage.tsdb.retention.time=1d --log.level=warn
    ;;
*) fail "say install, check or run FOLDER PORT CONFIG" ;;
esac
