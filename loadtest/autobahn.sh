#!/usr/bin/env bash
# Autobahn WebSocket conformance suite (fuzzingclient) against an ECHO endpoint.
#
#   autobahn.sh [options] ws://127.0.0.1:9001/echo
#
#   --cases  "1.* 2.*"     cases to run            (default: *)
#   --exclude "9.* 12.* 13.*"  cases to leave out   (default: none)
#   --origin URL           Origin header to send    (default: none)
#   --protocol NAME        Sec-WebSocket-Protocol   (default: none)
#   --out DIR              where the reports go     (default: a fresh folder under /tmp)
#   --venv DIR             where the suite lives    (default: $AUTOBAHN_VENV or ~/.cache/autobahn-25.10.1)
#   --timeout SECONDS      give up after            (default: 1800)
#   --strict               NON-STRICT counts as a failure too
#   --require-deflate      UNIMPLEMENTED (12.*/13.*: no permessage-deflate) counts as a failure
#   --max-noclose N        fail when more than N cases ended without a Close frame from the server
#                          (Autobahn lets a server drop the TCP connection silently; a polite one scores 1: 7.3.1, an empty Close)
#
# Prints one line on stdout: passed=N failed=M informational=K nonstrict=L
# and on stderr the failed cases, one per line, then unimplemented=U unclean=C noclose=N total=T seconds=S report=DIR.
# Exit: 0 no failed case, 1 a failed case, 2 the suite itself did not run.
# The suite is Python 2 only (its PyPI metadata does not say so): it needs a python2.7 and, once, PyPI.
set -uo pipefail
VER=25.10.1
cases='*' exclude='' origin='' proto='' out='' limit=1800 strict=0 reqdefl=0 maxnoclose='' url=''
venv="${AUTOBAHN_VENV:-$HOME/.cache/autobahn-$VER}"
die() { echo "autobahn.sh: $*" >&2; exit 2; }
while [ $# -gt 0 ]; do case "$1" in
  --cases) cases="$2"; shift 2;;  --exclude) exclude="$2"; shift 2;;
  --origin) origin="$2"; shift 2;; --protocol) proto="$2"; shift 2;;
  --out) out="$2"; shift 2;;       --venv) venv="$2"; shift 2;;
  --timeout) limit="$2"; shift 2;; --strict) strict=1; shift;;
  --require-deflate) reqdefl=1; shift;; --max-noclose) maxnoclose="$2"; shift 2;;
  -h|--help) sed -n '2,20p' "$0"; exit 0;;
  ws://*|wss://*) url="$1"; shift;; *) die "what is '$1'?";;
esac; done
[ -n "$url" ] || die "usage: autobahn.sh [options] ws://HOST:PORT/PATH"

install_suite() {
  local py2='' p
  for p in "${PYTHON2:-}" "$(command -v python2.7 || true)" "${PYENV_ROOT:-$HOME/.pyenv}"/versions/2.7.*/bin/python2.7; do
    [ -n "$p" ] && [ -x "$p" ] && "$p" -c 'import ssl,sys; assert sys.version_info[:2]==(2,7)' 2>/dev/null && { py2="$p"; break; }
  done
  [ -n "$py2" ] || { echo "no python2.7 with ssl: set PYTHON2=, or 'pyenv install 2.7.18'" >&2; return 1; }
  local boot; boot="$(mktemp -d)"
  # 20.21 is the last virtualenv line that can make a 2.7 environment
  python3 -m venv "$boot/v" && "$boot/v/bin/pip" -q --disable-pip-version-check install 'virtualenv==20.21.1' \
    && mkdir -p "$(dirname "$venv")" && rm -rf "$venv.new" \
    && "$boot/v/bin/virtualenv" -q -p "$py2" "$venv" \
    && "$venv/bin/pip" -q --no-python-version-warning --disable-pip-version-check install "autobahntestsuite==$VER"
  local rc=$?; rm -rf "$boot"; return $rc
}
ready() { "$venv/bin/wstest" -a 2>/dev/null | grep -q "AutobahnTestSuite $VER"; }
if ! ready; then
  mkdir -p "$(dirname "$venv")"
  ( flock 9; ready || install_suite ) 9>"$venv.lock" >"$venv.install.log" 2>&1 || { tail -5 "$venv.install.log" >&2; die "install failed (log: $venv.install.log)"; }
  ready || die "wstest does not start (log: $venv.install.log)"
fi

[ -n "$out" ] || out="$(mktemp -d /tmp/autobahn.XXXXXX)"
mkdir -p "$out" && out="$(cd "$out" && pwd)" || die "cannot use $out"; rm -f "$out/index.json"
URL="$url" CASES="$cases" EXCLUDE="$exclude" ORIGIN="$origin" PROTO="$proto" OUT="$out" python3 - >"$out/spec.json" <<'PY' || die "spec"
import json, os
e = os.environ
s = {"url": e["URL"], "agent": "testee", "options": {"version": 18}}
if e["ORIGIN"]: s["origin"] = e["ORIGIN"]
if e["PROTO"]: s["protocols"] = [e["PROTO"]]
print(json.dumps({"outdir": e["OUT"], "servers": [s], "cases": e["CASES"].split(),
                  "exclude-cases": e["EXCLUDE"].split(), "exclude-agent-cases": {}}, indent=1))
PY

# Is anyone there? (wstest would otherwise report every case as failed)
hp="${url#*://}"; hp="${hp%%/*}"; hp="${hp%%\?*}"; port="${hp##*:}"; host="${hp%:*}"
case "$hp" in *:*) ;; *) host="$hp"; port=80;; esac
timeout 5 bash -c "exec 3<>/dev/tcp/$host/$port" 2>/dev/null || die "nobody listens at $host:$port"

t0=$(date +%s)
( cd "$out" && timeout "$limit" "$venv/bin/wstest" -m fuzzingclient -s "$out/spec.json" ) >"$out/wstest.log" 2>&1
rc=$?
t1=$(date +%s)
[ -s "$out/index.json" ] || { tail -5 "$out/wstest.log" >&2; die "no report (wstest exit $rc; 124: ran past ${limit}s)"; }

STRICT=$strict REQ=$reqdefl MAXNC=$maxnoclose SECS=$((t1 - t0)) python3 - "$out" <<'PY'
import json, os, sys
out = sys.argv[1]
idx = json.load(open(os.path.join(out, "index.json")))
cases = next(iter(idx.values()), {})
strict, req = os.environ["STRICT"] == "1", os.environ["REQ"] == "1"
n = dict(passed=0, failed=0, informational=0, nonstrict=0, unimplemented=0, unclean=0, noclose=0)
key = lambda k: [int(x) for x in k.split(".")]
for cid in sorted(cases, key=key):
    b, bc = cases[cid]["behavior"], cases[cid]["behaviorClose"]
    bad = None
    if cases[cid].get("remoteCloseCode") is None: n["noclose"] += 1
    if b == "OK": n["passed"] += 1
    elif b == "INFORMATIONAL": n["informational"] += 1
    elif b == "NON-STRICT":
        n["nonstrict"] += 1
        bad = "NON-STRICT" if strict else None
    elif b == "UNIMPLEMENTED":
        n["unimplemented"] += 1
        bad = "UNIMPLEMENTED" if req else None
    else: bad = b
    # a wrong or missing closing handshake is a failure of its own, as in Autobahn's own report colours
    if bad is None and b != "UNIMPLEMENTED" and bc not in ("OK", "INFORMATIONAL"):
        if bc == "UNCLEAN": n["unclean"] += 1          # TCP torn down by the peer late: red only in strict
        if bc != "UNCLEAN" or strict:
            bad = "close: " + bc
            if b == "OK": n["passed"] -= 1
            elif b == "NON-STRICT": n["nonstrict"] -= 1
            elif b == "INFORMATIONAL": n["informational"] -= 1
    if bad:
        if bad == "NON-STRICT": n["nonstrict"] -= 1
        if bad == "UNIMPLEMENTED": n["unimplemented"] -= 1
        n["failed"] += 1
        print("FAILED %s %s (%s)" % (cid, bad, os.path.join(out, cases[cid]["reportfile"])), file=sys.stderr)
print("unimplemented=%(unimplemented)d unclean=%(unclean)d noclose=%(noclose)d" % n
      + " total=%d seconds=%s report=%s" % (len(cases), os.environ["SECS"], out), file=sys.stderr)
print("passed=%(passed)d failed=%(failed)d informational=%(informational)d nonstrict=%(nonstrict)d" % n)
nc = os.environ["MAXNC"]
if nc and n["noclose"] > int(nc): print("too many cases without a Close frame: %d > %s" % (n["noclose"], nc), file=sys.stderr)
sys.exit(1 if n["failed"] or not cases or (nc and n["noclose"] > int(nc)) else 0)
PY
