#!/usr/bin/env bash
# step.sh NAME COMMAND...: runs one step of a make target and says what it is and how long it took.
set -uo pipefail
name=$1
shift
started=$SECONDS
printf '\n== %s\n' "$name"
"$@"
code=$?
took=$((SECONDS - started))
if [ "$code" -eq 0 ]; then
    printf -- '-- %s: %d s\n' "$name" "$took"
else
    printf -- '-- %s: FAILED after %d s (exit %d): %s\n' "$name" "$took" "$code" "$*" >&2
fi
exit "$code"
