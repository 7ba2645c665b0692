"""Certificates on demand: obtained while the handshake waits, for names that are permitted."""

import socket
import ssl
import threading
import time

import pytest
from lib import certs
from lib.caddis import command
from lib.origin import Response
from lib.ports import free_port
from lib.raw import tls_context

SITE = "https:// {\n tls internal {\n on_demand\n }\n respond \"hello {host}\"\n}"


def permission(answers):
    """A handler that says yes to the names in answers, and remembers who was asked about."""
    asked = []

    def handler(request):
        asked.append(request.target)
        name = request.target.split("domain=")[1]
        return Response(status=200 if name in answers else 404)

    return handler, asked


def shake(c, name, ca=None):
    context = tls_context(cadata=ca.roots()) if ca else tls_context(cafile=c.wait_root())
    with c.connect_tls("localhost", sni=name, context=context) as connection:
        return certs.names(connection.sock.getpeercert(True)), connection.get(host=name).body


@pytest.fixture
def context_without_names(monkeypatch):
    """The names are not those that are connected to."""
    import lib.raw

    real = lib.raw.tls_context

    def make(**options):
        context = real(**options)
        context.check_hostname = False
        return context

    monkeypatch.setattr(lib.raw, "tls_context", make)
    monkeypatch.setitem(globals(), "tls_context", make)


pytestmark = pytest.mark.usefixtures("context_without_names")


def test_a_permitted_name_and_another(caddis, origin):
    handler, asked = permission({"yes.test"})
    o = origin(handler)
    c = caddis("localhost {\n respond x\n}\n" + SITE,
               globals=f"on_demand_tls {{\n ask http://{o.address}/check?key=1\n }}",
               env={"http_proxy": "http://127.0.0.1:1"})  # what is on this machine is at no proxy
    assert shake(c, "yes.test") == (["yes.test"], b"hello yes.test")
    assert shake(c, "yes.test")[1] == b"hello yes.test"
    assert asked == ["/check?key=1&domain=yes.test"]
    for _ in range(3):
        with pytest.raises(ssl.SSLError, match="(?i)unrecognized.name"):
            shake(c, "no.test")
    assert asked[1:] == ["/check?key=1&domain=no.test"]  # the refusal is remembered
    c.reload()
    assert shake(c, "yes.test")[1] == b"hello yes.test"  # still there
    c.stop()
    c.start()
    assert shake(c, "yes.test")[1] == b"hello yes.test"  # from the store, asked for again
    assert asked[2:] == ["/check?key=1&domain=yes.test"]


def test_many_handshakes_one_question(caddis, origin):
    gate = threading.Event()
    handler, asked = permission({"busy.test"})

    def slow(request):
        gate.wait(30)
        return handler(request)

    o = origin(slow)
    c = caddis("localhost {\n respond x\n}\n" + SITE,
               globals=f"on_demand_tls {{\n permission http http://{o.address}/\n }}")
    c.wait_certificate()
    results = []
    threads = [threading.Thread(target=lambda: results.append(shake(c, "busy.test")))
               for _ in range(100)]
    for t in threads:
        t.start()
    # Nothing is held up meanwhile.
    for _ in range(5):
        with c.connect_tls() as connection:
            assert connection.get().body == b"x"
    assert not results
    gate.set()
    for t in threads:
        t.join(60)
    assert [r[1] for r in results] == [b"hello busy.test"] * 100
    assert len(asked) == 1
    assert len(list(c.store.glob("certificates/local/*.test"))) == 1


def test_a_public_ca_makes_one_order_for_all(caddis, pebble, origin):
    """A hundred handshakes at once; then a restart, with the CA gone."""
    handler, asked = permission({"busy.test"})
    o = origin(handler)
    ports = free_port(), free_port()
    p = pebble(*ports)
    c = caddis("localhost {\n respond x\n}\n" + SITE.replace("tls internal", "tls"),
               http=ports[0], https=ports[1],
               globals=f"{p.globals}\non_demand_tls {{\n ask http://{o.address}/\n }}")
    results = []
    threads = [threading.Thread(target=lambda: results.append(shake(c, "busy.test", p)))
               for _ in range(100)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(60)
    assert [r[1] for r in results] == [b"hello busy.test"] * 100
    assert p.orders == 1 and len(asked) == 1
    done = c.command("revoke", "busy.test", "--config", c.file)
    assert done.returncode == 0, done.stderr
    done = c.command("renew", "busy.test", "--config", c.file)
    assert done.returncode == 0 and "new certificate" in done.stdout, done.stderr
    c.stop()
    roots = p.roots()
    p.roots = lambda: roots
    p.stop()
    p.mediator.stop_listening()
    c.start()
    assert shake(c, "busy.test", p)[1] == b"hello busy.test"


def test_a_public_ca_that_refuses(caddis, pebble, origin):
    """The handshake ends when the order has failed, and the failure is remembered."""
    o = origin(permission({"bad.test"})[0])
    ports = free_port(), free_port()
    p = pebble(*ports, unresolvable=["bad.test"])
    c = caddis("localhost {\n respond x\n}\n" + SITE.replace("tls internal", "tls"),
               http=ports[0], https=ports[1],
               globals=f"{p.globals}\non_demand_tls {{\n ask http://{o.address}/\n }}")
    for _ in range(5):
        with pytest.raises((ssl.SSLError, ConnectionError)):
            shake(c, "bad.test", p)
    assert p.orders == 2, "one for each type of challenge"


@pytest.mark.parametrize("line, words", [
    ("dns nosuch", "nosuch"),
    ("dns cloudflare", "cloudflare"),
    ("issuer zerossl", "API key"),
    ("issuer acme {\n disable_http_challenge\n disable_tlsalpn_challenge\n }", "disabled"),
])
def test_mistakes_are_said_before_the_first_handshake(tmp_path, line, words):
    path = tmp_path / "Caddyfile"
    path.write_text("{\n on_demand_tls {\n allow a.test\n }\n}\n"
                    f"*.test {{\n tls {{\n on_demand\n {line}\n }}\n respond w\n}}\n")
    done = command("validate", "--config", path)
    assert done.returncode == 1 and words in done.stderr and "Caddyfile:" in done.stderr


def test_the_list_of_names(caddis):
    c = caddis("localhost {\n respond x\n}\n*.test {\n tls internal {\n on_demand\n }\n respond w\n}\n"
               "listed.example {\n tls internal {\n on_demand\n }\n respond l\n}",
               globals="on_demand_tls {\n allow a.test *.b.test\n }")
    assert shake(c, "a.test") == (["a.test"], b"w")
    assert shake(c, "listed.example") == (["listed.example"], b"l")
    for name in "x.test", "x.b.test", "elsewhere.example":
        with pytest.raises(ssl.SSLError):
            shake(c, name)
    assert not list(c.store.glob("certificates/local/x.test"))


def test_a_client_that_asks_for_too_many(caddis, origin):
    handler, asked = permission(set())
    o = origin(handler)
    c = caddis("localhost {\n respond x\n}\n" + SITE,
               globals=f"on_demand_tls {{\n ask http://{o.address}/\n }}")
    for i in range(15):
        with pytest.raises(ssl.SSLError):
            shake(c, f"n{i}.test")
    assert len(asked) == 10


def test_nobody_to_ask(caddis):
    c = caddis("localhost {\n respond x\n}\n" + SITE,
               globals="on_demand_tls {\n ask http://127.0.0.1:1/\n }")
    with pytest.raises(ssl.SSLError):
        shake(c, "a.test")
    c.wait_log("permission could not be asked")
    done = c.command("validate", "--config", c.file)
    assert done.returncode == 0
    c.file.write_text(SITE)
    done = c.command("validate", "--config", c.file)
    assert done.returncode != 0 and "need somebody who permits them" in done.stdout + done.stderr


def test_a_renewal_asks_again(caddis, origin):
    """Short-lived certificates: renewed as long as that is permitted, then not even served. Who
    permits and is broken (503) has said nothing. Many that fall due at once leave room to others."""
    answers = {f"{i}.test" for i in range(6)} | {"a.test", "new.test"}
    handler, asked = permission(answers)
    gate, hanging, most, broken = threading.Event(), [], [], []

    def moody(request):
        if broken and not request.target.endswith("new.test"):
            hanging.append(1)
            most.append(len(hanging))
            gate.wait(60)
            hanging.pop()
            asked.append(request.target)
            return Response(status=503)
        return handler(request)

    o = origin(moody)
    c = caddis("localhost {\n respond x\n}\nhttps:// {\n tls {\n on_demand\n issuer internal {\n"
               " lifetime 12s\n }\n }\n respond hello\n}",
               globals=f"on_demand_tls {{\n ask http://{o.address}/\n }}")
    first = shake(c, "a.test")
    assert first == (["a.test"], b"hello") and len(asked) == 1
    for i in range(6):
        shake(c, f"{i}.test")
    broken.append(1)
    end = time.monotonic() + 60
    while not most or max(most) < 4:
        assert time.monotonic() < end, c.log()
        time.sleep(0.05)
    assert shake(c, "new.test")[1] == b"hello"
    assert max(most) == 4
    gate.set()
    c.wait_log("neither a yes nor a no")
    end = time.monotonic() + 60
    while c.log().count("local certificate issued\",\"name\":\"a.test") < 2:
        assert time.monotonic() < end, c.log()
        time.sleep(0.1)
    assert "permitted no longer" not in c.log()
    broken.clear()
    answers.clear()
    c.wait_log('nor served","name":"a.test"', 60)
    with pytest.raises(ssl.SSLError, match="(?i)unrecognized.name"):
        shake(c, "a.test")


def test_who_is_asked_and_never_answers(caddis, scripted):
    """When all that can be asked at a time hang, others are refused at once instead of waiting in
    line behind them, and what is served goes on."""
    gate = threading.Event()
    s = scripted(lambda raw: gate.wait(60))
    c = caddis("localhost {\n respond x\n}\n" + SITE,
               globals=f"on_demand_tls {{\n ask http://{s.address}/\n }}")
    context = tls_context(cafile=c.wait_root())
    c.wait_certificate()

    def try_from(address, name):
        with socket.create_connection(("127.0.0.1", c.https), 60, (address, 0)) as plain:
            with pytest.raises((ssl.SSLError, ConnectionError)):
                context.wrap_socket(plain, server_hostname=name)

    threads = [threading.Thread(target=try_from, args=(f"127.0.0.{10 + i % 4}", f"n{i}.test"))
               for i in range(24)]
    for t in threads:
        t.start()
    end = time.monotonic() + 30
    while s.connections < 16:
        assert time.monotonic() < end
        time.sleep(0.05)
    # Once none of them has had an answer for a while, a newcomer is told at once.
    quick = threading.Event()

    def newcomer(i):
        begun = time.monotonic()
        try_from(f"127.0.1.{i}", f"late{i}.test")
        if time.monotonic() - begun < 2:
            quick.set()

    for i in range(10, 20):
        threads.append(threading.Thread(target=newcomer, args=(i,)))
        threads[-1].start()
        if quick.wait(0.7):
            break
    assert quick.is_set() and s.connections == 16
    assert c.get(host="elsewhere").status in (200, 308)
    c.wait_certificate()
    for t in threads:
        t.join(60)
    gate.set()
