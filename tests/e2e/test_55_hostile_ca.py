"""A CA that misbehaves in every way that was thought of. After each: no crash, bounded requests, the
reason on record, and a certificate as soon as the CA behaves."""

import json
import os
import re
import shutil
import signal
import threading
import time

import pytest
from lib import certs
from lib.caddis import PLAIN_BIN, Caddis
from lib.pebble import NAME, SITE, always, once, problem, wait
from lib.ports import free_port

FAKETIME = {"LD_PRELOAD": "/usr/$LIB/faketime/libfaketime.so.1", "DONT_FAKE_MONOTONIC": "1"}


def answer(status, body=b"", *fields, length=None):
    head = [f"HTTP/1.1 {status} X", *fields,
            f"Content-Length: {len(body) if length is None else length}", "Connection: close"]
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body


JSON = "Content-Type: application/json"
BAD = {
    "500": answer(500),
    "503 of a balancer": answer(503, b"<html>busy</html>", "Content-Type: text/html",
                                "Retry-After: 1"),
    "502 without a length": b"HTTP/1.1 502 X\r\n\r\nbad gateway",
    "404": answer(404, b"nothing here"),
    "cut": answer(200, b'{"status":', JSON, length=4000),
    "empty": answer(200, b"", JSON),
    "HTML": answer(200, b"<html><body>Sign in to the hotel</body></html>"),
    "an array": answer(200, b"[1,2,3]", JSON),
    "a number": answer(200, b"1e999", JSON),
    "wrongly typed": answer(200, b'{"newNonce":1,"newAccount":{},"newOrder":[],"status":7,'
                            b'"authorizations":"x","finalize":null,"certificate":{},'
                            b'"challenges":{"a":1},"identifier":[],"meta":"x"}', JSON),
    "deep": answer(200, b'{"a":' * 100000, JSON),
    "null bytes": answer(200, b'{"status":"val\0id"}' + b"\0" * 2000, JSON),
    "http and file URLs": answer(200, json.dumps({
        "newNonce": "http://localhost:1/n", "newAccount": "file:///etc/passwd",
        "newOrder": "gopher://x/", "status": "valid", "finalize": "file:///etc/passwd",
        "certificate": "file:///etc/passwd", "authorizations": ["file:///dev/zero"],
        "challenges": [{"type": "http-01", "url": "file:///dev/zero", "token": "../../x"}],
    }).encode(), JSON),
    "redirected to http": answer(302, b"", "Location: http://localhost:1/"),
    "redirected to a file": answer(302, b"", "Location: file:///etc/passwd"),
    "redirected in a circle": answer(307, b"", "Location: /dir"),
    "no HTTP": b"SSH-2.0-OpenSSH_9.2\r\n",
    "silence": "drop",
    "1 MB of head": b"HTTP/1.1 200 X\r\n" + b"X-A: " + b"y" * 1000000,
    "many fields": b"HTTP/1.1 200 X\r\n" + b"X-A: y\r\n" * 20000 + b"\r\n",
    "odd nonces": answer(200, b"{}", JSON, "Replay-Nonce: a b\"c", "Replay-Nonce: " + "n" * 3000),
}
KINDS = ["directory", "new-nonce", "new-account", "new-order", "authz", "challenge", "order",
         "finalize", "certificate"]


def saved(c):
    return list((c.store / "certificates").rglob(NAME + ".crt"))


def until_obtained(c, eventually, rounds=10, forget=True):
    """Starts again whenever there is a longer wait, with the record of it forgotten or the clock a
    day further on; the number of rounds is bounded."""
    for day in range(rounds):
        if forget:
            shutil.rmtree(c.store / "caddis/schedule", ignore_errors=True)
        else:
            c.options["env"] = {**FAKETIME, "FAKETIME": f"+{26 * day}h"}
        at = len(c.log())
        c.start()
        eventually(lambda: saved(c) or any(
            int(s) >= 15 for s in re.findall(r'"next_attempt_in_s":(\d+)', c.log()[at:])), 60)
        if saved(c):
            return
        c.stop()
    raise AssertionError(c.log())


@pytest.mark.parametrize("how, version", [*((how, "new") for how in BAD), *(
    (how, "old") for how in ("500", "cut", "wrongly typed", "silence", "http and file URLs"))])
def test_one_bad_answer_of_every_kind(world, eventually, how, version):
    """Each resource answers badly once; the certificate comes all the same, with few orders."""
    p, c = world(start=False, ca={"version": version})
    left = set(KINDS)

    def rule(request):
        if request.kind in left:
            left.remove(request.kind)
            return BAD[how]
        return None

    p.mediator.rules.append(rule)
    until_obtained(c, eventually)
    assert p.orders <= 8
    assert len(p.mediator.seen) < 150


RETRY_AFTER = {
    "seconds": "3600", "date": None, "negative": "-5", "huge": "99999999999999999999999",
    "junk": "soon", "empty": "", "fraction": "1.5", "past date": "Thu, 01 Jan 1970 00:00:00 GMT",
    "bad date": "Thu, 99 Foo 9999 99:99:99 GMT",
}


@pytest.mark.parametrize("form", RETRY_AFTER)
@pytest.mark.parametrize("kind", ["new-order", "new-nonce"])
def test_429_with_every_form_of_retry_after(world, form, kind):
    p, c = world(start=False)
    value = RETRY_AFTER[form]
    if value is None:
        value = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(time.time() + 3600))
    p.mediator.rules.append(always(kind, problem(429, "rateLimited", "slow down, says the test",
                                                 [("Retry-After", value)])))
    c.start()
    if kind == "new-nonce":  # a HEAD has no body to quote
        c.wait_log("HTTP status 429")
    else:
        c.wait_log("slow down, says the test")
    time.sleep(4)
    tries = p.mediator.seen_count(kind)
    if form in ("seconds", "date", "huge") or kind == "new-order":
        assert tries == 1
    else:
        assert 1 <= tries <= 4


def test_an_answer_of_one_byte_a_second(world, eventually):
    p, c = world("localhost {\n\trespond local\n}\n" + SITE, start=False)
    serve, slow = p.mediator.script, []

    def drip(raw):
        if slow:
            serve(raw)
            return
        slow.append(raw.read_request())
        raw.send(b"HTTP/1.1 200 X\r\nContent-Length: 100000\r\n\r\n")
        for _ in range(100):
            raw.send(b" ")
            time.sleep(1)

    p.mediator.script = drip
    c.start()
    eventually(lambda: slow)
    c.wait_certificate("localhost")
    started = time.monotonic()
    c.reload()  # does not wait for the CA
    assert time.monotonic() - started < 3
    wait(p, c, timeout=90)


def test_a_hanging_ca_holds_no_reload_up(world):
    p, c = world(start=False)
    p.mediator.rules.append(always(None, "hang"))
    c.start()
    for i in range(5):
        started = time.monotonic()
        c.reload(SITE + f"\nhttp://localhost:{c.http} {{\n\trespond {i}\n}}")
        assert time.monotonic() - started < 2
        assert c.get().body == b"%d" % i


def test_another_ca_takes_over_from_one_that_hangs(world, pebble):
    """acme_ca is changed while an order hangs: the new one is asked at once."""
    p, c = world(start=False)
    p.mediator.rules.append(always("new-order", "hang"))
    c.start()
    while not p.mediator.seen_count("new-order"):
        time.sleep(0.05)
    q = pebble(c.http, c.https)
    c.globals = q.globals
    c.reload(SITE)
    assert certs.names(wait(q, c, timeout=15)) == [NAME]


def test_names_come_and_go_during_an_order(world):
    p, c = world(start=False, ca={"env": {"PEBBLE_VA_NOSLEEP": "0", "PEBBLE_VA_SLEEPTIME": "2"}})
    c.start()
    for _ in range(6):
        c.reload("http://other.test {\n\trespond x\n}")
        c.reload(SITE.replace("{\n", "{\n\ttls internal\n", 1))
        c.reload(SITE)
    wait(p, c)
    assert p.orders <= 2


def test_lost_replies_to_new_orders_are_few(world):
    """Each lost reply may be an order at the CA: they count as one."""
    p, c = world(start=False)
    rule = always("new-order", lambda response: None)
    p.mediator.rules.append(rule)
    c.start()
    time.sleep(45)
    assert p.orders <= 4
    p.mediator.rules.remove(rule)


def test_an_invalid_order_is_told_with_its_subproblems(world):
    p, c = world(start=False)

    def change(order):
        order["status"] = "invalid"
        order["error"] = {
            "type": "urn:ietf:params:acme:error:compound", "detail": "two things are wrong",
            "subproblems": [
                {"type": "urn:ietf:params:acme:error:caa", "detail": "CAA says no",
                 "identifier": {"type": "dns", "value": NAME}},
                {"type": "urn:ietf:params:acme:error:dns", "detail": "no such name"}]}

    p.mediator.rules.append(always("finalize", order_says(change)))
    c.start()
    c.wait_log('"no certificate"')
    words = "two things are wrong (compound); example.com: CAA says no (caa); no such name (dns)"
    assert words in c.log()
    assert words in c.get(host=NAME).body.decode()
    assert words in c.command("certs", "--config", c.file).stdout
    assert p.orders == 1


def test_a_certificate_that_is_over_when_it_comes_is_not_used(world):
    p, c = world(ca={"validity": 1})
    c.wait_log("the CA sent a certificate that is not used", 40)
    c.wait_log('"no certificate"')
    assert p.orders == 1


def test_a_lost_reply_to_finalize_costs_no_order(world):
    p, c = world(start=False)
    lost = []

    def rule(request):
        if request.kind == "finalize" and len(lost) < 2:
            lost.append(1)
            return lambda response: None
        return None

    p.mediator.rules.append(rule)
    c.start()
    wait(p, c)
    assert p.orders == 1 and lost


def order_says(change):
    def edit(response):
        head, body = response.split(b"\r\n\r\n", 1)
        order = json.loads(body)
        if "finalize" not in order:
            return response
        change(order)
        body = json.dumps(order).encode()
        head = re.sub(rb"(?i)content-length: \d+", b"Content-Length: %d" % len(body), head)
        return head + b"\r\n\r\n" + body

    return edit


def test_an_order_that_never_names_its_certificate(world, eventually):
    """It is left in the end; another one gets the certificate."""
    p, c = world(start=False)
    first = []

    def change(order):
        if order["status"] == "valid" and (not first or order["finalize"] == first[0]):
            first[:] = [order["finalize"]]
            order.pop("certificate", None)

    for kind in ("order", "finalize"):
        p.mediator.rules.append(always(kind, order_says(change)))
    until_obtained(c, eventually)
    assert p.orders == 2


@pytest.mark.parametrize("status", ["processing", "pending", "ready"])
def test_an_order_that_does_not_get_on_is_given_up(world, eventually, status):
    p, c = world(start=False, binary=PLAIN_BIN)
    first = []

    def change(order):
        if order["status"] in ("valid", "processing"):
            if not first or order["finalize"] == first[0]:
                first[:] = [order["finalize"]]
                order["status"] = status
                order.pop("certificate", None)

    def told_to_wait(response):
        head, body = order_says(change)(response).split(b"\r\n\r\n", 1)
        head = re.sub(rb"(?i)\r\nretry-after: [^\r]*", b"", head)
        # Longer than anybody waits, so that the test need not.
        more = b"\r\nRetry-After: 900" if first and first[0].encode() in body else b""
        return head + more + b"\r\n\r\n" + body

    for kind in ("order", "finalize"):
        p.mediator.rules.append(always(kind, told_to_wait))
    until_obtained(c, eventually, forget=False)
    assert p.orders == 2


def test_a_certificate_that_is_refused_concerns_its_own_name_only(world):
    p, c = world("one.test {\n\trespond a\n}\ntwo.test {\n\trespond b\n}", start=False)
    refused = []

    def rule(request):
        if request.kind == "certificate" and not refused:
            refused.append(request.target)
        return answer(404) if request.target in refused else None

    p.mediator.rules.append(rule)
    c.start()
    end = time.monotonic() + 30
    while not list((c.store / "certificates").rglob("*.crt")):
        assert time.monotonic() < end, c.log()
        time.sleep(0.1)
    time.sleep(1)
    assert "the CA cannot be used now" not in c.log()


CHAINS = {
    "another key": lambda p, pem: p.authority.issue(NAME)[0].read_bytes(),
    "another name": lambda p, pem: p.authority.issue("other.com")[0].read_bytes(),
    "turned round": lambda p, pem: b"".join(reversed(split(pem))),
    "leaf twice": lambda p, pem: split(pem)[0] * 2,
    "garbled": lambda p, pem: pem[:300] + b"@" * 30 + pem[330:],
    "cut": lambda p, pem: pem[: len(pem) - 100],
    "empty": lambda p, pem: b"",
    "text": lambda p, pem: b"certificate\n" * 10,
    "twenty": lambda p, pem: pem * 20,
    "a key in it": lambda p, pem: pem + b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
}


def split(pem):
    return [m + b"\n" for m in re.findall(rb"-----BEGIN.*?-----END CERTIFICATE-----", pem, re.S)]


@pytest.mark.parametrize("kind", CHAINS)
def test_wrong_chains_are_never_served(world, kind):
    p, c = world(start=False)

    def swap(response):
        head, pem = response.split(b"\r\n\r\n", 1)
        pem = CHAINS[kind](p, pem)
        head = re.sub(rb"(?i)content-length: \d+", b"Content-Length: %d" % len(pem), head)
        return head + b"\r\n\r\n" + pem

    p.mediator.rules.append(always("certificate", swap))
    c.start()
    if kind == "a key in it":
        wait(p, c)
        return
    c.wait_log('"no certificate"', 20)
    with c.connect_tls(NAME, verify=False) as connection:
        assert connection.get().status == 503
    assert not list((c.store / "certificates").rglob(NAME + ".crt"))
    assert p.orders == 1


@pytest.mark.parametrize("shift", ["-23h", "+26h"])
def test_a_clock_a_day_off(world, shift):
    """Our clock is wrong; the certificate is good for everybody else. (Nearly a day back: the CA's
    own certificate is a day old here.)"""
    p, c = world(start=False, binary=PLAIN_BIN)
    c.options["env"] = {**FAKETIME, "FAKETIME": shift}
    c.start()
    wait(p, c)
    assert p.orders == 1


def test_nonces_refused_nearly_always(world):
    p, c = world(ca={"env": {"PEBBLE_WFE_NONCEREJECT": "90"}})
    wait(p, c, timeout=120)
    assert p.orders <= 2


def test_a_ca_that_forgets_everything(world, eventually):
    """Pebble restarted: account and order are unknown, its roots are new."""
    p, c = world(start=False)
    forgot = []

    def rule(request):
        if request.kind == "finalize" and not forgot:
            forgot.append(1)
            p.stop()
            p.start()
        return None

    p.mediator.rules.append(rule)
    c.start()
    eventually(lambda: forgot)
    c.stop()
    until_obtained(c, eventually)
    assert p.orders <= 3


def test_killed_again_and_again_while_renewing(pebble, folder):
    """kill -9 at every kind of instant; what is on disk is one pair, orders are few."""
    http, https = free_port(), free_port()
    p = pebble(http, https, validity=40, env={"PEBBLE_WFE_NONCEREJECT": "5"})
    roots = p.roots()
    c = Caddis(SITE, http=http, https=https, globals=p.globals + "\nrenew_interval 1s",
               binary=PLAIN_BIN, start=False, store=folder / "store")
    try:
        starts = 0
        while starts < int(os.environ.get("CADDIS_KILLS", "30")):
            c.start(wait=False)
            starts += 1
            time.sleep(0.05 + (starts * 0.137) % 2.3)
            if starts % 3 == 0:
                for pid in c.children():
                    os.kill(pid, signal.SIGKILL)
                time.sleep(0.3)
            c.kill()
        assert p.orders <= 10 + starts // 2
        c.start()
        wait(p, c)
        with c.connect_tls(NAME, cadata=roots) as connection:
            assert connection.get().body == b"hello"
    finally:
        if not c.stopped:
            c.kill()
        c.clean()


@pytest.mark.parametrize("shift, moment", [("+400d", "challenge"), ("-400d", "challenge"),
                                           ("-400d", "finalize"), ("+400d", "back-off")])
def test_a_clock_that_jumps_while_it_waits(world, shift, moment):
    """A year to and fro in the middle of an order, or while the next attempt is waited for: no order
    more than it takes, and a certificate once the clock is right and (in one case, where what came
    was over by our clock) another attempt is due or asked for."""
    p, c = world(start=False, binary=PLAIN_BIN)
    clock = c.folder / "clock"
    clock.write_text("+0")
    c.options["env"] = {**FAKETIME, "FAKETIME_TIMESTAMP_FILE": str(clock), "FAKETIME_NO_CACHE": "1"}
    jumped = threading.Event()

    def jump():
        clock.write_text(shift)
        jumped.set()

    if moment == "back-off":
        p.mediator.rules.append(once("new-order", problem(500, "serverInternal", "not now")))
    else:
        p.mediator.rules.append(once(moment, jump))
    c.start()
    if moment == "back-off":
        c.wait_log("not now")
        jump()
    assert jumped.wait(30)
    time.sleep(3)
    clock.write_text("+0")
    if shift == "+400d" and moment != "back-off":
        c.wait_log("days ahead of the CA's", 30)
        done = c.command("renew", NAME, "--config", c.file)
        assert done.returncode == 0, done.stderr
    wait(p, c)
    assert p.orders <= 2
    time.sleep(2)
    assert p.orders <= 2 and len(p.mediator.seen) < 60
