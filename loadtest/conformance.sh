#!/usr/bin/env bash
# Runs the Autobahn suite against the echo endpoint of a server that is started for it.
#
#   conformance.sh PATH-OF-CHAT-SERVER [options of autobahn.sh]
set -euo pipefail
server="$(realpath "$1")"; shift
here="$(cd "$(dirname "$0")" && pwd)"
dir="$(mktemp -d)"
trap 'kill "${pid:-}" 2>/dev/null || true; wait "${pid:-}" 2>/dev/null || true; rm -rf "$dir"' EXIT

cd "$dir"
VEZA_SERVER__BIND_ADDR=127.0.0.1:0 VEZA_SERVER__ECHO_ENDPOINT=true VEZA_LIMITS__HANDSHAKES_PER_ADDRESS=0 \
  "$server" >out 2>log &
pid=$!
until address="$(sed -n 's|^listening on http://||p' out)" && [ -n "$address" ]; do
  kill -0 "$pid" 2>/dev/null || { cat log >&2; echo "the server does not start" >&2; exit 2; }
  sleep 0.1
done
"$here/autobahn.sh" --max-noclose 1 "$@" "ws://$address/echo"
