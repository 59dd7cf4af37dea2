#!/usr/bin/env bash
# Starts toril for the rest of a job, waits until it listens, and writes the action's outputs:
#
#     start.sh PID     it ends with this process
#
# action.yml beside this file sets what is read from the environment.
set -euo pipefail

log=${RUNNER_TEMP:?}/toril.log
options=(--port "${TORIL_PORT:-6379}" --announce json --exit-with-parent "$1")
[ -z "${TORIL_HTTP_PORT:-}" ] || options+=(--http-port "$TORIL_HTTP_PORT")
# xargs takes a line apart as a shell does, and runs nothing that stands in it.
mapfile -t more < <(xargs -n 1 printf '%s\n' <<<"${TORIL_ARGS:-}")
[ -z "${TORIL_ARGS:-}" ] || options+=("${more[@]}")
"${TORIL_BINARY:-toril}" "${options[@]}" >"$log" 2>&1 </dev/null &
server=$!

until line=$(grep --max-count=1 '^{"toril":' "$log"); do
    if ! kill -0 "$server" 2>/dev/null; then
        echo "::error::toril ended before it was ready: $(cat "$log")"
        exit 1
    fi
    sleep 0.01
done
field() { sed -n "s/.*$1\":\"\{0,1\}\([^\",}]*\).*/\1/p" <<<"$2"; }
http=$(sed -n 's/.*"http":{\([^}]*\)}.*/\1/p' <<<"$line")
plain=$(sed 's/"http":{[^}]*}//' <<<"$line")
{
    echo "url=$(field '"url' "$plain")"
    echo "port=$(field '"port' "$plain")"
    [ -z "$http" ] || echo "http-url=$(field '"url' "$http")"
    [ -z "$http" ] || echo "http-token=$(field '"token' "$http")"
} >>"${GITHUB_OUTPUT:?}"
