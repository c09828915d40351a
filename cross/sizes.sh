#!/usr/bin/env bash
# sizes.sh FILE: builds the gateway for every target and writes its size on each as Markdown.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
. "$here/targets.sh"
mkdir -p "$(dirname "$1")"
{
    printf '## Size of the gateway (`cross/build.sh TARGET`, stripped; reach 6 MiB)\n\n| target | MiB |\n|---|---|\n'
    for target in x86_64-unknown-linux-gnu $ALL_TARGETS; do
        program=$("$here/build.sh" "$target" | tail -n 1)
        stat -c %s "$program" | awk -v target="$target" '{printf "| %s | %.2f |\n", target, $1 / 1048576}'
    done
    echo
} >"$1.new"
mv "$1.new" "$1"
