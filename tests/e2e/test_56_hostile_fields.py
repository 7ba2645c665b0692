"""A CA whose answers are right but for one field: each field of each of its objects, and each header
field, in turn has a value of another kind. Whatever it is: nothing breaks, no name is harmed by
another's trouble, orders stay few, and every name has its certificate once the answers are right.

The cases are made out of what a well-behaved exchange looks like. A sample of them is tried, another
one for each value of CADDIS_HOSTILE_SEED."""

import base64
import copy
import json
import os
import random
import re
import shutil
import time

import pytest
from lib.caddis import Caddis
from lib.ports import free_port

BATCH = 12
VALUES = [None, True, 7, -1, 1e300, 10 ** 40, "", "x", "é\u0000\u202e", "https://", "y" * 200000, [],
          {}, [None], [[]], [{}] * 3000, {"type": 1, "url": [], "status": {}}, "http://localhost:1/",
          "https://localhost:1/" + "z" * 5000, "2999-13-45T99:99:99Z", "0000-00-00T00:00:00Z"]
HEADERS = {
    "Location": [None, "", "x", "file:///etc/passwd", "http://localhost:1/", "https://" + "h" * 9000],
    "Replay-Nonce": [None, "", "a b", "n" * 9000, "é"],
    "Retry-After": ["", "-1", "1e9", "x" * 9000, "99999999999999999999", "Thu, 32 Jan 2026 25:61:61 GMT"],
    "Link": ["", "<", "<>;rel=alternate", '<https://localhost:1/>;rel="alternate"' + "," * 5000,
             '<file:///dev/zero>;rel="alternate"', '<' + "l" * 9000 + '>;rel="alternate"'],
    "Content-Type": [None, "", "text/html", "x" * 9000],
    "Date": ["", "Thu, 01 Jan 1970 00:00:00 GMT", "Fri, 31 Dec 9999 23:59:59 GMT", "x" * 5000],
}
OF_THE_CA = ("directory", "new-nonce", "new-account")


def paths(value, at=()):
    """Every place in a JSON value; of a list only the first item."""
    yield at
    if isinstance(value, dict):
        for key in value:
            yield from paths(value[key], (*at, key))
    elif isinstance(value, list) and value:
        yield from paths(value[0], (*at, 0))


def put(value, path, new):
    value = copy.deepcopy(value)
    if not path:
        return new
    inner = value
    for step in path[:-1]:
        inner = inner[step]
    inner[path[-1]] = new
    return value


def has(value, path):
    for step in path:
        if not (isinstance(value, dict) and step in value or
                isinstance(value, list) and value and step == 0):
            return False
        value = value[step]
    return True


class Trouble:
    """Looks at every answer, knows which name it is about, and changes the first that fits."""

    def __init__(self, p):
        self.p = p
        self.owner = {}  # URL path -> name
        self.case = {}   # name, or None for what is the CA's -> (kind, path or header, value)
        self.samples = {}
        self.done = set()
        p.mediator.rules.append(lambda request: lambda answer: self.look(request, answer))

    def name_of(self, request):
        if request.kind in OF_THE_CA:
            return None
        if request.kind == "new-order":
            payload = json.loads(request.body)["payload"]
            payload = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
            return payload["identifiers"][0]["value"]
        return self.owner.get(request.target)

    def learn(self, name, head, value):
        urls = re.findall(rb"(?i)\r\nlocation: (\S+)", head)
        urls = [u.decode() for u in urls]
        if isinstance(value, dict):
            urls += [value.get(k) for k in ("finalize", "certificate", "url")]
            urls += value.get("authorizations", [])
            urls += [c["url"] for c in value.get("challenges", [])]
        for url in urls:
            if url:
                self.owner["/" + url.split("/", 3)[3]] = name

    def look(self, request, answer):
        head, body = answer.split(b"\r\n\r\n", 1)
        try:
            value = json.loads(body)
        except ValueError:
            value = None
        name = self.name_of(request)
        if name:
            self.learn(name, head, value)
        if head.split()[1] in (b"200", b"201", b"204"):
            self.samples.setdefault(request.kind, []).append((head, value))
        kind, where, new = self.case.get(name, (None, None, None))
        if kind != request.kind or name in self.done:
            return answer
        if isinstance(where, str):
            self.done.add(name)
            line = b"" if new is None else f"\r\n{where}: {new}".encode()
            head = re.sub(rb"(?i)\r\n" + where.encode() + rb": [^\r]*", b"", head) + line
            return head + b"\r\n\r\n" + body
        if value is None or not has(value, where):
            return answer
        self.done.add(name)
        body = json.dumps(put(value, where, new)).encode()
        head = re.sub(rb"(?i)content-length: \d+", b"Content-Length: %d" % len(body), head)
        return head + b"\r\n\r\n" + body


def all_cases(samples):
    """(kind, path, value) and (kind, header, value)."""
    found = []
    for kind, answers in samples.items():
        places = {path for _, value in answers if value is not None for path in paths(value)}
        found += [(kind, path, value) for path in sorted(places, key=str) for value in VALUES]
        found += [(kind, name, value) for name, values in HEADERS.items() for value in values]
    return found


def some(cases, count):
    return random.Random(os.environ.get("CADDIS_HOSTILE_SEED", "1")).sample(cases, count)


@pytest.fixture
def ca(pebble):
    ports = free_port(), free_port()
    return pebble(*ports, retryAfter={"authz": 1, "order": 1}), ports


def run(p, ports, names, binary=None):
    c = Caddis("\n".join(f"{n} {{\n\trespond hello\n}}" for n in names), http=ports[0],
               https=ports[1], globals=p.globals, start=False)
    try:
        for _ in range(8):
            shutil.rmtree(c.store / "caddis/schedule", ignore_errors=True)
            shutil.rmtree(c.store / "caddis/ledger", ignore_errors=True)
            at = len(c.log())
            c.start()
            end = time.monotonic() + 45
            while time.monotonic() < end:
                have = {f.stem for f in (c.store / "certificates").rglob("*.crt")}
                if have >= set(names):
                    c.stop()
                    c.check_reports()
                    return c.log()
                waits = set(re.findall(r'"no certificate","name":"([^"]+)"', c.log()[at:]))
                if re.search(r'cannot be used now.*"next_attempt_in_s":([89]|\d\d+)',
                             c.log()[at:]) or waits >= set(names) - have:
                    break
                time.sleep(0.1)
            c.stop()
            c.check_reports()
        raise AssertionError(c.log()[-20000:])
    finally:
        if not c.stopped:
            c.kill()
        c.clean()


def samples_of(p, ports, trouble):
    run(p, ports, ["sample.test"])
    return trouble.samples


def test_each_field_of_orders(ca):
    p, ports = ca
    trouble = Trouble(p)
    samples = samples_of(p, ports, trouble)
    assert {"authz", "challenge", "finalize", "new-order", "order"} <= set(samples)
    cases = some([c for c in all_cases(samples) if c[0] not in OF_THE_CA], 12)
    for at in range(0, len(cases), BATCH):
        batch = cases[at:at + BATCH]
        names = [f"n{at + i}.test" for i in range(len(batch))]
        trouble.case = dict(zip(names, batch))
        before = p.orders
        try:
            run(p, ports, names)
        except AssertionError as e:
            raise AssertionError(f"{[(n, str(b)[:200]) for n, b in zip(names, batch)]}\n{e}") from None
        assert p.orders - before <= 3 * len(batch), batch


def test_each_field_of_the_ca(ca):
    p, ports = ca
    trouble = Trouble(p)
    cases = some([c for c in all_cases(samples_of(p, ports, trouble)) if c[0] in OF_THE_CA], 4)
    for i, case in enumerate(cases):
        trouble.done.discard(None)
        trouble.case = {None: case}
        try:
            run(p, ports, [f"c{i}.test"])
        except AssertionError as e:
            raise AssertionError(f"{str(case)[:300]}\n{e}") from None
        assert p.orders <= 1 + 3 * (i + 1), case
