#!/usr/bin/env bash
# web-build.sh: builds the page into cloud/web/dist. Nothing to do when no source of it has changed.
set -euo pipefail
cd "$(dirname "$0")/.."
./scripts/web-packages.sh
cd cloud/web
stamp=dist/.built-from
sources=$(find . -path ./node_modules -prune -o -path ./dist -prune -o -path ./generated -prune -o -type f -print0 |
    sort -z | xargs -0 sha256sum | sha256sum | cut -d' ' -f1)
[ "$(cat "$stamp" 2>/dev/null)" = "$sources" ] && exit 0
npm run build
echo "$sources" >"$stamp"
