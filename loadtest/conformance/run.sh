#!/usr/bin/env bash
# WebSocket conformance: the Autobahn test suite against the server's /echo.
#
#   run.sh                     builds the server, starts it on a free port and tests it
#   run.sh ws://HOST:PORT/echo tests a server that runs already (with server.compression)
#
# CHAT_SERVER=FILE   the server to start (default: a fresh release build)
# CASES="1.* 7.*"    cases to run (default: all)
# REPORT=DIR         where the reports go (default: target/conformance)
# AUTOBAHN_VENV=DIR  where the suite is installed (default: ~/.cache/veza/autobahn-VERSION)
# PYTHON2=FILE       the Python 2.7 to install it with; the suite runs on no other. `pyenv install 2.7.18` gives one.
#
# Needs PyPI once. Exit code: 0 conforms, 1 does not, 2 the suite could not be run.
set -euo pipefail

VERSION=25.10.1
VIRTUALENV_VERSION=20.21.1 # the last line that makes environments for Python 2.7
TIME_LIMIT_S=3600

root="$(cd "$(dirname "$0")/../.." && pwd)"
here="$root/loadtest/conformance"
venv="${AUTOBAHN_VENV:-$HOME/.cache/veza/autobahn-$VERSION}"
report="${REPORT:-$root/target/conformance}"
url="${1:-}"
scratch="$(mktemp -d)"
server=''

fail() {
  echo "conformance: $*" >&2
  exit 2
}

clean_up() {
  if [ -n "$server" ]; then
    kill "$server" 2>/dev/null || true
    wait "$server" 2>/dev/null || true
  fi
  rm -rf "$scratch"
}
trap clean_up EXIT

python2() {
  local candidate
  for candidate in "${PYTHON2:-}" python2.7 "${PYENV_ROOT:-$HOME/.pyenv}"/versions/2.7.*/bin/python2.7; do
    if [ -n "$candidate" ] && "$candidate" -c 'import ssl' 2>/dev/null; then
      command -v "$candidate"
      return
    fi
  done
  return 1
}

is_installed() { "$venv/bin/wstest" --autobahnversion 2>/dev/null | grep -q "$VERSION"; }

install_suite() {
  local python
  python="$(python2)" || fail "no Python 2.7 with ssl: set PYTHON2, or 'pyenv install 2.7.18'"
  echo "conformance: installing autobahntestsuite $VERSION into $venv" >&2
  rm -rf "$venv"
  mkdir -p "$(dirname "$venv")"
  {
    python3 -m venv "$scratch/bootstrap"
    "$scratch/bootstrap/bin/pip" install --quiet "virtualenv==$VIRTUALENV_VERSION"
    "$scratch/bootstrap/bin/virtualenv" --quiet --python "$python" "$venv"
    "$venv/bin/pip" install --quiet "autobahntestsuite==$VERSION"
  } >"$scratch/install.log" 2>&1 || { tail -20 "$scratch/install.log" >&2; fail "the suite did not install"; }
  is_installed || fail "the suite is installed in $venv but does not start"
}

start_server() {
  local port program="${CHAT_SERVER:-}"
  if [ -z "$program" ]; then
    (cd "$root" && cargo build --quiet --release --bin chat-server) || fail "the server does not build"
    program="${CARGO_TARGET_DIR:-$root/target}/release/chat-server"
  fi
  port="$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')"
  cat >"$scratch/server.toml" <<TOML
[server]
bind_addr = "127.0.0.1:$port"
data_dir = "$scratch/data"
echo_endpoint = true
compression = true
[database]
url = "sqlite://$scratch/data/veza.db"
TOML
  "$program" --config "$scratch/server.toml" >"$scratch/server.log" 2>&1 &
  server=$!
  url="ws://127.0.0.1:$port/echo"
}

# The suite reports a server that is not there as one that fails every case.
await_server() {
  local address="${url#*://}"
  address="${address%%/*}"
  for _ in $(seq 150); do
    if timeout 2 bash -c "exec 3<>/dev/tcp/${address%:*}/${address##*:}" 2>/dev/null; then return; fi
    if [ -n "$server" ] && ! kill -0 "$server" 2>/dev/null; then break; fi
    sleep 0.2
  done
  if [ -f "$scratch/server.log" ]; then tail -20 "$scratch/server.log" >&2; fi
  fail "nobody listens at $address"
}

run_suite() {
  rm -rf "$report"
  mkdir -p "$report"
  python3 "$here/verdict.py" spec "$url" "$report" "${CASES:-*}" >"$report/spec.json"
  local status=0
  (cd "$report" && timeout "$TIME_LIMIT_S" "$venv/bin/wstest" -m fuzzingclient -s spec.json >wstest.log 2>&1) || status=$?
  if [ "$status" != 0 ]; then
    tail -20 "$report/wstest.log" >&2
    fail "the suite stopped with $status (124: it took longer than $TIME_LIMIT_S s)"
  fi
  [ -s "$report/index.json" ] || fail "the suite left no report, see $report/wstest.log"
}

python3 "$here/verdict.py" self-test || fail "the judgement itself is broken"
is_installed || install_suite
[ -n "$url" ] || start_server
await_server
run_suite
python3 "$here/verdict.py" judge "$report/index.json"
