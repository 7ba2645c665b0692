"""Bodies that are collected first (request_buffers, response_buffers), and how connections to
origins are made (local_address, tls_curves, tls_except_ports, tls_timeout)."""

import re
import ssl
import time

import pytest
from lib.frames import WINDOW_UPDATE, Frames
from lib.origin import Response
from lib.raw import Closed

H2C = "servers {\n\tprotocols h1 h2 h2c\n}"
SITE = "http://localhost {\n\treverse_proxy %s {\n%s\n\t}\n}"


def site(address, *lines):
    return SITE % (address, "\n".join(lines))


def echo(request):
    return Response(body=request.body)


BODY = bytes(range(256)) * 1000


def chunked(body, step=10000):
    return b"".join(b"%x\r\n%s\r\n" % (len(p), p) for p in
                    (body[i:i + step] for i in range(0, len(body), step))) + b"0\r\n\r\n"


def post(connection, body=BODY, path=b"/"):
    connection.send(b"POST " + path + b" HTTP/1.1\r\nHost: localhost\r\n"
                    b"Transfer-Encoding: chunked\r\n\r\n" + chunked(body))
    return connection.read_response("POST")


def post_h2(f, body=BODY, path="/"):
    """Within the windows that the server gives at the start and gives again."""
    f.handshake()
    stream = f.headers(f.fields("POST", path), end=False)
    sent = 0
    while sent < len(body):
        credit = {0: 65535, stream: f.peer[4]}
        for x in f.seen:
            if x.kind == WINDOW_UPDATE and x.stream in credit:
                credit[x.stream] += int.from_bytes(x.payload, "big")
        n = min(len(body) - sent, 16384, min(credit.values()) - sent)
        if n:
            f.data(stream, body[sent:sent + n], end=sent + n == len(body))
            sent += n
        else:
            f.until(WINDOW_UPDATE)
    return f.answer(stream)


def test_a_collected_request_has_a_length(caddis, origin):
    o = origin(echo)
    c = caddis(site(o.address, "request_buffers 1MB"), globals=H2C)
    with c.connect() as connection:
        assert post(connection).body == BODY
        assert (o.last.framing, len(o.last.body)) == ("length", len(BODY))
        assert connection.request("POST", "/", body=b"abc").body == b"abc"
        assert connection.get().status == 200
    with Frames(c.connect()) as f:
        a = post_h2(f)
        assert (a.status, a.body, o.last.framing) == (200, BODY, "length")


def test_what_is_larger_goes_on_as_it_comes(caddis, origin):
    o = origin(echo)
    c = caddis(site(o.address, "request_buffers 100KB"))
    with c.connect() as connection:
        assert post(connection, BODY * 12).body == BODY * 12
        assert o.last.framing == "chunked"
        # Trailers need chunks.
        connection.send(b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
                        b"3\r\nabc\r\n0\r\nX-T: u\r\n\r\n")
        assert connection.read_response("POST").body == b"abc"
        assert o.last.framing == "chunked" and o.last.trailer("X-T") == "u"


def test_the_largest_that_can_be_collected(caddis, origin):
    o = origin(lambda r: Response(body=str(len(r.body))))
    c = caddis(site(o.address, "request_buffers 10MiB"))
    for size in ((10 << 20) - 1, 10 << 20, (10 << 20) + 300000):
        with c.connect() as connection:
            assert post(connection, b"x" * size).body == str(size).encode()


def test_no_origin_is_asked_before_it_is_there(caddis, origin, eventually):
    o = origin(echo)
    c = caddis(site(o.address, "request_buffers 1MB"))
    with c.connect() as connection:
        connection.send(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n"
                        b"Expect: 100-continue\r\n\r\n")
        connection.expect(b"HTTP/1.1 100 Continue\r\n\r\n")
        connection.send(b"01234")
        with c.connect() as other:
            assert other.get("/other").status == 200
        assert o.connections == 1 and [r.target for r in o.requests] == ["/other"]
        connection.send(b"56789")
        assert connection.read_response("POST").body == b"0123456789"
    before = c.descriptors()
    for n in range(20):  # clients that leave meanwhile
        connection = c.connect()
        connection.send(b"POST /left HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n0123")
        connection.reset() if n % 2 else connection.close()
    eventually(lambda: c.descriptors() <= before)
    assert "/left" not in [r.target for r in o.requests]


@pytest.mark.parametrize("version", ["h1", "h2"])
@pytest.mark.parametrize("buffers", ["request_buffers 1MB", ""], ids=["collected", "not"])
def test_a_collected_request_can_be_sent_again(caddis, scripted, version, buffers):
    """The first origin connection takes it all and breaks; only who still has the body may try
    again."""
    got = []

    def script(raw):
        request = raw.read_request()
        got.append(request.body)
        if len(got) > 1:
            raw.send(Response(body=b"done").head() + b"done")

    o = scripted(script)
    c = caddis(site(o.address, buffers, "lb_retries 3", "lb_try_interval 10ms",
                    "lb_retry_match method POST"), globals=H2C)
    if version == "h1":
        with c.connect() as connection:
            status = post(connection).status
    else:
        with Frames(c.connect()) as f:
            status = post_h2(f).status
    if buffers:
        assert status == 200 and got == [BODY, BODY]
    else:
        assert status == 502 and got == [BODY]


def test_limits_and_malformed_bodies_while_collecting(caddis, origin):
    o = origin(echo)
    c = caddis(site(o.address, "request_buffers 1MB"), globals="servers {\n\tmax_request_body 100KB"
               "\n\ttimeouts {\n\t\tread_body_idle 1s\n\t}\n}")
    for body, status in ((chunked(BODY), 413), (b"5\r\nhello\r\nzz\r\n", 400), (b"5\r\nhel", 408)):
        with c.connect() as connection:
            try:
                connection.send(b"POST / HTTP/1.1\r\nHost: localhost\r\n"
                                b"Transfer-Encoding: chunked\r\n\r\n" + body)
            except Closed:
                pass
            assert connection.read_response("POST").status == status
    assert not o.requests


# ---- responses ----

CASES = {  # what the origin sends after the head, the status, the body
    "whole": (b"Content-Length: 5\r\n\r\nhello", 200, b"hello"),
    "chunked": (b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", 200, b"hello"),
    "to the end": (b"\r\nhello", 200, b"hello"),
    "empty": (b"Content-Length: 0\r\n\r\n", 200, b""),
    "cut off": (b"Content-Length: 50\r\n\r\nhello", 502, None),
    "garbage": (b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nzz\r\n", 502, None),
    "larger": (b"Content-Length: 300000\r\n\r\n" + b"x" * 300000, 200, b"x" * 300000),
}


@pytest.mark.parametrize("version", ["h1", "h2"])
def test_collected_responses(caddis, scripted, version):
    """Broken before anything was sent: the client is told so with a status."""
    def script(raw):
        name = raw.read_request().target[1:].replace("%20", " ")
        raw.send(b"HTTP/1.1 200 OK\r\nConnection: close\r\n" + CASES[name][0])

    c = caddis(site(scripted(script).address, "response_buffers 64KiB"), globals=H2C)
    for name, (_, status, body) in CASES.items():
        path = "/" + name.replace(" ", "%20")
        if version == "h1":
            a = c.get(path)
        else:
            with Frames(c.connect()) as f:
                a = f.get(path)
        assert a.status == status and body in (None, a.body), name


def test_a_collected_response_comes_when_it_is_whole(caddis, scripted, eventually):
    def script(raw):
        while raw.read_request().target == "/slow":
            raw.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n01234")
            go.append(raw)
            return eventually(lambda: not go)

    go = []
    o = scripted(script)
    c = caddis(site(o.address, "response_buffers 64KiB", "transport http {", "read_timeout 2s", "}"))
    with c.connect() as connection:
        connection.send(b"GET /slow HTTP/1.1\r\nHost: localhost\r\n\r\n")
        eventually(lambda: go)
        connection.expect_nothing(0.3)
        go[0].send(b"56789")
        go.clear()
        assert connection.read_response().body == b"0123456789"
        connection.send(b"GET /slow HTTP/1.1\r\nHost: localhost\r\n\r\n")
        eventually(lambda: go)
        assert connection.read_response().status == 504  # silent inside the body
        go.clear()
    left = c.connect()
    left.send(b"GET /slow HTTP/1.1\r\nHost: localhost\r\n\r\n")
    eventually(lambda: go)
    left.reset()  # while it is being collected: the origin is let go
    assert go[0].closed()
    go.clear()


# ---- connections ----


def test_local_address(caddis, scripted):
    peers = []

    def script(raw):
        raw.read_request()
        peers.append(raw.sock.getpeername()[0])
        raw.send(Response(body=b"ok").head() + b"ok")

    o = scripted(script)
    c = caddis(site(o.address, "transport http {", "local_address 127.0.0.9", "}"))
    assert c.get().status == 200 and peers == ["127.0.0.9"]
    for local in ("::1", "192.0.2.77"):  # another family; not this machine's
        c.reload(site(o.address, "transport http {", f"local_address {local}", "}"))
        assert c.get().status in (502, 503)


def test_tls_except_ports(caddis, origin):
    o = origin()
    c = caddis(site(o.address, "transport http {", "tls", f"tls_except_ports {o.port}", "}"))
    assert c.get().status == 200


def test_tls_curves_and_timeout(caddis, scripted, authority):
    cert, key = authority.issue("localhost")
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(str(cert), str(key))
    server.set_ecdh_curve("secp521r1")

    def script(raw):
        raw.read_request()
        raw.send(Response(body=b"ok").head() + b"ok")

    o = scripted(script, tls=server)
    o.closing = True  # handshakes fail, as they must
    lines = ("transport http {", f"tls_trust_pool file {authority.path}")
    to = f"https://localhost:{o.port}"
    c = caddis(site(to, *lines, "tls_curves secp384r1 secp521r1", "}"))
    assert c.get().status == 200
    c.reload(site(to, *lines, "tls_curves x25519", "}"))
    assert c.get().status == 502
    silent = scripted(lambda raw: raw.recv_all())
    started = time.monotonic()
    c.reload(site(f"https://{silent.address}", *lines, "dial_timeout 100s", "tls_timeout 500ms", "}"))
    assert c.get().status == 504 and time.monotonic() - started < 60


@pytest.mark.parametrize("lines, message", [
    (["request_buffers 11MiB"], "at most 10MiB"),
    (["request_buffers unlimited"], "at most 10MiB"),
    (["response_buffers x"], "no size"),
    (["transport http {", "local_address example.com", "}"], "no IP address"),
    (["transport http {", "tls_curves p256", "}"], "is none of"),
    (["transport http {", "tls_except_ports 0", "}"], "is no port"),
    (["transport http {", "tls_renegotiation freely", "}"], "can only be never"),
    (["transport http {", "network_proxy url http://proxy:3128", "}"], "forward proxy"),
])
def test_mistakes(caddis, lines, message):
    c = caddis(site("https://localhost:1", *lines), start=False)
    done = c.command("validate", "--config", c.file)
    assert done.returncode == 1 and message in done.stderr, done.stderr
    assert re.search(r"Caddyfile:\d+:\d+", done.stderr)


def test_what_is_left_out_is_said(caddis):
    names = ["read_buffer 8KiB", "write_buffer 8KiB", "keepalive_interval 5s",
             "expect_continue_timeout 1s"]
    c = caddis(site("localhost:1", "stream_buffer_size 4KiB", "transport http {", *names,
                    "keepalive_idle_conns 10", "keepalive_idle_conns_per_host 5",
                    "network_proxy none", "}"), start=False)
    done = c.command("validate", "--config", c.file)
    assert done.returncode == 0
    for name in [*names, "stream_buffer_size"]:
        assert f'"{name.split()[0]}" has no meaning' in done.stderr, done.stderr
