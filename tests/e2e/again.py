"""Which failed tests are worth a second look, alone.

    again.py REPORT            prints the tests that failed, each with a NUL behind it, if they are
                               few enough and none failed for a reason that time cannot explain (a
                               sanitizer's report, a server that died)
    again.py REPORT SECOND     takes the failures that passed in SECOND out of REPORT, and says so

Both are JUnit XML from pytest."""

import sys
import xml.etree.ElementTree as tree

FEW = 12
GRAVE = ("Sanitizer", "runtime error:", "the server process died", "Assertion '",
         "ended with")


def cases(root):
    return {(c.get("classname"), c.get("name")): c for c in root.iter("testcase")}


def bad(case):
    return [e for e in case if e.tag in ("failure", "error")]


def worth_it(report):
    failed = {key: bad(c) for key, c in cases(report.getroot()).items() if bad(c)}
    grave = any(word in (e.text or "") + (e.get("message") or "")
                for failures in failed.values() for e in failures for word in GRAVE)
    return [] if grave or len(failed) > FEW else failed


def merge(report, second):
    again = cases(second.getroot())
    for key, case in cases(report.getroot()).items():
        if bad(case) and key in again and not bad(again[key]) and again[key].find("skipped") is None:
            for element in bad(case):
                case.remove(element)
            print(f"-- failed beside the others, passed alone: {key[0]} {key[1]}")


if __name__ == "__main__":
    try:
        first = tree.parse(sys.argv[1])
    except (OSError, tree.ParseError):
        sys.exit(1)
    if len(sys.argv) == 2:
        for module, name in worth_it(first):
            print(f"{module}.py::{name}", end="\0")
        sys.exit()
    merge(first, tree.parse(sys.argv[2]))
    first.write(sys.argv[1])
