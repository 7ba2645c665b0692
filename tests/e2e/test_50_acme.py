"""Certificates from a public CA, played by Pebble: getting, renewing, and getting through its bad
days. Orders are counted at the CA."""

import json
import os
import pathlib
import re
import shutil
import signal
import tempfile
import threading
import time

import pytest
from lib import certs
from lib.caddis import BIN, PLAIN_BIN, Caddis, command
from lib.pebble import NAME, SITE, VERSIONS, always, once, problem, wait
from lib.ports import free_port


def handshake(p, c, name=NAME, roots=None):
    with c.connect_tls(name, cadata=roots or p.roots()) as connection:
        return connection.sock.getpeercert(binary_form=True)


# ---- getting one ----

FORMS = {
    "braces on one line": NAME + " { respond hello }",
    "angle brackets on one line": NAME + " < respond hello >",
    "Caddy's form": SITE,
    "no braces": NAME + "\nrespond hello",
}


@pytest.mark.parametrize("form", FORMS)
def test_issue(world, form):
    p, c = world(FORMS[form])
    der = wait(p, c)
    assert certs.names(der) == [NAME]
    with c.connect_tls(NAME, cadata=p.roots()) as connection:
        assert connection.get().body == b"hello"
    assert c.get("/x", host=NAME).get("Location") == f"https://{NAME}/x"
    assert p.orders == 1


def test_issue_from_an_older_ca(world):
    p, c = world(ca={"version": "old"})
    assert certs.names(wait(p, c)) == [NAME]
    assert p.orders == 1


def test_several_names_get_a_certificate_each(world):
    p, c = world("one.test, two.test {\n\trespond a\n}\nthree.test {\n\trespond b\n}")
    for name in ("one.test", "two.test", "three.test"):
        assert certs.names(wait(p, c, name)) == [name]
    assert p.orders == 3
    assert p.mediator.count("new-account", 201) == 1


def test_keys_are_p256_and_the_store_has_caddys_layout(world):
    p, c = world()
    leaf = certs.parse(wait(p, c))
    assert leaf.public_key().curve.name == "secp256r1"
    ca = f"localhost-{p.mediator.port}-dir"
    folder = c.store / "certificates" / ca / NAME
    for suffix in (".crt", ".key", ".json"):
        assert (folder / (NAME + suffix)).exists()
    assert json.loads((folder / (NAME + ".json")).read_text())["sans"] == [NAME]
    user = c.store / "acme" / ca / "users/admin@example.com"
    assert {"admin.key", "admin.json"} <= {f.name for f in user.iterdir()} or \
        {"admin@example.com.key", "admin@example.com.json"} <= {f.name for f in user.iterdir()}


def test_the_challenge_comes_before_redirect_and_routing(world):
    """A catch-all site on port 80 that answers everything does not get in the way."""
    p, c = world(f"{NAME} {{\n\trespond hello\n}}\nhttp:// {{\n\trespond everything\n}}")
    wait(p, c)
    assert c.get("/.well-known/acme-challenge/unknown-token", host="x").body == b"everything"


def test_unknown_tokens_leak_nothing(world):
    p, c = world()
    p.mediator.rules.append(always("finalize", "hang"))  # a challenge is still being answered
    time.sleep(1)
    for token in ("", "x", "..%2f..%2facme", "../../../etc/passwd", "a" * 5000, "%00"):
        answer = c.get(f"/.well-known/acme-challenge/{token}", host=NAME)
        assert answer.status in (308, 400, 404, 414, 503), answer
        assert b"." not in answer.body or answer.status != 200


def test_names_for_the_local_ca_are_never_sent_to_a_public_one(world):
    p, c = world("localhost, app.local, 127.0.0.1 {\n\trespond hello\n}")
    for name in ("localhost", "app.local"):
        c.wait_certificate(name)
    time.sleep(0.5)
    assert p.orders == 0


def test_external_account_binding(world):
    kid, mac = "kid-1", "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W"
    p, c = world(ca={"externalAccountBindingRequired": True, "externalAccountMACKeys": {kid: mac}},
                 globals=f"acme_eab {{\n\tkey_id {kid}\n\tmac_key {mac}\n}}")
    wait(p, c)


def test_external_account_binding_missing_is_said(world):
    p, c = world(ca={"externalAccountBindingRequired": True, "externalAccountMACKeys": {"k": "bWFj"}})
    c.wait_log("xternal")
    assert p.orders == 0


@pytest.mark.parametrize("version", VERSIONS)
def test_nonces_refused(world, version):
    p, c = world(ca={"version": version, "env": {"PEBBLE_WFE_NONCEREJECT": "60"}})
    wait(p, c)
    assert p.orders == 1


def test_authorisations_reused(world):
    """The second order for a name is born ready: no challenge is answered."""
    p, c = world(ca={"env": {"PEBBLE_AUTHZREUSE": "100"}})
    first = wait(p, c)
    c.stop()
    for path in (c.store / "certificates").rglob(NAME + ".*"):
        path.unlink()
    challenges = p.mediator.count("challenge")
    c.start()
    assert wait(p, c) != first
    assert p.mediator.count("challenge") == challenges


def test_slow_validation(world):
    p, c = world(ca={"env": {"PEBBLE_VA_NOSLEEP": "0", "PEBBLE_VA_SLEEPTIME": "3"}})
    wait(p, c)
    assert p.orders == 1


@pytest.mark.parametrize("version", VERSIONS)
def test_all_of_a_cas_habits_at_once(world, version):
    """Accounts by binding only, slow validation, half the nonces refused, authorisations used again,
    three intermediates, two more roots, several profiles (which the older one does not have)."""
    kid, mac = "kid-1", "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W"
    profiles = {n: {"description": n, "validityPeriod": s}
                for n, s in (("classic", 7776000), ("short", 600000), ("other", 3000000))}
    p, c = world(ca={"version": version, "externalAccountBindingRequired": True,
                     "externalAccountMACKeys": {kid: mac}, "profiles": profiles,
                     "env": {"PEBBLE_VA_NOSLEEP": "0", "PEBBLE_VA_SLEEPTIME": "2",
                             "PEBBLE_WFE_NONCEREJECT": "50", "PEBBLE_AUTHZREUSE": "100",
                             "PEBBLE_CHAIN_LENGTH": "3", "PEBBLE_ALTERNATE_ROOTS": "2"}},
                 globals=f"acme_eab {{\n\tkey_id {kid}\n\tmac_key {mac}\n}}", start=False)
    c.write(NAME + " {\n\ttls {\n\t\tissuer acme {\n\t\t\tprofile short\n\t\t}\n\t}\n"
            "\trespond hello\n}")
    c.start()
    leaf = certs.parse(wait(p, c, timeout=90))
    if version == "new":
        assert certs.lifetime(leaf).total_seconds() == pytest.approx(600000, abs=60)
    challenges = p.mediator.count("challenge", 200)
    done = c.command("renew", NAME, "--config", c.file)
    assert done.returncode == 0, done.stderr
    assert p.orders == 2 and p.mediator.count("challenge", 200) == challenges


def test_long_chains_and_alternates(world):
    p, c = world(ca={"env": {"PEBBLE_CHAIN_LENGTH": "3", "PEBBLE_ALTERNATE_ROOTS": "2"}})
    wait(p, c)


def test_a_chain_that_is_not_ours_is_not_used(world):
    """The CA (or someone in its place) hands out a certificate for another key."""
    p, c = world(start=False)
    foreign = p.authority.issue(NAME)[0].read_bytes()

    def swap(response):
        head, _ = response.split(b"\r\n\r\n", 1)
        head = re.sub(rb"(?i)content-length: \d+", b"Content-Length: %d" % len(foreign), head)
        return head + b"\r\n\r\n" + foreign

    p.mediator.rules.append(always("certificate", swap))
    c.start()
    c.wait_log("certificate", 20)
    time.sleep(2)
    with c.connect_tls(NAME, verify=False) as connection:
        assert connection.get().status == 503
    assert not list((c.store / "certificates").rglob(NAME + ".crt"))


# ---- renewing ----


def test_short_certificates_are_renewed_without_one_failed_handshake(world, origin):
    p, c = world(ca={"validity": 24}, globals="renew_interval 1s")
    roots = p.roots()
    serials = {certs.parse(wait(p, c)).serial_number}
    end = time.monotonic() + 75
    long_lived = c.connect_tls(NAME, cadata=roots)
    while time.monotonic() < end and len(serials) < 3:
        leaf = certs.parse(handshake(p, c, roots=roots))  # verified: also not expired
        serials.add(leaf.serial_number)
        assert long_lived.get().body == b"hello"  # a connection from before never notices
        time.sleep(0.05)
    long_lived.close()
    assert len(serials) >= 3
    assert p.orders <= len(serials) + 1


def test_not_renewed_while_it_is_good(world):
    p, c = world(globals="renew_interval 1s")
    wait(p, c)
    time.sleep(4)
    assert p.orders == 1


# ---- restarts ----


def test_restart_with_the_ca_down_serves_within_a_second(world):
    p, c = world(binary=PLAIN_BIN if PLAIN_BIN.exists() else BIN)
    first = wait(p, c)
    roots = p.roots()
    c.stop()
    p.stop()
    p.mediator.stop_listening()
    started = time.monotonic()
    c.start(wait=False)
    while True:
        try:
            assert handshake(p, c, roots=roots) == first
            break
        except ConnectionRefusedError:
            assert time.monotonic() - started < 1
            time.sleep(0.01)
    assert time.monotonic() - started < 1
    c.wait_ready()
    time.sleep(1)
    assert p.orders == 1


def test_restarts_order_nothing(world):
    p, c = world()
    first = wait(p, c)
    for _ in range(3):
        c.stop()
        c.start()
        assert handshake(p, c) == first
    time.sleep(1)
    assert p.orders == 1
    assert p.mediator.count("new-account", 201) == 1


@pytest.mark.parametrize("kind", ["new-account", "new-order", "authz", "challenge", "finalize",
                                  "certificate"])
@pytest.mark.parametrize("moment", ["request", "response"])
def test_killed_in_the_middle(world, kind, moment):
    """kill -9 as the CA gets a request, and as it has answered it but the answer is lost."""
    p, c = world(start=False)
    killed = threading.Event()

    def kill(response=None):
        c.kill()
        killed.set()
        return "drop" if moment == "request" else None

    rule = once(kind, kill if moment == "request" else (lambda: kill))
    p.mediator.rules.append(rule)
    c.start()
    assert killed.wait(20)
    c.start()
    assert certs.names(wait(p, c)) == [NAME]
    assert p.orders <= 2
    time.sleep(0.3)
    pairs = list((c.store / "certificates").rglob(NAME + ".crt"))
    assert len(pairs) == 1


def test_killed_at_random_moments(world):
    p, c = world(start=False, binary=PLAIN_BIN if PLAIN_BIN.exists() else BIN)
    for i in range(8):
        c.start(wait=False)
        time.sleep(0.03 + i * 0.11)
        c.kill()
    c.start()
    wait(p, c, timeout=60)
    assert p.orders <= 9


def test_twelve_restarts_while_validation_fails(world):
    p, c = world(start=False, ca={"unresolvable": [NAME]},
                 binary=PLAIN_BIN if PLAIN_BIN.exists() else BIN)
    for _ in range(12):
        seen = p.mediator.seen_count("authz") + p.mediator.seen_count("order")
        c.start()
        end = time.monotonic() + 3
        while time.monotonic() < end:
            time.sleep(0.2)
            now = p.mediator.seen_count("authz") + p.mediator.seen_count("order")
            if now == seen and time.monotonic() > end - 2:
                break  # quiet: it is waiting
            seen = now
        c.stop()
    assert 1 <= p.orders <= 5


def test_killed_whenever_both_ways_have_failed(world, eventually):
    """Before that is written down: no more orders than without the kills."""
    p, c = world(start=False, ca={"unresolvable": [NAME]},
                 binary=PLAIN_BIN if PLAIN_BIN.exists() else BIN)
    failed = []

    def kill(response):
        if b'"invalid"' in response:
            failed.append(1)
            if len(failed) % 2 == 0:
                c.kill()
                return None
        return response

    p.mediator.rules.append(always("authz", kill))
    for _ in range(5):
        c.start()
        eventually(lambda: c.stopped or '"no certificate"' in c.log(), 60)
        if not c.stopped:
            break
    assert not c.stopped and 1 <= p.orders <= 5


# ---- the CA's bad days ----


def test_ca_down_then_up(world):
    p, c = world(start=False)
    p.stop()
    c.start()
    c.wait_log("localhost")
    assert c.get(host=NAME).status == 503
    p.start()
    wait(p, c, timeout=60)
    assert c.get(host=NAME).status == 308


def test_ca_that_hangs_holds_nothing_up(world):
    p, c = world("localhost {\n\trespond local\n}\n" + SITE, start=False)
    p.mediator.rules.append(always(None, "hang"))
    started = time.monotonic()
    c.start()
    c.wait_certificate("localhost")
    assert c.get(host=NAME).status == 503
    with c.connect_tls(NAME, verify=False) as connection:
        assert connection.get().status == 503
    assert time.monotonic() - started < 20
    stopped = time.monotonic()
    c.stop()
    assert time.monotonic() - stopped < 8


def test_server_errors_and_junk_are_tried_again(world):
    p, c = world(start=False)
    answers = [b"HTTP/1.1 500 X\r\nContent-Length: 0\r\n\r\n",
               b"HTTP/1.1 200 X\r\nContent-Type: application/json\r\nContent-Length: 5\r\n\r\n{]}[{",
               "drop"]

    def rule(request):
        return answers.pop(0) if request.kind == "directory" and answers else None

    p.mediator.rules.append(rule)
    c.start()
    wait(p, c, timeout=60)
    assert not answers and p.orders == 1


def test_endless_answers_are_cut(plain, pebble):
    http, https = free_port(), free_port()
    p = pebble(http, https)
    c = plain(SITE, http=http, https=https, globals=p.globals, start=False)
    piece = b"x" * (1 << 20)
    p.mediator.rules.append(once("directory", lambda: b"HTTP/1.1 200 X\r\nContent-Type: application"
                                 b"/json\r\nConnection: close\r\n\r\n" + piece * 64))
    c.start()
    peak = 0
    end = time.monotonic() + 3
    while time.monotonic() < end:
        peak = max(peak, c.memory())
        time.sleep(0.05)
    assert peak < 40 << 20
    wait(p, c, timeout=60)


def test_rate_limit_is_obeyed_and_told(world):
    """Also over restarts; and a visitor can read what the CA said."""
    p, c = world(start=False)
    p.mediator.rules.append(always("new-order", problem(
        429, "rateLimited", "too many orders, says the test", [("Retry-After", "3600")])))
    c.start()
    c.wait_log("too many orders, says the test")
    assert b"too many orders, says the test" in c.get(host=NAME).body
    tried = p.mediator.seen_count("new-order")
    for _ in range(3):
        c.stop()
        c.start()
        time.sleep(1)
    assert p.mediator.seen_count("new-order") == tried
    assert b"too many orders, says the test" in c.get(host=NAME).body


def test_the_cas_words_reach_the_log_with_subproblems(world):
    p, c = world(start=False)
    body = json.dumps({
        "type": "urn:ietf:params:acme:error:compound", "detail": "several things", "status": 403,
        "subproblems": [{"type": "urn:ietf:params:acme:error:caa", "detail": "CAA forbids it",
                         "identifier": {"type": "dns", "value": NAME}}]}).encode()
    p.mediator.rules.append(always("new-order", b"HTTP/1.1 403 X\r\nContent-Type: application/"
                                   b"problem+json\r\nContent-Length: %d\r\n\r\n" % len(body) + body))
    c.start()
    c.wait_log("several things")
    c.wait_log("CAA forbids it")


def test_failed_validation_is_told_with_the_cas_reason(world, eventually):
    p, c = world(start=False, ca={"unresolvable": [NAME]})
    details = []

    def listen(response):
        for challenge in json.loads(response.split(b"\r\n\r\n", 1)[1]).get("challenges", []):
            if "error" in challenge:
                details.append(challenge["error"]["detail"])
        return response

    p.mediator.rules.append(always("authz", listen))
    c.start()
    eventually(lambda: details)
    words = max(re.split('["<>&]', details[0]), key=len)  # without what may be escaped
    c.wait_log(words)
    eventually(lambda: words.encode() in c.get(host=NAME).body)
    assert p.orders == 2, "one for each type of challenge"


def test_failed_validation_is_tried_again_and_cured(world):
    """With the clock a minute and a half on at the next start, the back-off is over."""
    p, c = world(ca={"unresolvable": [NAME]}, binary=PLAIN_BIN if PLAIN_BIN.exists() else BIN)
    c.wait_log("no certificate")
    c.stop()
    p.resolver_command("clear-servfail", host=NAME)
    c.start()
    time.sleep(3)
    assert p.orders == 2, "the wait of a minute was not kept over the restart"
    c.stop()
    c.options["env"] = {"LD_PRELOAD": "/usr/$LIB/faketime/libfaketime.so.1", "FAKETIME": "+90s",
                        "DONT_FAKE_MONOTONIC": "1"}
    c.start()
    wait(p, c)
    assert p.orders == 3


def test_a_ca_without_tls_is_refused():
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "Caddyfile"
        path.write_text("{\n\tacme_ca http://localhost:1/dir\n}\n" + SITE + "\n")
        done = command("validate", cwd=folder)
    assert done.returncode == 1
    assert "Caddyfile:2" in done.stderr and "https" in done.stderr


def test_a_ca_with_a_certificate_nobody_trusts(world):
    p, c = world(start=False)
    c.globals = f"acme_ca {p.url}"  # without its root
    c.write(SITE)
    c.start()
    c.wait_log("certificate")
    time.sleep(1)
    assert p.orders == 0 and p.mediator.seen == []


# ---- several instances on one store ----


def test_two_instances_make_one_order(caddis, pebble, folder):
    """The CA asks the first; whichever of them ordered, the first one answers."""
    for leader in (0, 1):
        store = folder / f"store{leader}"
        ports = [free_port() for _ in range(4)]
        p = pebble(ports[0], ports[1])
        pair = [Caddis(SITE, http=ports[2 * i], https=ports[2 * i + 1], store=store,
                       globals=p.globals, start=False) for i in (0, 1)]
        try:
            pair[leader].start()
            pair[1 - leader].start()
            ders = [wait(p, c) for c in pair]
            assert ders[0] == ders[1]
            assert p.orders == 1, p.mediator.passed
            for c in pair:
                c.stop()
        finally:
            for c in pair:
                if not c.stopped:
                    c.kill()
                c.clean()


def test_a_dead_instances_locks_block_nobody(world):
    p, c = world(start=False)
    hung = threading.Event()

    def hang():
        hung.set()
        return "hang"

    p.mediator.rules.append(once("new-order", hang))
    c.start()
    assert hung.wait(20)
    c.kill()
    locks = c.store / "locks"
    locks.mkdir(exist_ok=True)
    (locks / f"issue_cert_{NAME}.lock").write_text("")  # as Caddy may leave one
    c.start()
    wait(p, c)


def test_stopped_instance_holding_the_lock(caddis, pebble, folder):
    """SIGSTOP: the other one waits, and serves when the first goes on."""
    store, ports = folder / "store", [free_port() for _ in range(4)]
    p = pebble(ports[0], ports[1])
    a, b = (caddis(SITE, http=ports[2 * i], https=ports[2 * i + 1], store=store,
                   globals=p.globals, start=False) for i in (0, 1))
    halted = threading.Event()

    def halt():
        os.killpg(a.pid, signal.SIGSTOP)
        halted.set()
        return None

    p.mediator.rules.append(once("new-order", lambda: (lambda response: (halt(), response)[1])))
    a.start()
    assert halted.wait(20)
    b.start()
    time.sleep(1)
    assert p.orders == 1
    os.killpg(a.pid, signal.SIGCONT)
    assert wait(p, a) == wait(p, b)
    assert p.orders == 1


# ---- a folder that Caddy wrote ----


def test_a_store_written_by_caddy_is_used_as_it_is(world, folder):
    """Built in Caddy's layout from a certificate that the same CA signed."""
    p, c = world()
    first = wait(p, c)
    c.stop()
    for extra in ("caddis", "locks"):  # what Caddy would not have written
        path = c.store / extra
        if path.exists():
            shutil.rmtree(path)
    (c.store / "last_clean.json").write_text('{"tls":{"timestamp":"2026-01-01T00:00:00Z"}}')
    (c.store / "instance.uuid").write_text("5f8d4f2e-0000-4000-8000-000000000000")
    c.start()
    assert handshake(p, c) == first
    time.sleep(1)
    assert p.orders == 1
