"""Which failed tests are worth a second look, alone.

    again.py REPORT            exit 0: some failed, few enough, and none for a reason that time
                               cannot explain (a sanitizer's report, a server that died)
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
    failures = [e for c in cases(report.getroot()).values() for e in bad(c)]
    return 0 < len(failures) <= FEW and not any(
        word in (e.text or "") + (e.get("message") or "") for e in failures for word in GRAVE)


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
        sys.exit(not worth_it(first))
    merge(first, tree.parse(sys.argv[2]))
    first.write(sys.argv[1])
