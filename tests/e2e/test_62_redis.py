"""One store for several machines, on a real Redis server: one order between them, any of them
answers the challenge, and what a server that is away may and may not do."""

import signal
import socket
import ssl
import time

import pytest
from lib import certs
from lib.pebble import once
from lib.ports import free_port

NAME = "example.com"
SITE = NAME + " {\n\trespond hello\n}"
KEY = "0123456789abcdef" * 4


def storage(r, *lines):
    return "\n".join(["storage redis {", f"address {r.address}", *lines, "}"])


@pytest.fixture
def machines(caddis, pebble, redis):
    """machines(count): a CA that validates at the first one, a Redis, and caddis processes that
    share it; not started. door: the first one has another site."""

    def make(count=2, lines=(), ca=None, door=False):
        r = redis()
        ports = [(free_port(), free_port()) for _ in range(count)]
        p = pebble(*ports[0], **(ca or {}))
        made = [caddis(SITE, http=h, https=s, globals=p.globals + "\nrenew_interval 1s",
                       storage=storage(r, *lines), start=False) for h, s in ports]
        if door:
            made[0].write("http://other.test {\n\trespond other\n}")
        return r, p, made

    return make


def test_one_order_for_all(machines):
    r, p, (a, b) = machines(lines=["key_prefix site", "db 3"])
    a.start(wait=False)
    b.start(wait=False)
    a.wait_ready()
    b.wait_ready()
    ders = [c.wait_certificate(NAME, cadata=p.roots(), timeout=60) for c in (a, b)]
    assert ders[0] == ders[1]
    assert p.orders == 1
    keys = set(r.cli("-n", "3", "keys", "*").decode().split())
    assert f"site:v:certificates/localhost-{p.mediator.port}-dir/{NAME}/{NAME}.key" in keys
    assert not [k for k in keys if not k.startswith("site:")]
    assert not [k for k in keys if ".new" in k or ":l:" in k], keys
    # Both go on with what is there.
    a.stop()
    a.start()
    assert a.wait_certificate(NAME, cadata=p.roots()) == ders[0]
    assert p.orders == 1


def test_another_machine_answers_the_challenge(machines):
    """The CA comes to a machine that does not even have the site."""
    r, p, (door, a) = machines(door=True)
    door.start()
    a.start()
    assert certs.names(a.wait_certificate(NAME, cadata=p.roots(), timeout=60)) == [NAME]
    assert p.orders == 1
    assert not r.keys("caddis:v:acme/*/challenge_tokens/*")


def test_a_dead_holder_is_taken_over(machines):
    """Killed in the middle of an order, holding the lock: the other one goes on with its order."""
    r, p, (door, a, b) = machines(3, door=True)
    door.start()
    p.mediator.rules.append(once("finalize", "hang"))
    a.start()
    while not p.mediator.seen_count("finalize"):
        time.sleep(0.05)
    b.start()
    b.wait_log(NAME)
    assert r.keys("caddis:l:issue_cert*")
    a.kill()
    b.wait_certificate(NAME, cadata=p.roots(), timeout=60)
    assert p.orders == 1


def test_a_server_that_goes_away_harms_nothing_that_is_served(machines, eventually):
    r, p, (a, b) = machines()
    a.start()
    der = a.wait_certificate(NAME, cadata=p.roots(), timeout=60)
    r.stop()
    a.wait_log("Redis cannot be used now")
    for _ in range(3):
        with a.connect_tls(NAME, cadata=p.roots()) as c:
            assert c.sock.getpeercert(True) == der
            assert c.get().body == b"hello"
    # A machine that starts meanwhile starts, orders nothing, and has the certificate afterwards.
    b.start()
    b.wait_log("the store cannot be written")
    assert b.get(host="elsewhere").status in (200, 308)
    assert p.orders == 1
    r.start()
    assert b.wait_certificate(NAME, cadata=p.roots(), timeout=60) == der
    a.wait_log("Redis is there again")
    assert p.orders == 1


def test_a_server_that_accepts_and_says_nothing(caddis, redis, pebble, scripted):
    """It holds up neither the start nor anything served; once it answers, the store is joined."""
    r = redis()
    p = pebble(*(ports := (free_port(), free_port())))
    a = caddis(SITE, http=ports[0], https=ports[1], globals=p.globals, storage=storage(r))
    der = a.wait_certificate(NAME, cadata=p.roots(), timeout=60)
    a.stop()
    r.stop()
    silent = socket.create_server(("127.0.0.1", r.port))
    silent.listen(64)
    begun = time.monotonic()
    a.start()
    assert time.monotonic() - begun < 4.5, "it waited for the whole time-out"
    assert a.get(host="elsewhere").status in (200, 308)
    a.wait_log("Redis cannot be used now")
    assert p.orders == 1
    silent.close()
    r.start()
    assert a.wait_certificate(NAME, cadata=p.roots(), timeout=60) == der
    # It falls silent while it is in use: visitors and reloads do not notice.
    r.process.send_signal(signal.SIGSTOP)
    a.reload()
    with a.connect_tls(NAME, cadata=p.roots()) as c:
        assert c.sock.getpeercert(True) == der and c.get().body == b"hello"
    r.process.send_signal(signal.SIGCONT)
    assert p.orders == 1

def test_what_comes_while_it_is_away_is_kept_and_stored_later(machines, eventually):
    r, p, (a,) = machines(1)
    p.mediator.rules.append(once("certificate", lambda: r.stop()))
    a.start()
    a.wait_certificate(NAME, cadata=p.roots(), timeout=60)
    a.wait_log("could not be saved")
    r.start()
    a.wait_log("the certificate is saved now", 60)
    assert r.keys(f"caddis:v:certificates/*/{NAME}.crt")
    assert p.orders == 1


def test_a_server_that_forgets_everything_costs_no_order(machines, eventually):
    """A Redis that keeps nothing on disk and begins anew: what is served is put back, by one."""
    r, p, both = machines()
    for c in both:
        c.start()
    der = both[0].wait_certificate(NAME, cadata=p.roots(), timeout=60)
    assert both[1].wait_certificate(NAME, cadata=p.roots(), timeout=60) == der
    r.cli("flushall")
    eventually(lambda: any("it is put back" in c.log() for c in both), timeout=60)
    for c in both:
        c.stop()
        c.start()
        assert c.wait_certificate(NAME, cadata=p.roots(), timeout=60) == der
    assert p.orders == 1


def test_values_are_encrypted_with_a_key(machines, caddis):
    r, p, (a, b) = machines(lines=[f"encryption_key {KEY}"])
    a.start()
    der = a.wait_certificate(NAME, cadata=p.roots(), timeout=60)
    values = [r.cli("get", k) for k in r.keys("caddis:v:*")]
    assert values
    for value in values:
        assert value[:1] == b"s" and b"BEGIN" not in value and b"http" not in value
    b.start()
    assert b.wait_certificate(NAME, cadata=p.roots(), timeout=60) == der
    assert p.orders == 1
    # A value in another's place is not taken for it.
    a.stop()
    b.stop()
    key = r.keys("caddis:v:certificates/*.key")[0]
    crt = r.keys("caddis:v:certificates/*.crt")[0]
    r.cli("copy", crt, key, "replace")
    for prev in r.keys("caddis:v:certificates/*.prev"):
        r.cli("del", prev)
    a.start()
    a.wait_log("set aside")
    assert a.wait_certificate(NAME, cadata=p.roots(), timeout=60) != der


WRONG = {
    "another key": (f"encryption_key {'f' * 64}", "encrypted with another encryption_key"),
    "no key": ("", "is encrypted: set encryption_key"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_encryption_key_is_told(caddis, redis, case):
    line, says = WRONG[case]
    r = redis()
    a = caddis("a.localhost {\n\trespond hello\n}",
               storage=storage(r, f"encryption_key {KEY}"))
    a.wait_log("local certificate issued")
    a.stop()
    before = r.keys("caddis:v:*")
    b = caddis("a.localhost {\n\trespond hello\n}", storage=storage(r, line))
    b.wait_log(says)
    b.stop()
    assert r.keys("caddis:v:*") == before


def test_sessions_resume_on_another_machine_and_after_a_restart(caddis, redis):
    r = redis()
    a, b = (caddis("http://a.localhost, https://a.localhost {\n\trespond hello\n}",
                   storage=storage(r, f"encryption_key {KEY}")) for _ in range(2))
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE

    def visit(c, session=None):
        with socket.create_connection(("127.0.0.1", c.https), 20) as plain:
            with context.wrap_socket(plain, server_hostname="a.localhost", session=session) as s:
                s.sendall(b"GET / HTTP/1.1\r\nHost: a.localhost\r\n\r\n")
                assert s.recv(4096)
                return s.session, s.session_reused

    for c in (a, b):
        c.wait_log('"name":"a.localhost"')
    a.wait_log("certificate")
    end = time.monotonic() + 30
    while not (session := visit(a)[0]) or not session.has_ticket:
        assert time.monotonic() < end
    assert visit(a, session)[1]
    end = time.monotonic() + 30
    while not visit(b, session)[1]:  # until its certificate is there
        assert time.monotonic() < end
    b.stop()
    b.start()
    assert visit(b, session)[1]
    value = r.cli("get", "caddis:v:caddis/ticket_keys")
    assert value[:1] == b"s" and b"caddis ticket keys" not in value


def test_passwords(caddis, redis):
    r = redis("--requirepass", "sesam")
    r.cli("acl", "setuser", "alice", "on", ">wonderland", "~caddis:*", "+@all", password="sesam")
    sites = "a.localhost {\n\trespond hello\n}"
    for lines, says in [(["password wrong"], "refuses the password"),
                        ([], "it wants a password")]:
        c = caddis(sites, storage=storage(r, *lines))
        c.wait_log(says)
        assert "sesam" not in c.log() and "wrong" not in c.log().replace("WRONGPASS", "")
        c.stop()
    for lines in (["password sesam"], ["username alice", "password wonderland"]):
        c = caddis(sites, storage=storage(r, *lines))
        c.wait_log("certificate")
        c.wait_log("a.localhost")
        c.stop()
    assert b"caddis:v:pki/authorities/local/root.crt" in r.cli("keys", "*", password="sesam")


def test_tls(caddis, redis, authority):
    r = redis(tls=authority.issue("localhost", "127.0.0.1"))
    sites = "a.localhost {\n\trespond hello\n}"
    c = caddis(sites, storage=storage(r, "tls_enabled true"))
    c.wait_log("its certificate is refused")
    c.stop()
    for lines in ([f"tls_server_certs_path {authority.path}"], ["tls_insecure true"]):
        c = caddis(sites, storage=storage(r, "tls_enabled true", *lines))
        c.wait_log("local certificate issued" if lines[0].startswith("tls_s") else "found in the")
        c.stop()
