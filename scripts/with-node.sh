#!/usr/bin/env bash
# with-node.sh COMMAND...: runs a command with the Node that node-setup.sh has found or installed first in PATH.
set -euo pipefail
here=$(dirname "$0")
messages=$(mktemp)
trap 'rm -f "$messages"' EXIT
path=$("$here/node-setup.sh" --print-path 2>"$messages") || { cat "$messages" >&2; exit 1; }
rm -f "$messages"
PATH="$path$PATH" exec "$@"
