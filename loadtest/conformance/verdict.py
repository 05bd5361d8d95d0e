"""Writes what the Autobahn suite is to do, and judges what it found.

verdict.py spec URL REPORT_DIR CASES   the suite's instructions, on stdout
verdict.py judge INDEX_JSON            one line per fault and a summary; exit code 1 if there is a fault
verdict.py self-test                   exit code 1 if the judgement misses a fault
"""

import collections
import json
import sys

# The client's Close has no code here, and so has the answer.
CLOSE_WITHOUT_CODE = {"7.3.1"}
GOOD = {"OK", "NON-STRICT", "INFORMATIONAL"}


def spec(url, report, cases):
    return {
        "outdir": report,
        "servers": [{"agent": "veza", "url": url, "options": {"version": 18}}],
        "cases": cases.split(),
        "exclude-cases": [],
        "exclude-agent-cases": {},
    }


def fault(case, result):
    """Why this case is a failure, or None."""
    behavior, close = result["behavior"], result["behaviorClose"]
    if behavior == "UNIMPLEMENTED":
        return "not implemented"
    if behavior not in GOOD:
        return "behaviour " + behavior
    if close not in ("OK", "INFORMATIONAL"):
        return "closing " + close
    if result["remoteCloseCode"] is None and case not in CLOSE_WITHOUT_CODE:
        return "no Close frame"
    return None


def judge(index):
    """Prints the faults and returns how many there are."""
    if len(index) != 1:
        raise SystemExit("a report of exactly one server is expected")
    (results,) = index.values()
    counts = collections.Counter(result["behavior"].lower() for result in results.values())
    faults = [(case, fault(case, result)) for case, result in results.items()]
    faults = sorted((case, why) for case, why in faults if why)
    for case, why in faults:
        print("FAILED %s: %s" % (case, why))
    counted = ", ".join("%d %s" % (count, name) for name, count in sorted(counts.items()))
    print("%d cases: %s; %d failed" % (len(results), counted, len(faults)))
    # No result at all is not a success.
    return len(faults) if results else 1


def self_test():
    def result(behavior="OK", close="OK", code=1000):
        return {"behavior": behavior, "behaviorClose": close, "remoteCloseCode": code}

    table = [
        ("1.1.1", result(), False),
        ("6.4.1", result("NON-STRICT"), False),
        ("7.13.1", result("INFORMATIONAL", "INFORMATIONAL"), False),
        ("7.3.1", result(code=None), False),
        ("12.1.1", result("UNIMPLEMENTED"), True),
        ("1.1.1", result("FAILED"), True),
        ("12.1.1", result("FAILED"), True),
        ("3.1", result("OK", "FAILED"), True),
        ("3.1", result("OK", "WRONG CODE"), True),
        ("3.1", result("OK", "UNCLEAN"), True),
        ("3.1", result(code=None), True),
    ]
    for case, outcome, is_fault in table:
        assert (fault(case, outcome) is not None) == is_fault, (case, outcome)


def main(arguments):
    if arguments[:1] == ["spec"] and len(arguments) == 4:
        print(json.dumps(spec(*arguments[1:]), indent=1))
    elif arguments[:1] == ["judge"] and len(arguments) == 2:
        with open(arguments[1]) as file:
            sys.exit(1 if judge(json.load(file)) else 0)
    elif arguments == ["self-test"]:
        self_test()
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])
