"""Proving a name: HTTP-01 and TLS-ALPN-01 in turn, and from a store that several instances share."""

import json
import socket
import ssl

import pytest
from cryptography import x509
from lib import certs
from lib.ports import free_port

NAME = "example.com"
SITE = NAME + " {\n\trespond hello\n}"


def closed_port():
    """A port on which nobody listens."""
    return free_port()


@pytest.fixture
def world(caddis, pebble):
    """world(...): a CA and a caddis that asks it for SITE; returns both. http, https: where the CA
    looks, if not at caddis's ports."""

    def make(site=SITE, globals="", http=None, https=None, **options):
        ports = free_port(), free_port()
        p = pebble(http or ports[0], https or ports[1])
        c = caddis(site, http=ports[0], https=ports[1], globals=p.globals + "\n" + globals,
                   **options)
        return p, c

    return make


def wait(p, c, name=NAME):
    return c.wait_certificate(name, timeout=40, cadata=p.roots())


def worked(c, name=NAME):
    return json.loads((c.store / f"caddis/challenge/{name}.json").read_text())["type"]


def test_http_first(world):
    p, c = world()
    assert certs.names(wait(p, c)) == [NAME]
    assert p.orders == 1 and worked(c) == "http-01"


def test_a_blocked_http_port_falls_back_to_tls_alpn(world):
    """And it is remembered: the next certificate is proven by TLS-ALPN-01 at once."""
    p, c = world(http=closed_port())
    wait(p, c)
    assert p.orders == 2 and worked(c) == "tls-alpn-01"
    c.stop()
    for path in (c.store / "certificates").rglob(NAME + ".*"):
        path.unlink()
    c.start()
    wait(p, c)
    assert p.orders == 3
    # The answers are gone, in memory and in the store.
    assert not list((c.store / "acme").rglob("challenge_tokens/*.json"))
    with pytest.raises((ssl.SSLError, ConnectionError)):
        hello(c, NAME)


def test_a_blocked_https_port_falls_back_to_http(world):
    p, c = world(https=closed_port(), start=False)
    (c.store / "caddis/challenge").mkdir(parents=True)
    (c.store / f"caddis/challenge/{NAME}.json").write_text('{"type":"tls-alpn-01"}')
    c.start()
    wait(p, c)
    assert p.orders == 2 and worked(c) == "http-01"


def test_both_ports_blocked_is_one_order_for_each(world, eventually):
    p, c = world(http=closed_port(), https=closed_port())
    c.wait_log("no certificate", timeout=40)
    line = next(n for n in c.log().splitlines() if "no certificate" in n and NAME in n)
    assert "by http-01" in line and "then: by tls-alpn-01" in line, line
    assert p.orders == 2


def hello(c, name, alpn=("acme-tls/1",), version=None):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(list(alpn))
    if version:
        context.maximum_version = version
    sock = socket.create_connection(("127.0.0.1", c.https), 10)
    sock.settimeout(20)
    return context.wrap_socket(sock, server_hostname=name)


TOKEN = "evaGxfADs6pSRb2LAv9IZf17Dt3juxGJ-PCt92wr-oA"
ANSWER = TOKEN + ".nP1qzpXGymHBrUEepNY9HCsQk7K8KhOypzEt62jcerQ"


def put_answer(c, folder, name, tmp):
    """What another instance on the same store would have put there."""
    crt, key = certs.Authority(tmp).issue(name)
    path = c.store / folder / f"{name.replace(':', '-')}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({
        "type": "tls-alpn-01", "token": TOKEN, "keyAuthorization": ANSWER,
        "identifier": {"type": "dns", "value": name},
        "certificate": crt.read_text() + key.read_text()}))
    return x509.load_pem_x509_certificate(crt.read_bytes())


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_an_answer_of_another_instance(caddis, folder, version):
    """It is in the store; the handshake waits for it and nothing follows the handshake."""
    c = caddis("localhost {\n\trespond hello\n}")
    expected = put_answer(c, "acme/ca.example-dir/challenge_tokens", "shared.example", folder)
    with hello(c, "shared.example", version=version) as tls:
        assert tls.selected_alpn_protocol() == "acme-tls/1"
        assert x509.load_der_x509_certificate(tls.getpeercert(True)) == expected
        assert tls.recv(1) == b""
        assert not tls.session_reused and (not tls.session or not tls.session.has_ticket)


def test_only_the_challenges_own_hello_is_answered_with_it(caddis, folder):
    c = caddis("localhost {\n\trespond hello\n}")
    put_answer(c, "acme/ca.example-dir/challenge_tokens", "localhost", folder)
    c.wait_certificate("localhost")
    for alpn in (("http/1.1",), ("http/1.1", "acme-tls/1"), ("acme-tls/1", "h2")):
        with hello(c, "localhost", alpn) as tls:
            assert tls.selected_alpn_protocol() in ("http/1.1", "h2")
    for name in ("unknown.example", "a" * 60 + ".example", "1.0.0.127.in-addr.arpa"):
        with pytest.raises((ssl.SSLError, ConnectionError)):
            hello(c, name)


def test_an_address_by_tls_alpn(world):
    """RFC 8738: the handshake's name is the address's reverse name."""
    p, c = world("127.0.0.1 {\n\ttls {\n\t\tissuer acme {\n\t\t\tdisable_http_challenge\n\t\t}\n"
                 "\t}\n\trespond hello\n}")
    c.wait_log("certificate obtained", timeout=40)
    assert p.orders == 1 and '"type":"tls-alpn-01"' in c.log()


@pytest.mark.parametrize("disabled, line", [("http", "alt_tlsalpn_port"),
                                            ("tlsalpn", "alt_http_port")])
def test_other_ports(world, disabled, line):
    """The CA is led to a port that has nothing but challenges."""
    port = free_port()
    where = {"http": port} if line == "alt_http_port" else {"https": port}
    p, c = world(f"{NAME} {{\n\ttls {{\n\t\tissuer acme {{\n\t\t\tdisable_{disabled}_challenge\n"
                 f"\t\t\t{line} {port}\n\t\t}}\n\t}}\n\trespond hello\n}}", **where)
    wait(p, c)
    assert p.orders == 1
