"""TLS: the local CA, certificates of one's own, choice by SNI, redirects, and what is answered
while there is no certificate yet."""

import re
import ssl
import time
import warnings

import pytest
from lib import certs
from lib.certs import Authority
from lib.origin import Origin, server_context
from lib.ports import free_port
from lib.raw import Closed, tls_context

HELLO = "localhost {\n\trespond hello\n}"


def test_localhost_verifies_with_the_local_root(caddis):
    c = caddis(HELLO)
    der = c.wait_certificate()
    assert certs.names(der) == ["localhost"]
    with c.connect_tls() as connection:
        assert connection.get().body == b"hello"


def test_https_in_front_of_a_plain_origin(caddis, origin):
    o = origin()
    c = caddis(f"localhost {{\n\treverse_proxy {o.address}\n}}")
    c.wait_certificate()
    with c.connect_tls() as connection:
        for i in range(5):
            assert connection.get(f"/{i}").body == f"GET /{i}".encode()
    assert o.last.get("X-Forwarded-Proto") == "https"
    assert o.connections == 1


@pytest.mark.parametrize("size", [1, 16384, 16385, 5000000])
def test_bodies_over_tls(caddis, origin, size):
    from lib.origin import Response

    body = bytes(i % 253 for i in range(size))
    o = origin(lambda r: Response(body=r.body, chunked=True))
    c = caddis(f"localhost {{\n\treverse_proxy {o.address}\n}}")
    c.wait_certificate()
    with c.connect_tls() as connection:
        connection.send(f"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: {size}\r\n\r\n")
        connection.send(body)
        assert connection.read_response().body == body


def test_the_chain_is_root_intermediate_short_leaf(caddis):
    c = caddis(HELLO)
    leaf = certs.parse(c.wait_certificate())
    root = certs.x509.load_pem_x509_certificate(c.root.read_bytes())
    assert certs.lifetime(root).days >= 3599
    assert leaf.issuer != root.subject
    assert certs.lifetime(leaf).days < 8


def test_the_root_stays_over_a_restart(caddis):
    c = caddis(HELLO)
    c.wait_certificate()
    root = c.root.read_bytes()
    c.stop()
    c.start()
    c.wait_certificate()
    assert c.root.read_bytes() == root


@pytest.mark.parametrize("name", ["localhost", "app.localhost", "nas.local", "x.internal",
                                  "y.home.arpa"])
def test_names_for_the_local_ca(caddis, name):
    c = caddis(f"{name} {{\n\trespond hello\n}}")
    assert certs.names(c.wait_certificate(name)) == [name]


def test_ip_address_site(caddis):
    c = caddis("127.0.0.1 {\n\trespond address\n}")
    c.wait_certificate("127.0.0.1", cafile=c.wait_root())
    with c.connect_tls("127.0.0.1") as connection:
        assert connection.get().body == b"address"
    with c.connect_tls("127.0.0.1", sni=None, verify=False) as connection:  # as browsers do it
        assert certs.names(connection.sock.getpeercert(True)) == ["127.0.0.1"]


@pytest.mark.parametrize("how", ["option", "directive"])
def test_public_names_by_the_local_ca_when_asked(caddis, how):
    if how == "option":
        c = caddis("example.com {\n\trespond x\n}", globals="local_certs")
    else:
        c = caddis("example.com {\n\ttls internal\n\trespond x\n}")
    assert certs.names(c.wait_certificate("example.com")) == ["example.com"]


def test_sni_chooses(caddis):
    c = caddis("a.localhost {\n\trespond A\n}\nb.localhost, c.localhost {\n\trespond B\n}")
    for name, body in (("a.localhost", b"A"), ("b.localhost", b"B"), ("c.localhost", b"B")):
        assert certs.names(c.wait_certificate(name)) == [name]
        with c.connect_tls(name) as connection:
            assert connection.get().body == body
    with c.connect_tls("A.LOCALHOST", verify=False) as connection:
        assert certs.names(connection.sock.getpeercert(True)) == ["a.localhost"]


def test_unknown_sni_gets_an_alert(caddis):
    c = caddis(HELLO)
    c.wait_certificate()
    with pytest.raises(ssl.SSLError) as e:
        c.connect_tls("unknown.test", verify=False)
    assert "unrecognized_name" in str(e.value).lower() or "UNRECOGNIZED_NAME" in str(e.value)


@pytest.mark.parametrize("version", ["TLSv1_2", "TLSv1_3"])
def test_tls_versions(caddis, version):
    c = caddis(HELLO)
    c.wait_certificate()
    v = ssl.TLSVersion[version]
    with c.connect_tls(minimum=v, maximum=v) as connection:
        assert connection.sock.version() == version.replace("_", ".")
        assert connection.get().body == b"hello"


def test_old_tls_is_refused(caddis):
    c = caddis(HELLO)
    c.wait_certificate()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_ciphers("DEFAULT@SECLEVEL=0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises((ssl.SSLError, ConnectionError)):
        c.connect_tls(context=context)


def test_alpn(caddis):
    c = caddis(HELLO)
    c.wait_certificate()
    with c.connect_tls(alpn=["http/1.1"]) as connection:
        assert connection.sock.selected_alpn_protocol() == "http/1.1"
    with c.connect_tls(alpn=["spdy/3", "http/1.1"]) as connection:
        assert connection.sock.selected_alpn_protocol() == "http/1.1"
    with c.connect_tls(alpn=None) as connection:
        assert connection.get().body == b"hello"


def test_session_resumption(caddis):
    c = caddis(HELLO)
    c.wait_certificate()
    context = tls_context(cafile=c.root)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with c.connect_tls(context=context) as connection:
        connection.get()
        session = connection.sock.session
    raw = c.connect(c.https)
    with context.wrap_socket(raw.sock, server_hostname="localhost", session=session) as sock:
        assert sock.session_reused


def test_close_notify_at_the_end(caddis):
    """The end of a response without length must be told apart from a cut."""
    c = caddis(HELLO)
    c.wait_certificate()
    context = tls_context(cafile=c.root)
    raw = c.connect(c.https)
    with context.wrap_socket(raw.sock, server_hostname="localhost",
                             suppress_ragged_eofs=False) as sock:
        sock.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        while sock.recv(65536):  # raises SSLEOFError without close_notify
            pass


def test_plain_http_on_the_tls_port(caddis):
    c = caddis(HELLO)
    with c.connect(c.https) as connection:
        connection.send(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        try:
            answer = connection.recv_all()
        except Closed:
            answer = b""
    assert answer == b"" or answer.startswith(b"HTTP/1.") and b" 400 " in answer[:20] \
        or answer[:1] == b"\x15"
    c.wait_certificate()


def test_handshakes_cut_off_hurt_nobody(caddis):
    c = caddis(HELLO)
    c.wait_certificate()
    for data in (b"", b"\x16", b"\x16\x03\x01\x40\x00", b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x03",
                 b"\x80" * 300, b"\x15\x03\x01\x00\x02\x02\x28"):
        with c.connect(c.https) as connection:
            connection.send(data)
            connection.reset()
    c.wait_certificate()


# ---- redirects ----


def test_redirect_keeps_path_and_query(caddis):
    c = caddis(HELLO)
    c.wait_certificate()
    answer = c.get("/a%20b?c=d&e")
    assert answer.status == 308
    assert answer.get("Location") == "https://localhost/a%20b?c=d&e"
    with c.connect() as connection:
        answer = connection.request("POST", "/form", body=b"x", host=f"LOCALHOST:{c.http}")
    assert answer.status == 308
    assert answer.get("Location").lower() == "https://localhost/form"


def test_redirect_names_an_odd_port(caddis):
    """https_port is what 443 leads to and is not named; a site's own odd port is."""
    port = free_port()
    c = caddis(f"localhost:{port} {{\n\trespond hello\n}}")
    c.wait_certificate(port=port)
    assert c.get("/x").get("Location") == f"https://localhost:{port}/x"


def test_redirects_off(caddis):
    c = caddis(HELLO, globals="auto_https disable_redirects")
    c.wait_certificate()
    try:
        assert c.get().status != 308
    except OSError:
        pass  # nothing need listen there


def test_http_site_beside_an_https_site(caddis):
    c = caddis("a.localhost {\n\trespond A\n}\nhttp://b.localhost {\n\trespond B\n}")
    c.wait_certificate("a.localhost")
    assert c.get(host="a.localhost").status == 308
    assert c.get(host="b.localhost").body == b"B"


def test_both_schemes_of_one_name(caddis):
    c = caddis("http://localhost, https://localhost {\n\trespond both\n}")
    c.wait_certificate()
    assert c.get().body == b"both"
    with c.connect_tls() as connection:
        assert connection.get().body == b"both"


# ---- certificates of one's own ----


def test_own_certificate(caddis, authority):
    crt, key = authority.issue("example.com")
    c = caddis(f"example.com {{\n\ttls {crt} {key}\n\trespond own\n}}")
    with c.connect_tls("example.com", cafile=authority.path) as connection:
        assert connection.get().body == b"own"


def test_own_wildcard_certificate(caddis, authority):
    crt, key = authority.issue("*.example.com")
    c = caddis(f"a.example.com, b.example.com {{\n\ttls {crt} {key}\n\trespond own\n}}")
    for name in ("a.example.com", "b.example.com"):
        with c.connect_tls(name, cafile=authority.path) as connection:
            assert connection.get().body == b"own"


def test_own_certificate_that_does_not_match_its_key(caddis, authority):
    crt, _ = authority.issue("example.com")
    _, key = authority.issue("other.com")
    c = caddis(f"example.com {{\n\ttls {crt} {key}\n\trespond own\n}}", start=False)
    c.start(wait=False)
    assert c.wait() == 1
    assert re.search(r"Caddyfile:\d+:\d+", c.log()) and str(crt) in c.log(), c.log()


# ---- TLS towards origins ----


@pytest.fixture
def tls_origin(authority, cleanup):
    crt, key = authority.issue("localhost")
    o = Origin(tls=server_context(crt, key))
    cleanup.add(lambda: (o.errors.clear(), o.finish()))
    return o


def test_https_origin(caddis, tls_origin, authority):
    c = caddis(f"http://localhost {{\n\treverse_proxy https://localhost:{tls_origin.port}\n}}",
               env={"SSL_CERT_FILE": str(authority.path)}, args=["--workers", "1"])
    for _ in range(3):
        assert c.get("/tls").body == b"GET /tls"
    assert tls_origin.connections == 1
    assert tls_origin.last.get("Host") == f"localhost:{tls_origin.port}"


def test_https_origin_of_another_name(caddis, authority, cleanup):
    crt, key = authority.issue("other.test")
    o = Origin(tls=server_context(crt, key))
    cleanup.add(lambda: (o.errors.clear(), o.finish()))
    c = caddis(f"http://localhost {{\n\treverse_proxy https://localhost:{o.port}\n}}",
               env={"SSL_CERT_FILE": str(authority.path)})
    assert c.get().status == 502
    assert o.requests == []


def test_https_origin_that_is_not_trusted(caddis, tls_origin):
    c = caddis(f"http://localhost {{\n\treverse_proxy https://localhost:{tls_origin.port}\n}}")
    answer = c.get()
    assert answer.status == 502
    assert f"localhost:{tls_origin.port}".encode() in answer.body
    assert b"certificate" in answer.body.lower()
    assert tls_origin.requests == []


# ---- no certificate yet ----


@pytest.fixture
def waiting(caddis, folder):
    """A site whose CA cannot be reached."""
    dead = free_port()
    authority = Authority(folder)
    return caddis("example.com {\n\trespond secret\n}",
                  globals=f"acme_ca https://localhost:{dead}/dir\nacme_ca_root {authority.path}")


def test_start_does_not_wait_for_the_ca(waiting):
    assert waiting.process.poll() is None


def test_port_80_says_what_is_being_waited_for(waiting, eventually):
    def told():
        answer = waiting.get(host="example.com")
        assert answer.status == 503
        assert b"secret" not in answer.body
        assert b"example.com" in answer.body
        return re.search(rb"refused|connect", answer.body)

    eventually(told, what="the page does not say what the CA (or the way there) said")


def test_port_443_says_it_at_once_too(waiting):
    started = time.monotonic()
    with waiting.connect_tls("example.com", verify=False) as connection:
        answer = connection.get()
    assert time.monotonic() - started < 5
    assert answer.status == 503
    assert b"example.com" in answer.body and b"secret" not in answer.body


def test_unknown_names_get_no_stand_in(waiting):
    with pytest.raises(ssl.SSLError):
        waiting.connect_tls("unknown.test", verify=False)


def test_a_site_with_a_certificate_is_not_held_up_by_one_without(caddis, folder):
    dead = free_port()
    authority = Authority(folder)
    c = caddis("example.com {\n\trespond x\n}\nlocalhost {\n\trespond hello\n}",
               globals=f"acme_ca https://localhost:{dead}/dir\nacme_ca_root {authority.path}")
    c.wait_certificate()
    with c.connect_tls() as connection:
        assert connection.get().body == b"hello"
    assert c.get().status == 308
    assert c.get(host="example.com").status == 503


