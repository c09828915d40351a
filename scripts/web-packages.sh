#!/usr/bin/env bash
# web-packages.sh: the page's packages, exactly as locked. Nothing to do when the lock file has not changed.
set -euo pipefail
cd "$(dirname "$0")/../cloud/web"
stamp=node_modules/.installed-from
lock=$(sha256sum package-lock.json | cut -d' ' -f1)
[ "$(cat "$stamp" 2>/dev/null)" = "$lock" ] && exit 0
npm ci --no-audit --no-fund --loglevel=error
echo "$lock" >"$stamp"
