"""Renewal as the CA suggests, profiles, chains, kinds of keys, several issuers, rehearsals, and what
a person can ask for: certs, renew, revoke, account, on_certificate."""

import base64
import json
import os
import re
import shutil
import threading
import time

import pytest
from lib import certs
from lib.origin import Scripted, server_context
from lib.pebble import NAME, SITE, always, once, problem, wait
from lib.ports import free_port
from lib.raw import Raw


def with_tls(*lines, name=NAME):
    return name + " {\n\trespond hello\n\ttls {\n\t\t" + "\n\t\t".join(lines) + "\n\t}\n}"


def orders_seen(p):
    """Remembers the payloads of new orders."""
    seen = []

    def rule(request):
        if request.kind == "new-order":
            payload = json.loads(request.body)["payload"]
            seen.append(json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4))))

    p.mediator.rules.append(rule)
    return seen


def ok(body, *fields):
    body = json.dumps(body).encode()
    head = ["HTTP/1.1 200 X", "Content-Type: application/json", *fields,
            f"Content-Length: {len(body)}", "Connection: close"]
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body


def window(start, end, **more):
    """Renewal information with a window from start to end, in seconds from now."""
    at = [time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + s)) for s in (start, end)]
    return ok({"suggestedWindow": {"start": at[0], "end": at[1]}, **more}, "Retry-After: 21600")


def listed(c, name=NAME):
    done = c.command("certs", "--json", "--config", c.file)
    assert done.returncode == 0, done.stderr
    return next(n for n in json.loads(done.stdout) if n["name"] == name)


# ---- when to renew ----


@pytest.mark.parametrize("answer", ["taken", "alreadyReplaced"])
def test_a_window_in_the_past_renews_at_once(world, eventually, answer):
    p, c = world(start=False, ca={"env": {"PEBBLE_WFE_NONCEREJECT": "0"}})
    seen = orders_seen(p)
    p.mediator.rules.append(once("ari", window(-7200, -3600,
                                               explanationURL="https://ca.test/why")))
    if answer == "alreadyReplaced":
        def refuse(request):
            if request.kind == "new-order" and len(seen) == 2:
                return problem(409, "alreadyReplaced", "somebody did")
        p.mediator.rules.append(refuse)
    c.start()
    first = wait(p, c)
    eventually(lambda: wait(p, c) != first, 30)
    assert "replaces" not in seen[0] and "replaces" in seen[1]
    assert len(seen) == (2 if answer == "taken" else 3)
    if answer != "taken":
        assert "replaces" not in seen[2]
    c.wait_log("https://ca.test/why")
    # The next one has a window far away, and rests.
    eventually(lambda: listed(c)["suggested_by_ca"], 30)
    assert p.orders == 2


def test_the_moment_that_was_drawn_is_kept(world, eventually):
    p, c = world(start=False)
    p.mediator.rules.append(always("ari", window(86400, 40 * 86400,
                                                 explanationURL="https://ca.test/later")))
    c.start()
    wait(p, c)
    eventually(lambda: listed(c)["suggested_by_ca"], 30)
    assert listed(c)["explanation"] == "https://ca.test/later"
    assert "why      https://ca.test/later" in c.command("certs", "--config", c.file).stdout
    at = listed(c)["next_at"]
    asked = p.mediator.seen_count("ari")
    c.stop()
    c.start()
    wait(p, c)
    assert listed(c)["next_at"][:16] == at[:16] and listed(c)["suggested_by_ca"]
    assert p.mediator.seen_count("ari") == asked, "asked again before its Retry-After"


BAD_WINDOWS = {
    "404": problem(404, "notFound", "who?"),
    "turned round": window(7200, 3600),
    "junk": ok({"suggestedWindow": [1, {"start": {}}]}),
    "html": b"HTTP/1.1 200 X\r\nContent-Length: 6\r\nConnection: close\r\n\r\n<html>",
    "silence": "drop",
}


def test_useless_renewal_information_does_no_harm(world, eventually):
    names = [f"n{i}.test" for i in range(len(BAD_WINDOWS))]
    p, c = world(", ".join(names) + " {\n\trespond hello\n}", start=False)
    given = []

    def rule(request):
        if request.kind == "ari" and len(given) < len(BAD_WINDOWS):
            given.append(1)
            return list(BAD_WINDOWS.values())[len(given) - 1]

    p.mediator.rules.append(rule)
    c.start()
    for name in names:
        wait(p, c, name)
    eventually(lambda: len(given) == len(BAD_WINDOWS), 30)
    for name in names:
        assert listed(c, name)["next_at"] > time.strftime("%Y-%m-%d", time.gmtime(
            time.time() + 50 * 86400))
    assert p.orders == len(names)


# ---- what is ordered ----


def test_profiles(world):
    profiles = {"default": {"description": "x", "validityPeriod": 7776000},
                "brief": {"description": "y", "validityPeriod": 500000}}
    p, c = world(with_tls("issuer acme {", "profile brief", "}"), ca={"profiles": profiles})
    assert certs.lifetime(certs.parse(wait(p, c))).total_seconds() <= 500001


def test_a_profile_that_the_ca_lost_costs_no_certificate(world):
    p, c = world(with_tls("issuer acme {", "profile tlsclient", "}"))
    wait(p, c)
    c.wait_log("does not offer the profile")


def test_an_ip_address_is_ordered_with_the_short_lived_profile(world):
    profiles = {"default": {"description": "x", "validityPeriod": 7776000},
                "shortlived": {"description": "y", "validityPeriod": 576000}}
    p, c = world(with_tls("issuer acme", name="127.0.0.1"), ca={"profiles": profiles})
    der = wait(p, c, "127.0.0.1")
    assert certs.names(der) == ["127.0.0.1"]
    assert certs.lifetime(certs.parse(der)).total_seconds() <= 576001


@pytest.mark.parametrize("kind", ["p384", "rsa2048", "rsa4096"])
def test_kinds_of_keys(world, kind):
    p, c = world(globals=f"key_type {kind}")
    key = certs.parse(wait(p, c)).public_key()
    assert kind == (f"rsa{key.key_size}" if hasattr(key, "e") or not hasattr(key, "curve")
                    else {"secp384r1": "p384"}[key.curve.name])


def test_ed25519_from_the_local_ca(caddis):
    c = caddis("localhost {\n\trespond hello\n\ttls {\n\t\tkey_type ed25519\n\t\tissuer internal {"
               "\n\t\t\tlifetime 2h\n\t\t\tsign_with_root\n\t\t}\n\t}\n}")
    leaf = certs.parse(c.wait_certificate("localhost"))
    assert type(leaf.public_key()).__name__.lower().find("ed25519") >= 0
    assert leaf.issuer == certs.load(c.root).subject
    assert certs.lifetime(leaf).total_seconds() <= 7201


def test_a_preferred_chain_is_chosen(world):
    p, c = world(start=False, ca={"env": {"PEBBLE_ALTERNATE_ROOTS": "2"}})
    c.globals += f'\npreferred_chains {{\n\troot_common_name "{p.root_name(2)}"\n}}'
    c.write(SITE)
    c.start()
    c.wait_certificate(NAME, cadata=p.root(2))
    chain = next((c.store / "certificates").rglob(NAME + ".crt")).read_text()
    last = certs.parse_pem(re.findall("-----BEGIN.*?END CERTIFICATE-----", chain, re.S)[-1])
    assert certs.common_name(last.issuer) == p.root_name(2)


# ---- several issuers ----


def test_the_next_issuer_is_asked(world, pebble, caddis):
    http, https = free_port(), free_port()
    p, q = pebble(http, https), pebble(http, https)
    p.mediator.rules.append(always("new-order", problem(400, "rejectedIdentifier", "not here")))
    site = with_tls(*[line for ca in (p, q) for line in
                      (f"issuer acme {ca.url} {{", f"trusted_roots {ca.ca_root}", "}")])
    c = caddis(site, http=http, https=https)
    wait(q, c)
    assert listed(c)["issuer"] == q.url
    c.stop()
    c.start()
    wait(q, c)  # found again, although the first issuer has none
    assert p.mediator.seen_count("new-order") == 1 and q.orders == 1


def test_a_local_certificate_until_the_ca_answers(world, eventually):
    p, c = world(with_tls("issuer acme", "issuer internal"), start=False)
    p.mediator.rules.append(always(None, "drop"))
    c.start()
    c.wait_certificate(NAME)
    c.wait_log("the CA cannot be used now")


def test_a_newer_local_certificate_does_not_push_a_public_one_out(world):
    """Public CAs date back: the one that stood in for them may be the later one by its dates."""
    p, c = world(with_tls("issuer acme", "issuer internal"), globals="renew_interval 1s")
    public = wait(p, c)
    c.stop()
    c.write(with_tls("issuer internal"))
    c.start()
    c.wait_certificate(NAME)
    c.stop()
    c.write(with_tls("issuer acme", "issuer internal"))
    for _ in range(2):
        c.start()
        assert wait(p, c) == public
        c.wait_log("certificate found in the store")
        time.sleep(2.5)  # the store is looked at again
        assert wait(p, c) == public
        c.stop()
    assert p.orders == 1


# ---- rehearsals ----


def try_again(c):
    """Starts again with the wait over, and how often it failed still known."""
    c.stop()
    for path in (c.store / "caddis/schedule").rglob(NAME + ".json"):
        record = json.loads(path.read_text())
        record["next_attempt_ms"] = 1
        path.write_text(json.dumps(record))
    c.start()


def test_retries_are_rehearsed_at_the_test_ca(world, pebble):
    p, c = world(start=False, ca={"unresolvable": [NAME]})
    q = pebble(c.http, c.https, unresolvable=[NAME])
    roots = c.folder / "roots.pem"
    roots.write_text(p.ca_root.read_text() + q.ca_root.read_text())
    c.globals = f"acme_ca {p.url}\nacme_test_ca {q.url}\nacme_ca_root {roots}"
    c.write(SITE)
    c.start()
    c.wait_log('"no certificate"')
    first = p.orders
    assert first > 0 and q.orders == 0
    try_again(c)
    c.wait_log("rehearsed at the test CA")
    assert p.orders == first and q.orders > 0
    for ca in (p, q):
        ca.resolver_command("clear-servfail", host=NAME)
    try_again(c)
    wait(p, c)
    assert p.orders == first + 1
    assert not list((c.store / "certificates").rglob(f"*{q.mediator.port}*/{NAME}"))


def with_a_test_ca(world, pebble, http=None):
    """A CA, a test CA and a caddis that has failed once at the first. http: where they look."""
    p, c = world(start=False)
    p.finish()
    p, q = (pebble(http or c.http, c.https, unresolvable=[NAME]) for _ in range(2))
    roots = c.folder / "roots.pem"
    roots.write_text(p.ca_root.read_text() + q.ca_root.read_text())
    c.globals = f"acme_ca {p.url}\nacme_test_ca {q.url}\nacme_ca_root {roots}"
    c.write(SITE)
    c.start()
    c.wait_log('"no certificate"')
    for ca in (p, q):
        ca.resolver_command("clear-servfail", host=NAME)
    return p, q, c


def test_what_was_rehearsed_is_done_in_the_same_way(world, pebble):
    """Port 80 is shut: the order must not go back to it after the other way was rehearsed."""
    p, q, c = with_a_test_ca(world, pebble, free_port())
    tried = p.orders
    try_again(c)
    wait(p, c)
    assert q.orders == 1 and p.orders == tried + 1


@pytest.mark.parametrize("trouble", [("new-order", problem(429, "rateLimited", "too many tests")),
                                     ("new-order", problem(400, "rejectedIdentifier", "not here")),
                                     ("directory", "drop")])
def test_a_test_ca_with_troubles_holds_nothing_up(world, pebble, trouble):
    p, q, c = with_a_test_ca(world, pebble)
    q.mediator.rules.append(always(*trouble))
    try_again(c)
    wait(p, c)
    c.wait_log("ordering without a rehearsal")


# ---- by hand ----


def test_renewed_by_hand(world, eventually):
    p, c = world("localhost {\n\trespond local\n}\n" + SITE)
    first = wait(p, c)
    done = c.command("renew", NAME, "--config", c.file)
    assert done.returncode == 0 and "new certificate" in done.stdout, done.stderr + c.log()
    second = wait(p, c)
    assert second != first
    assert certs.parse(second).public_key() != certs.parse(first).public_key()
    assert p.orders == 2
    done = c.command("renew", "other.test", "--config", c.file)
    assert done.returncode == 1 and "other.test" in done.stderr
    local = c.wait_certificate("localhost")
    assert c.command("renew", "localhost", "--config", c.file).returncode == 0
    eventually(lambda: c.wait_certificate("localhost") != local, 20)
    text = c.command("certs", "--config", c.file).stdout
    assert NAME in text and "localhost" in text and p.url in text


def test_a_renewal_that_fails_says_why(world, eventually):
    p, c = world()
    first = wait(p, c)
    eventually(lambda: not listed(c)["busy"], 30)
    planned = listed(c)["next_at"]
    p.mediator.rules.append(always("new-order", problem(403, "rejectedIdentifier", "we know you")))
    done = c.command("renew", NAME, "--config", c.file)
    assert done.returncode == 1 and "we know you" in done.stderr
    now = listed(c)
    assert "we know you" in now["last_error"]
    assert now["state"] == "ready" and wait(p, c) == first
    # The wish has had its attempt: what is there is good until its own renewal.
    assert now["next_at"] == planned


def test_keys_may_be_kept(world):
    p, c = world(with_tls("reuse_private_keys"))
    first = wait(p, c)
    assert c.command("renew", NAME, "--config", c.file).returncode == 0
    second = wait(p, c)
    assert second != first
    assert certs.public_bytes(second) == certs.public_bytes(first)


def test_a_dry_run_keeps_nothing(world, pebble):
    p, c = world(start=False)
    q = pebble(c.http, c.https)
    roots = c.folder / "roots.pem"
    roots.write_text(p.ca_root.read_text() + q.ca_root.read_text())
    c.globals = f"acme_ca {p.url}\nacme_test_ca {q.url}\nacme_ca_root {roots}"
    c.write(SITE)
    c.start()
    first = wait(p, c)
    files = sorted(str(f) for f in (c.store / "certificates").rglob("*"))
    done = c.command("renew", NAME, "--dry-run", "--config", c.file)
    assert done.returncode == 0 and "went well" in done.stdout, done.stdout + done.stderr
    assert p.orders == 1 and q.orders == 1
    assert wait(p, c) == first
    assert files == sorted(str(f) for f in (c.store / "certificates").rglob("*"))
    assert not list((c.store / "caddis/order").rglob("*.json"))
    q.resolver_command("set-servfail", host=NAME)
    done = c.command("renew", NAME, "--dry-run", "--config", c.file)
    assert done.returncode == 1 and "could not validate" in done.stderr


def test_a_dry_run_does_not_disturb_an_order(world, pebble):
    p, c = world(start=False)
    q = pebble(c.http, c.https)
    roots = c.folder / "roots.pem"
    roots.write_text(p.ca_root.read_text() + q.ca_root.read_text())
    c.globals = f"acme_ca {p.url}\nacme_test_ca {q.url}\nacme_ca_root {roots}"
    c.write(SITE)
    gate = threading.Event()
    p.mediator.rules.append(once("challenge", lambda: (gate.wait(60), None)[1]))
    c.start()
    c.wait_log("challenge presented")
    done = c.command("renew", NAME, "--dry-run", "--config", c.file)
    gate.set()
    assert done.returncode == 1 and "obtained right now" in done.stderr, done.stderr
    wait(p, c)
    assert q.orders == 0 and p.orders == 1
    assert c.command("renew", NAME, "--dry-run", "--config", c.file).returncode == 0


def test_a_dry_run_without_a_test_ca_says_what_to_do(world):
    p, c = world()
    wait(p, c)
    done = c.command("renew", NAME, "--dry-run", "--config", c.file)
    assert done.returncode == 1 and "acme_test_ca" in done.stderr


def test_revoked(world):
    p, c = world()
    serial = certs.parse(wait(p, c)).serial_number
    done = c.command("revoke", NAME, "--reason", "superseded", "--config", c.file)
    assert done.returncode == 0, done.stderr
    assert p.status_of(serial) == "Revoked"
    assert c.command("revoke", NAME, "--config", c.file).returncode == 0  # already
    done = c.command("revoke", NAME, "--reason", "boredom", "--config", c.file)
    assert done.returncode == 1 and "superseded" in done.stderr


def test_the_account_gets_another_key(world):
    p, c = world()
    wait(p, c)
    key = next((c.store / "acme").rglob("*.key"))
    old = key.read_bytes()
    done = c.command("account", "rollover", "--config", c.file)
    assert done.returncode == 0, done.stderr
    assert key.read_bytes() != old and not list((c.store / "acme").rglob("*.new"))
    done = c.command("renew", NAME, "--config", c.file)
    assert done.returncode == 0, done.stderr
    assert p.mediator.count("new-account", 201) == 1
    done = c.command("account", "deactivate", "--config", c.file)
    assert done.returncode == 0, done.stderr
    assert c.command("renew", NAME, "--config", c.file).returncode == 0, c.log()
    assert p.mediator.count("new-account", 201) == 2


def test_another_key_in_the_middle_of_an_order(world):
    p, c = world(start=False)
    gate = threading.Event()
    p.mediator.rules.append(once("challenge", lambda: (gate.wait(60), None)[1]))
    c.start()
    c.wait_log("challenge presented")
    done = c.command("account", "rollover", "--config", c.file)
    gate.set()
    assert done.returncode == 0, done.stderr
    wait(p, c, timeout=40)
    assert p.orders == 1
    assert "the account has another key meanwhile" in c.log()
    assert "cannot be used now" not in c.log() and '"no certificate"' not in c.log()


def test_a_lost_answer_to_the_new_key_loses_no_account(world):
    p, c = world()
    wait(p, c)
    lost = []

    def rule(request):
        if request.kind == "rollover-account-key" and not lost:
            lost.append(1)
            return lambda response: None

    p.mediator.rules.append(rule)
    done = c.command("account", "rollover", "--config", c.file)
    assert done.returncode == 0, done.stderr
    assert c.command("renew", NAME, "--config", c.file).returncode == 0, c.log()
    assert p.mediator.count("new-account", 201) == 1 and lost


def test_a_program_is_told(world, eventually):
    p, c = world(start=False)
    out, program = c.folder / "out", c.folder / "hook"
    program.write_text(f'#!/bin/sh\necho "$1 $CADDIS_NAME" >> {out}\n'
                       f'cmp "$2" "$CADDIS_CERTIFICATE" && test -f "$3" && echo both >> {out}\n'
                       "echo words for the log\nexit 3\n")
    os.chmod(program, 0o755)
    c.globals += f"\non_certificate {program}"
    c.write(SITE)
    c.start()
    wait(p, c)
    eventually(lambda: out.exists() and out.read_text() == f"{NAME} {NAME}\nboth\n", 20)
    c.wait_log("words for the log")
    c.wait_log("on_certificate failed")
    c.stop()
    c.start()
    wait(p, c)
    assert out.read_text().count("both") == 1, "run for a certificate that has not changed"


# ---- mistakes ----


MISTAKES = {
    "key_type rsa1024": "rsa1024",
    "ca localhost": "https://",
    "issuer acme {\n\t\t\tprofil x\n\t\t}": "profile",
    "issuer lego": "acme, zerossl and internal",
    "issuer zerossl": "API key",
    "renewal_window_ratio 2": "0.33",
    "eab one": "eab",
    "ca_root /nonexistent": "/nonexistent cannot be read: No such file",
    "issuer acme {\n\t\t\ttrusted_roots /nonexistent\n\t\t}": "/nonexistent cannot be read",
}


@pytest.mark.parametrize("line", MISTAKES)
def test_mistakes_are_said(tmp_path, line):
    from lib.caddis import command

    path = tmp_path / "Caddyfile"
    path.write_text(with_tls(line))
    done = command("validate", "--config", path)
    assert done.returncode == 1
    assert MISTAKES[line] in done.stderr and "Caddyfile:" in done.stderr, done.stderr


def test_zerossl_by_email(world, folder, cleanup):
    """api.zerossl.com gives the account's binding for an e-mail address, acme.zerossl.com signs: both
    played here, behind a proxy that the environment names."""
    key = base64.urlsafe_b64encode(os.urandom(32)).rstrip(b"=").decode()
    p, c = world("example.com {\n tls {\n issuer zerossl\n }\n respond hello\n}", start=False,
                 ca={"externalAccountBindingRequired": True,
                     "externalAccountMACKeys": {"kid-7": key}})
    asked, refuse = [], [True]
    tls = server_context(*p.authority.issue("api.zerossl.com", "acme.zerossl.com"))

    def api(raw):
        request = raw.read_request()
        asked.append((request.method, request.target, request.body.decode()))
        body = {"success": False, "error": {"code": 2900, "type": "caddy_is_not_amused"}} \
            if refuse else {"success": True, "eab_kid": "kid-7", "eab_hmac_key": key}
        text = json.dumps(body)
        raw.send(f"HTTP/1.1 200 OK\r\nContent-Length: {len(text)}\r\n\r\n{text}".encode())

    def proxy(raw):
        host = raw.read_request().target
        raw.send(b"HTTP/1.1 200 Connection established\r\n\r\n")
        inner = Raw(tls.wrap_socket(raw.sock, server_side=True))
        if host == "api.zerossl.com:443":
            api(inner)
        else:
            assert host == "acme.zerossl.com:443"
            p.mediator.script(inner)

    s = Scripted(proxy)
    cleanup.add(s.finish)
    p.mediator.KINDS = {**p.mediator.KINDS, "v2": "directory"}
    real = p.mediator._ask

    def ask(request):
        request.start = request.start.replace(" /v2/DV90 ", " /dir ")
        return real(request)

    p.mediator._ask = ask
    c.globals = f"email me+acme@example.com\nacme_ca_root {p.ca_root}"
    c.write("example.com {\n tls {\n issuer zerossl\n }\n respond hello\n}")
    c.options["env"] = {"https_proxy": f"http://{s.address}"}
    c.start()
    c.wait_log("ZeroSSL gave no credentials: caddy_is_not_amused", 40)
    assert p.orders == 0
    refuse.clear()
    c.stop()
    shutil.rmtree(c.store / "caddis/schedule", ignore_errors=True)
    c.start()
    c.wait_certificate("example.com", timeout=60, cadata=p.roots())
    assert asked[-1] == ("POST", "/acme/eab-credentials-email", "email=me%2Bacme%40example.com")
    assert (c.store / "certificates/acme.zerossl.com-v2-dv90/example.com").is_dir()
    n = len(asked)
    c.stop()
    c.start()
    c.wait_certificate("example.com", timeout=60, cadata=p.roots())
    assert len(asked) == n and key not in c.log()  # once, for the account
