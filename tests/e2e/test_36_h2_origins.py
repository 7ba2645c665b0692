"""HTTP/2 towards origins, over TLS (by ALPN) and in the plain (h2c): what goes out, what comes back,
how connections are shared, every fault of an origin frame by frame, and gRPC by a real client and a
real server."""

import concurrent.futures
import select
import socket
import threading

import grpc
import pytest
from lib import raw as rawlib
from lib.frames import (CANCEL, CONTINUATION, DATA, END_HEADERS, END_STREAM, ENHANCE_YOUR_CALM, GOAWAY, HEADERS,
                        INTERNAL_ERROR, NO_ERROR, PING, PROTOCOL_ERROR, REFUSED_STREAM, RST_STREAM,
                        SETTINGS, WINDOW_UPDATE, Frames, block, frame, rst, settings, window_update)
from lib.h2origin import INITIAL_WINDOW, MAX_CONCURRENT, H2Origin, Peer, Reply, tls_context

BOTH = "servers {\n\tprotocols h1 h2 h2c\n}"
H2C = "http://localhost {\n\treverse_proxy h2c://%s\n}"


@pytest.fixture
def h2_origin(cleanup):
    """h2_origin(handler, own=SETTINGS): a running H2Origin."""

    def make(handler=None, **options):
        o = H2Origin(handler, **options)
        cleanup.add(o.finish)
        return o

    return make


def gone(peer):
    """The rest of a script: until caddis lets go of the connection."""
    peer.until_closed()


# ---- what goes out, what comes back ----


def test_a_request_and_its_answer(caddis, h2_origin):
    o = h2_origin(lambda r: Reply(201, b"x" * 50000, [("x-a", "1"), ("set-cookie", "a=b")],
                                  [("x-sum", "7"), ("grpc-status", "0")]))
    c = caddis(H2C % o.address, globals=BOTH)
    with c.connect() as h:
        h.request("POST", "/p?q=1", [("X-Up", "Yes"), ("TE", "trailers"), ("X_y", "no"),
                                     ("Connection", "te, x-drop"), ("X-Drop", "1")], b"hello",
                  read=False)
        r = h.read_response("POST")
        assert (r.status, r.body) == (201, b"x" * 50000)
        assert r.get("X-A") == "1" and r.get("Set-Cookie") == "a=b"
        assert r.trailer("x-sum") == "7"
        assert h.get("/again").status == 201
    with Frames(rawlib.connect(c.http)) as f:
        a = f.answer(f.headers())
        assert a.status == 201 and a.body == b"x" * 50000
        assert ("grpc-status", "0") in a.trailers
    first = o.requests[0]
    assert first.fields[:4] == [(":method", "POST"), (":scheme", "http"),
                                (":authority", first.get(":authority")), (":path", "/p?q=1")]
    assert first.get(":authority").startswith("localhost")
    assert first.get("host") is None and first.get("te") == "trailers"
    assert first.get("x-up") == "Yes" and first.get("content-length") == "5"
    assert first.get("x-drop") is None and first.get("x_y") is None
    assert first.get("connection") is None and first.get("via") == "1.1 caddis"
    assert first.get("x-forwarded-for") == "127.0.0.1"
    assert first.body == b"hello"
    assert sum(o.most.values()) == o.connections


def test_heads_without_content(caddis, h2_origin):
    def handler(r):
        return {"/204": Reply(204), "/304": Reply(304, fields=[("etag", "e")]),
                "/head": Reply(200, b"", [("content-length", "77")]),
                "/empty": Reply(200)}[r.path]

    o = h2_origin(handler)
    c = caddis(H2C % o.address, globals=BOTH)
    with c.connect() as h:
        for path, method, status, length in (
            ("/204", "GET", 204, None), ("/304", "GET", 304, None), ("/head", "HEAD", 200, "77"),
            ("/empty", "GET", 200, "0"), ("/204", "POST", 204, None),
        ):
            r = h.request(method, path)
            assert (r.status, r.get("Content-Length"), r.body) == (status, length, b""), path
    with Frames(rawlib.connect(c.http)) as f:
        a = f.answer(f.headers(f.fields("HEAD", "/head")))
        assert a.get("content-length") == "77"
    assert o.requests[4].get("content-length") == "0"


def test_interim_answers_and_an_early_one(caddis, scripted):
    def script(raw):
        p = Peer(raw)
        r = p.request()
        p.head(r.stream, 103, [("link", "</a>"), ("x-odd", "1")])
        p.head(r.stream, 200, end=True)
        r = p.request(ended=False)  # an upload that is not wanted
        p.head(r.stream, 413, [("x-too", "large")], end=False)
        p.data(r.stream, b"enough", end=True)
        assert p.until_reset(r.stream) == NO_ERROR
        r = p.request()  # the connection lives on
        p.reply(r.stream, Reply(body=b"still here"))
        gone(p)

    o = scripted(script)
    c = caddis(H2C % o.address, globals=BOTH, args=["--workers", "1"])
    with c.connect() as h:
        h.request("GET", "/", read=False)
        assert h.read_head().status == 103
        assert h.read_response("GET").status == 200
    with c.connect() as h:
        h.send("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000000\r\n\r\n")
        r = h.read_response("POST")
        assert (r.status, r.body) == (413, b"enough")
    assert c.get().body == b"still here"


def test_trailers_of_a_request(caddis, h2_origin):
    o = h2_origin(lambda r: Reply(body=r.body, trailers=[("x-got", dict(r.trailers)["x-sum"])]))
    c = caddis(H2C % o.address, globals=BOTH)
    with c.connect() as h:
        h.send("POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
               "3\r\nabc\r\n0\r\nX-Sum: 6\r\nHost: evil\r\nX_Y: 1\r\n\r\n")
        r = h.read_response("POST")
        assert (r.body, r.trailer("x-got")) == (b"abc", "6")
    assert o.requests[0].trailers == [("x-sum", "6")]


def test_unix_socket_and_versions(caddis, h2_origin, folder, cleanup):
    path = folder / "o"
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()
    seen = []

    def serve():
        raw = rawlib.Raw(listener.accept()[0])
        p = Peer(raw)
        r = p.request()
        seen.append(r)
        p.reply(r.stream, Reply(body=b"unix"))
        gone(p)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    cleanup.add(listener.close)
    o = h2_origin()
    c = caddis(f"""http://localhost {{
        reverse_proxy /unix unix+h2c/{path}
        reverse_proxy /versions {o.address} {{
            transport http {{
                versions h2c
            }}
        }}
    }}""", globals=BOTH)
    assert c.get("/unix").body == b"unix"
    assert c.get("/versions").body == b"GET /versions"
    assert seen[0].path == "/unix"


def test_what_the_caddyfile_may_say(caddis):
    def errors(text):
        c = caddis("http://localhost {\n%s\n}" % text, start=False)
        done = c.command("validate", "--config", c.file, "--adapter", "caddyfile")
        assert done.returncode == 1
        return done.stdout + done.stderr

    transport = "reverse_proxy %s {\ntransport http {\n%s\n}\n}"
    assert "versions are 1.1, 2 and h2c" in errors(transport % ("a:1", "versions 1.0"))
    assert "versions needs one" in errors(transport % ("a:1", "versions"))
    assert "h2c has no TLS" in errors(transport % ("h2c://a:1", "tls"))
    assert "http, https or h2c" in errors("reverse_proxy gopher://a:1")
    c = caddis("http://localhost {\n%s\n}" % (transport % ("a:1", "versions 2 3")))
    c.wait_log("HTTP/3 towards origins is not in caddis")


def test_health_checks_and_proxy_headers(caddis, scripted, eventually):
    """Checks go over HTTP/2 too; a connection that begins with a PROXY header is one client's."""
    seen = []

    def script(raw):
        line = raw.recv_until(b"\r\n") if not raw.fill() or raw.buffer[:4] != b"PRI " else b""
        p = Peer(raw)
        r = p.request()
        seen.append((bytes(line[:6]), r.path))
        p.reply(r.stream, Reply(body=b"well"))
        gone(p)

    o = scripted(lambda raw: ending(script, raw))
    c = caddis("""http://localhost {
        reverse_proxy h2c://%s {
            health_uri /health
            health_interval 1h
            transport http {
                proxy_protocol v1
            }
        }
    }""" % o.address, args=["--workers", "1"])
    eventually(lambda: seen)
    for _ in range(2):
        assert c.get("/x").body == b"well"
    assert seen == [(b"PROXY ", "/health"), (b"PROXY ", "/x"), (b"PROXY ", "/x")]
    assert o.connections == 3


# ---- TLS: ALPN says which ----


def over_tls(o, authority, *options):
    lines = "\n".join(["tls_trust_pool file %s" % authority.path, *options])
    return "http://localhost {\n\treverse_proxy https://%s {\n\ttransport http {\n%s\n}\n}\n}" % (
        o.address, lines)


def test_alpn_chooses(caddis, h2_origin, origin, authority):
    cert, key = authority.issue("127.0.0.1")
    both = h2_origin(tls=tls_context(cert, key, ("h2", "http/1.1")))
    old = origin(tls=tls_context(cert, key, ("http/1.1",)))
    silent = origin(tls=tls_context(cert, key, ()))
    for o, options, want in (
        (both, [], b"GET /x"), (old, [], b"GET /x"), (silent, [], b"GET /x"),
        (both, ["versions 2"], b"GET /x"), (old, ["versions 1.1"], b"GET /x"),
        (silent, ["versions 2"], None),
    ):
        c = caddis(over_tls(o, authority, *options))
        r = c.get("/x")
        if want:
            assert (r.status, r.body) == (200, want), options
        else:
            assert r.status == 502 and b"does not speak HTTP/2" in r.body
        c.stop()
    assert both.requests[0].get(":scheme") == "https"


def test_requests_share_one_dial(caddis, h2_origin, origin, authority):
    """Many at once to an origin that is not known yet: one connection where it speaks HTTP/2, as
    many as are needed where it does not."""
    cert, key = authority.issue("127.0.0.1")
    gate = threading.Barrier(20)

    def together(r):
        gate.wait(60)
        return Reply(body=b"h2")

    def together_1(r):
        from lib.origin import Response

        gate.wait(60)
        return Response(body=b"h1")

    two = h2_origin(together, tls=tls_context(cert, key, ("h2", "http/1.1")))
    one = origin(together_1, tls=tls_context(cert, key, ("http/1.1",)))
    for o, body, connections in ((two, b"h2", 1), (one, b"h1", 20)):
        c = caddis(over_tls(o, authority), args=["--workers", "1"])
        with concurrent.futures.ThreadPoolExecutor(20) as pool:
            for r in pool.map(lambda _: c.get(), range(20)):
                assert r.body == body
        assert o.connections == connections
        c.stop()


def test_websockets_go_over_http_1(caddis, scripted, authority):
    """Over TLS on a connection for which only http/1.1 is offered, to h2c origins in plain HTTP/1.1;
    other requests do not use these connections."""
    cert, key = authority.issue("127.0.0.1")
    spoken = []

    def script(raw):
        tls = hasattr(raw.sock, "selected_alpn_protocol")
        alpn = raw.sock.selected_alpn_protocol() if tls else None
        raw.fill()
        if raw.buffer.startswith(b"PRI"):
            spoken.append(("h2", alpn))
            p = Peer(raw)
            r = p.request()
            p.reply(r.stream, Reply(body=b"two"))
            gone(p)
            return
        spoken.append(("h1", alpn))
        request = raw.read_request()
        if request.get("Sec-WebSocket-Key") == "no":
            raw.send("HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n")
            assert raw.closed()
            return
        raw.send("HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n")
        raw.send(raw.take(0) + raw.recv_exactly(4))

    ask = [("Connection", "Upgrade"), ("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13")]
    for tls in (True, False):
        spoken.clear()
        o = scripted(script, tls=tls_context(cert, key, ("h2", "http/1.1")) if tls else None)
        c = caddis(over_tls(o, authority) if tls else H2C % o.address, args=["--workers", "1"])
        with c.connect() as h:
            h.request("GET", "/", [*ask, ("Sec-WebSocket-Key", "x")], read=False)
            assert h.read_head().status == 101
            h.send(b"ping")
            h.expect(b"ping")
        with c.connect() as h:
            assert h.request("GET", "/", [*ask, ("Sec-WebSocket-Key", "no")]).status == 403
        assert c.get().body == b"two"
        assert spoken == [("h1", "http/1.1" if tls else None)] * 2 + [("h2", "h2" if tls else None)]
        c.stop()


# ---- one connection, many requests ----


def test_streams_are_limited_by_the_origin(caddis, h2_origin):
    """30 at once, 10 a connection: no more than that on any, and none fails."""
    arrived = threading.Semaphore(0)
    release = threading.Event()

    def handler(r):
        arrived.release()
        release.wait(60)
        return Reply(body=b"ok")

    o = h2_origin(handler, own=[(MAX_CONCURRENT, 10)])
    c = caddis(H2C % o.address, globals=BOTH, args=["--workers", "1"])
    release.set()
    assert c.get().body == b"ok"  # the limit is known now
    release.clear()
    assert arrived.acquire(timeout=60)
    with concurrent.futures.ThreadPoolExecutor(30) as pool:
        answers = [pool.submit(c.get) for _ in range(30)]
        for _ in range(30):
            assert arrived.acquire(timeout=60)
        release.set()
        assert [a.result().status for a in answers] == [200] * 30
    assert max(o.most.values()) == 10 and o.connections == 3


def test_who_waits_for_a_new_connection_takes_room_on_an_old_one(caddis, scripted, authority):
    """The second connection's handshake is never answered: the request that needed it goes out on the
    first one when there is room again."""
    cert, key = authority.issue("127.0.0.1")
    context = tls_context(cert, key)
    second = threading.Event()

    def script(raw):
        if raw.number > 0:
            second.set()
            raw.recv_all()
            return
        raw.sock = context.wrap_socket(raw.sock, server_side=True)
        p = Peer(raw, [(MAX_CONCURRENT, 1)])
        r = p.request()
        p.reply(r.stream, Reply(body=b"known"))
        for body in (b"one", b"two"):
            r = p.request()
            assert second.wait(60)
            p.reply(r.stream, Reply(body=body))
        gone(p)

    o = scripted(lambda raw: ending(script, raw))
    c = caddis(over_tls(o, authority, "dial_timeout 60s"), args=["--workers", "1"])
    assert c.get().body == b"known"
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        assert sorted(pool.map(lambda _: c.get().body, range(2))) == [b"one", b"two"]


def test_uploads_wait_until_the_origin_takes_them(caddis, h2_origin):
    """30 uploads at once to an origin of which nothing is known and which takes 10: the others are
    refused, and as nothing of their content was sent they are sent again."""
    gate = threading.Event()

    def handler(r):
        gate.wait(60)
        return Reply(body=r.body)

    o = h2_origin(handler, own=[(MAX_CONCURRENT, 10)])
    c = caddis(H2C % o.address, globals=BOTH, args=["--workers", "1"])
    with Frames(rawlib.connect(c.http)) as f:
        streams = []
        f.raw.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 1)
        for i in range(30):
            streams.append(f.headers(f.fields("POST"), end=False))
            f.data(streams[i], b"content %d" % i, end=True)
        f.raw.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 0)
        gate.set()
        bodies = {}
        while len(bodies) < 30:
            g = f.recv()
            if g.kind == HEADERS:
                assert dict(g.fields)[":status"] == "200", g.fields
            elif g.kind == DATA and g.payload:
                bodies[g.stream] = g.payload
        assert bodies == {s: b"content %d" % i for i, s in enumerate(streams)}
    assert o.refused > 0 and max(o.most.values()) <= 10


def test_an_upload_that_is_over_the_limit_and_not_refused_goes_on(caddis, scripted):
    """Content waits for a stream to be refused, but an origin may let it be."""

    def script(raw):
        raw.sock.settimeout(40)
        p = Peer(raw, own=[(MAX_CONCURRENT, 0)])  # the head is on its way already
        r = p.request()
        p.reply(r.stream, Reply(body=r.body))
        gone(p)

    o = scripted(script)
    c = caddis(H2C % o.address, globals=BOTH)
    with c.connect(timeout=40) as h:
        r = h.request("POST", "/", body=b"content")
        assert (r.status, r.body) == (200, b"content")


def test_max_conns_per_host_counts_connections(caddis, h2_origin):
    o = h2_origin(own=[(MAX_CONCURRENT, 2)])
    c = caddis("""http://localhost {
        reverse_proxy h2c://%s {
            transport http {
                max_conns_per_host 1
            }
        }
    }""" % o.address, globals=BOTH)
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        for r in pool.map(lambda _: c.get(), range(24)):
            assert r.status == 200
    assert max(o.most.values()) <= 2


def test_stalled_readers_do_not_stall_others(caddis, scripted):
    """Clients that do not read hold their streams, not the connection that they share."""

    def script(raw):
        p = Peer(raw, [(MAX_CONCURRENT, 100)])
        window = {}
        credit = [65535]
        while True:
            f = p.step()
            if f.kind == HEADERS:
                p.head(f.stream)
                quick = p.requests[f.stream].path == "/quick"
                window[f.stream] = 128 * 1024 if not quick else 5
                if quick:
                    p.data(f.stream, b"quick", end=True)
                    continue
                while window[f.stream] >= 16384:  # all that the stream may have
                    while credit[0] < 16384:
                        g = p.step()
                        if g.kind == 8 and g.stream == 0:
                            credit[0] += int.from_bytes(g.payload, "big")
                    p.data(f.stream, b"z" * 16384)
                    window[f.stream] -= 16384
                    credit[0] -= 16384
            elif f.kind == 8 and f.stream == 0:
                credit[0] += int.from_bytes(f.payload, "big")

    o = scripted(lambda raw: ending(script, raw))
    c = caddis(H2C % o.address, args=["--workers", "1"])
    stalled = [rawlib.connect(c.http, rcvbuf=4096) for _ in range(12)]
    try:
        for s in stalled:
            s.request("GET", "/slow", read=False)
            s.read_head()
        assert c.get("/quick").body == b"quick"
        assert o.connections == 1
    finally:
        for s in stalled:
            s.close()


def ending(script, raw):
    """A script that goes on until caddis lets go of the connection."""
    raw.sock.settimeout(60)
    try:
        script(raw)
    except (rawlib.Closed, OSError):
        pass


def test_a_slow_reader_behind_response_buffers(caddis, scripted):
    """10 MiB are collected, and what the origin's window lets come behind them finds a place."""
    total = 12 << 20
    stalled = threading.Event()

    def script(raw):
        p = Peer(raw)
        r = p.request()
        p.head(r.stream, 200, [("content-length", str(total))])
        window, left = 128 * 1024, total
        while left:
            n = min(left, 16384, window)
            if n:
                p.data(r.stream, b"b" * n, end=n == left)
                window, left = window - n, left - n
                continue
            if not p.raw.buffer and not select.select([raw.sock], [], [], 2.0)[0]:
                stalled.set()  # the client takes nothing, and all places are taken
            f = p.step()
            if f.kind == WINDOW_UPDATE and f.stream == r.stream:
                window += int.from_bytes(f.payload, "big")
        gone(p)

    o = scripted(lambda raw: ending(script, raw))
    c = caddis("http://localhost {\nreverse_proxy h2c://%s {\nresponse_buffers 10MiB\n}\n}"
               % o.address, globals=BOTH)
    with Frames(rawlib.connect(c.http), own=[(INITIAL_WINDOW, 0)]) as f:
        s = f.headers()
        assert dict(f.until(HEADERS, s).fields)[":status"] == "200"
        assert stalled.wait(60)
        f.send(window_update(0, 1 << 30), window_update(s, 1 << 30))
        got = 0
        while got < total:
            g = f.recv()
            assert g.kind != RST_STREAM, g
            got += len(g.payload) if g.kind == DATA else 0


def test_an_origin_that_reads_nothing_stops_the_client(caddis, scripted):
    """The origin gives no window: the client is held, and nothing fills memory."""
    asked = threading.Event()
    go_on = threading.Event()

    def script(raw):
        p = Peer(raw)
        r = p.request(ended=False, windows=False)
        asked.set()
        while not go_on.is_set():
            f = p.step(windows=False) if len(r.body) < 65535 else None
            if f is None:
                break
        assert go_on.wait(60)
        assert len(r.body) == 65535
        p.send(window_update(0, 1 << 30), window_update(r.stream, 1 << 30))
        while not r.ended:
            p.step(windows=False)
        p.reply(r.stream, Reply(body=b"%d" % len(r.body)))
        gone(p)

    o = scripted(script)
    c = caddis(H2C % o.address)
    total = 8 << 20
    with c.connect() as h:
        h.send(f"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: {total}\r\n\r\n")
        sent = h.send_until_stalled(b"u" * 65536, total)
        assert asked.wait(60) and sent < total
        go_on.set()
        h.send(b"u" * (total - sent))
        assert h.read_response("POST").body == b"%d" % total


def test_reload_and_idle_connections(caddis, h2_origin, eventually):
    """A reload keeps them; keepalive ends them with a GOAWAY."""
    closed = []

    def handler(r):
        return Reply(body=b"ok")

    o = h2_origin(handler)
    text = """http://localhost {
        reverse_proxy h2c://%s {
            transport http {
                keepalive %s
            }
        }
    }"""
    c = caddis(text % (o.address, "2m"), args=["--workers", "1"])
    assert c.get().body == b"ok"
    c.reload(text.replace("reverse_proxy", "header X-New 1\n reverse_proxy") % (o.address, "2m"))
    assert c.get().get("X-New") == "1"
    assert o.connections == 1 and not closed
    c.reload(text % (o.address.replace("127.0.0.1", "localhost"), "1s"))
    assert c.get().body == b"ok"
    assert o.connections == 2
    eventually(lambda: len(o.open) == 1)  # the one that may be idle for 2 minutes


# ---- faults ----

def answers(script, codes):
    """Answers requests by script(peer, request); the codes that caddis resets with go to codes."""

    def run(raw):
        p = Peer(raw)
        r = p.request()
        try:
            script(p, r)
        except rawlib.Closed:
            pass  # it was too much for caddis; what it said before is there to be read
        while True:
            f = p.step()
            if f.kind in (RST_STREAM, GOAWAY):
                codes.append(f.code)
            if f.kind == HEADERS:
                script(p, p.requests[f.stream])

    return lambda raw: ending(run, raw)


def raw_head(p, r, *fields, end=True, flags=END_HEADERS):
    p.send(frame(HEADERS, flags | (END_STREAM if end else 0), r.stream, block(*fields)))


OK = (":status", "200")
MALFORMED = {
    "no status": [("x", "y")],
    "two statuses": [OK, OK],
    "a bad status": [(":status", "2x0")],
    "a status of two digits": [(":status", "20")],
    "an unknown pseudo-field": [OK, (":path", "/")],
    "a pseudo-field behind fields": [("x", "y"), OK],
    "upper case": [OK, ("X-Upper", "1")],
    "connection": [OK, ("connection", "close")],
    "transfer-encoding": [OK, ("transfer-encoding", "chunked")],
    "upgrade": [OK, ("upgrade", "websocket")],
    "a control byte in a value": [OK, ("x", "a\rb")],
    "a space in a name": [OK, ("x y", "1")],
    "two lengths": [OK, ("content-length", "1"), ("content-length", "2")],
    "a malformed length": [OK, ("content-length", "+1")],
    "101": [(":status", "101")],
    "a length and no content": [OK, ("content-length", "5")],
}


def test_malformed_heads_are_502(caddis, scripted):
    names = list(MALFORMED)

    def script(raw):
        def run(raw):
            p = Peer(raw)
            while True:
                r = p.request()
                raw_head(p, r, *MALFORMED[names[int(r.path[1:])]])

        ending(run, raw)

    o = scripted(script)
    c = caddis(H2C % o.address)
    for i, name in enumerate(names):
        r = c.get(f"/{i}")
        assert r.status == 502, name
        assert b"bad answer" in r.body, (name, r.body)


def huge(p, r):
    raw_head(p, r, OK, flags=0, end=False)
    for i in range(6):
        p.send(frame(CONTINUATION, 0, r.stream, block(*[("x", "y" * 100)] * 150)))
    p.send(frame(CONTINUATION, END_HEADERS, r.stream, block(("x", "end"))))


def many_fields(p, r):
    raw_head(p, r, OK, *[("x", "y")] * 200)


def endless_interim(p, r):
    for _ in range(100):
        p.head(r.stream, 103, [("link", "</a>")])


def pings(p, r):
    for _ in range(3000):
        p.send(frame(PING, 0, 0, b"12345678"))


def all_settings(p, r):
    for _ in range(1000):
        p.send(settings((MAX_CONCURRENT, 100)))


def continuations(p, r):
    raw_head(p, r, OK, flags=0, end=False)
    for _ in range(2000):
        p.send(frame(CONTINUATION, 0, r.stream, b""))


def empty_data(p, r):
    p.head(r.stream)
    for _ in range(1000):
        p.data(r.stream, b"")


# name: (what the origin does, what the client sees, a word of the page, what the origin is told: the
# code of a RST_STREAM or GOAWAY, or None: nothing in particular)
FAULTS = {
    "reset before the head": (lambda p, r: p.raw.reset(), 502, b"closed the connection", None),
    "closed before the head": (lambda p, r: p.raw.close(), 502, b"closed the connection", None),
    "RST before the head": (lambda p, r: p.send(rst(r.stream, INTERNAL_ERROR)), 502,
                            b"reset the request (INTERNAL_ERROR)", None),
    "RST NO_ERROR before the head": (lambda p, r: p.send(rst(r.stream, NO_ERROR)), 502,
                                     b"reset the request (NO_ERROR)", None),
    "closed in the head": (lambda p, r: (raw_head(p, r, OK, flags=0), p.raw.close()), 502,
                           b"closed the connection", None),
    "garbage": (lambda p, r: p.raw.send(b"HTTP/1.1 200 OK\r\n\r\n" * 9), 502, b"bad answer", None),
    "DATA before the head": (lambda p, r: p.data(r.stream, b"x", end=True), 502, b"bad answer", None),
    "a huge head": (huge, 502, b"header is too long", CANCEL),
    "many fields": (many_fields, 502, b"header is too long", CANCEL),
    "endless interim": (endless_interim, 502, b"too many interim responses", CANCEL),
    "PING flood": (pings, 502, b"too many of them", ENHANCE_YOUR_CALM),
    "SETTINGS flood": (all_settings, 502, b"too many of them", ENHANCE_YOUR_CALM),
    "CONTINUATION flood": (continuations, 502, b"bad answer", None),
    "push": (lambda p, r: p.send(frame(5, END_HEADERS, r.stream, b"\0\0\0\2" + block(
        (":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "a")))),
        502, b"bad answer", PROTOCOL_ERROR),
    "always refused": (lambda p, r: p.send(rst(r.stream, REFUSED_STREAM)), 502,
                       b"could not be reached: reset the request (REFUSED_STREAM)", None),
    "RST in the body": (lambda p, r: (p.head(r.stream), p.data(r.stream, b"part"),
                                      p.send(rst(r.stream, INTERNAL_ERROR))), "cut", b"part", None),
    "closed in the body": (lambda p, r: (p.head(r.stream), p.data(r.stream, b"part"),
                                         p.raw.close()), "cut", b"part", None),
    "too much": (lambda p, r: (p.head(r.stream, 200, [("content-length", "2")]),
                               p.data(r.stream, b"long", end=True)), "cut", b"", PROTOCOL_ERROR),
    "too little": (lambda p, r: (p.head(r.stream, 200, [("content-length", "9")]),
                                 p.data(r.stream, b"part", end=True)), "cut", b"part",
                   PROTOCOL_ERROR),
    "malformed trailers": (lambda p, r: (p.head(r.stream), p.data(r.stream, b"part"),
                                         raw_head(p, r, (":status", "200"))), "cut", b"part",
                           PROTOCOL_ERROR),
    "empty DATA flood": (empty_data, "cut", b"", ENHANCE_YOUR_CALM),
}


def test_faults(caddis, scripted, eventually):
    """What a client sees, over HTTP/1.1 and HTTP/2, and what the origin is told."""
    sites, codes = [], {}
    for name, (script, _, _, _) in FAULTS.items():
        o = scripted(answers(script, codes.setdefault(name, [])))
        sites.append("handle /%d/* {\nreverse_proxy h2c://%s\n}" % (len(sites), o.address))
    c = caddis("http://localhost {\n%s\n}" % "\n".join(sites), globals=BOTH)
    for i, (name, (_, want, word, told)) in enumerate(FAULTS.items()):
        with Frames(rawlib.connect(c.http)) as f:
            a = f.answer(f.headers(f.fields("POST", f"/{i}/b")))
            if want == "cut":
                assert a.status == 200 and a.reset == INTERNAL_ERROR, name
            else:
                assert (a.status, a.reset) == (want, None), name
        with c.connect() as h:
            h.request("POST", f"/{i}/a", read=False)
            if want == "cut":
                with pytest.raises(rawlib.Closed):
                    h.read_response("POST")
                    pytest.fail(name)
            else:
                r = h.read_response("POST")
                assert (r.status, word in r.body) == (want, True), (name, r.body)
        if told is not None:
            eventually(lambda: told in codes[name], what=f"{name}: told {codes[name]}")


def test_what_was_not_done_is_asked_again(caddis, scripted):
    """REFUSED_STREAM and a GOAWAY below the request: a POST too, on the same connection or another;
    a connection that dies while it is idle costs an idempotent request nothing."""

    def first(p):
        r = p.request()
        p.send(rst(r.stream, REFUSED_STREAM))
        r = p.request()
        p.reply(r.stream, Reply(body=b"1st"))
        p.request()
        p.bye(r.stream)  # the one just now was not looked at
        gone(p)

    def second(p):
        r = p.request(ended=False)
        p.bye(0x7FFFFFFF)  # on the way out; what is under way is answered
        p.head(r.stream)
        p.data(r.stream, b"2")
        while p.goaway is not None:
            p.step()
        p.data(r.stream, b"nd", end=True)
        gone(p)

    def third(p):
        r = p.request()
        p.reply(r.stream, Reply(body=b"3rd"))
        p.request()
        p.raw.close()  # without a word: a stale connection

    def fourth(p):
        r = p.request()
        p.reply(r.stream, Reply(body=b"4th"))
        gone(p)

    scripts = [lambda raw, s=s: ending(lambda raw: s(Peer(raw)), raw)
               for s in (first, second, third, fourth)]
    o = scripted(scripts)
    c = caddis(H2C % o.address, args=["--workers", "1"])
    with c.connect() as h:
        assert h.request("POST", "/").body == b"1st"
        assert h.request("POST", "/").body == b"2nd"
        assert h.get("/").body == b"3rd"
        assert h.get("/").body == b"4th"
    assert o.connections == 4


def test_another_origin_takes_what_one_refuses(caddis, scripted, h2_origin):
    bad = scripted(answers(lambda p, r: p.send(rst(r.stream, REFUSED_STREAM)), []))
    good = h2_origin()
    c = caddis("""http://localhost {
        reverse_proxy h2c://%s h2c://%s {
            lb_policy first
        }
    }""" % (bad.address, good.address))
    assert c.get("/x").body == b"GET /x"


def test_http_1_1_required(caddis, scripted, authority):
    def script(raw):
        raw.fill()
        if raw.buffer.startswith(b"PRI"):
            ending(lambda raw: (lambda p: (p.send(rst(p.request().stream, 0xd)), gone(p)))(Peer(raw)),
                   raw)
            return
        raw.read_request()
        raw.send("HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\nold")

    cert, key = authority.issue("127.0.0.1")
    o = scripted(script, tls=tls_context(cert, key, ("h2", "http/1.1")))
    c = caddis(over_tls(o, authority))
    assert c.get().body == b"old"


def test_slow_origins(caddis, scripted, eventually):
    """No head, no further content, no window: each has its time limit, and the origin is told."""
    codes = []

    def script(raw):
        p = Peer(raw)
        while True:
            r = p.request(ended=False, windows=False)
            if r.path == "/body":
                p.head(r.stream)
                p.data(r.stream, b"part")
            while r.reset is None:
                p.step(windows=False)
            codes.append((r.path, r.reset))

    o = scripted(lambda raw: ending(script, raw))
    c = caddis("""http://localhost {
        reverse_proxy h2c://%s {
            transport http {
                response_header_timeout 400ms
                read_timeout 400ms
                write_timeout 400ms
            }
        }
    }""" % o.address)
    r = c.get("/head")
    assert r.status == 504 and b"did not answer in time" in r.body
    with c.connect() as h, pytest.raises(rawlib.Closed):
        h.get("/body")
    with c.connect() as h:
        h.send("POST /window HTTP/1.1\r\nHost: localhost\r\nContent-Length: 200000\r\n\r\n")
        h.send(b"u" * 150000)
        r = h.read_response("POST")
        assert r.status == 504 and b"took nothing more of the request" in r.body
    eventually(lambda: sorted(codes) == [(p, CANCEL) for p in ("/body", "/head", "/window")])


def test_a_client_that_leaves_is_told_to_the_origin(caddis, scripted, eventually):
    asked, codes = [], {}

    def script(raw):
        def run(raw):
            p = Peer(raw)
            while True:
                f = p.step()
                if f.kind == HEADERS:
                    asked.append(p.requests[f.stream].path)
                if f.kind == HEADERS and p.requests[f.stream].path == "/body":
                    p.head(f.stream)
                    p.data(f.stream, b"part")
                if f.kind == RST_STREAM:
                    codes[p.requests[f.stream].path] = f.code

        ending(run, raw)

    o = scripted(script)
    c = caddis(H2C % o.address, globals=BOTH, args=["--workers", "1"])
    with Frames(rawlib.connect(c.http)) as f:
        f.send(rst(f.headers(f.fields(path="/head"))))
        s = f.headers(f.fields(path="/body"))
        assert f.until(DATA, s).payload == b"part"
        f.send(rst(s))
        s = f.headers(f.fields("POST", "/upload"), end=False)
        f.data(s, b"some")
        f.send(rst(s))
        eventually(lambda: f.alive() and "/body" in codes)
    with c.connect() as h:
        h.request("GET", "/h1", read=False)
        eventually(lambda: "/h1" in asked)
        h.reset()
    eventually(lambda: codes == dict.fromkeys(asked, CANCEL), what=f"{asked} {codes}")


# ---- gRPC ----


class Grpc:
    """A real gRPC server with one generic service; bytes in, bytes out."""

    def __init__(self, credentials=None):
        self.cancelled = threading.Event()
        self.began = threading.Event()
        self.metadata = []
        kinds = {
            "Unary": (grpc.unary_unary_rpc_method_handler, self.unary),
            "Fail": (grpc.unary_unary_rpc_method_handler, self.fail),
            "Down": (grpc.unary_stream_rpc_method_handler, self.down),
            "Up": (grpc.stream_unary_rpc_method_handler, self.up),
            "Both": (grpc.stream_stream_rpc_method_handler, self.both),
            "Hang": (grpc.unary_stream_rpc_method_handler, self.hang),
        }
        handlers = {name: kind(function) for name, (kind, function) in kinds.items()}
        self.server = grpc.server(concurrent.futures.ThreadPoolExecutor(16))
        self.server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler("test.Service", handlers),))
        address = "127.0.0.1:0"
        self.port = (self.server.add_secure_port(address, credentials) if credentials
                     else self.server.add_insecure_port(address))
        self.address = f"127.0.0.1:{self.port}"
        self.server.start()

    def finish(self):
        self.server.stop(0).wait(20)

    def unary(self, request, context):
        self.metadata.append(dict(context.invocation_metadata()))
        context.send_initial_metadata((("x-first", "1"),))
        context.set_trailing_metadata((("x-last", "2"), ("x-last-bin", b"\x00\xff")))
        return request[::-1]

    def fail(self, request, context):
        context.abort(grpc.StatusCode.FAILED_PRECONDITION, "not so: \u00e4")

    def down(self, request, context):
        for i in range(int(request)):
            yield b"%d" % i + b"." * 3000

    def up(self, requests, context):
        return b"%d" % sum(len(r) for r in requests)

    def both(self, requests, context):
        for r in requests:
            yield b"<" + r + b">"

    def hang(self, request, context):
        context.add_callback(self.cancelled.set)
        yield b"first"
        self.began.set()
        self.cancelled.wait(60)


def call(channel, kind, method):
    return getattr(channel, kind)(f"/test.Service/{method}")


def all_kinds(channel, server):
    reply, done = call(channel, "unary_unary", "Unary").with_call(
        b"abc" * 100000, metadata=(("x-mine", "me"),), timeout=60)
    assert reply == (b"abc" * 100000)[::-1]
    assert dict(done.initial_metadata())["x-first"] == "1"
    assert dict(done.trailing_metadata())["x-last"] == "2"
    assert dict(done.trailing_metadata())["x-last-bin"] == b"\x00\xff"
    assert server.metadata[0]["x-mine"] == "me"
    assert server.metadata[0]["x-forwarded-for"] in ("127.0.0.1", "::1")
    with pytest.raises(grpc.RpcError) as e:
        call(channel, "unary_unary", "Fail")(b"", timeout=60)
    assert e.value.code() == grpc.StatusCode.FAILED_PRECONDITION
    assert e.value.details() == "not so: \u00e4"
    got = list(call(channel, "unary_stream", "Down")(b"200", timeout=60))
    assert got == [b"%d" % i + b"." * 3000 for i in range(200)]
    assert call(channel, "stream_unary", "Up")(
        iter([b"z" * 10000] * 100), timeout=60) == b"1000000"
    # Lock step: each message must have crossed before the next one is sent.
    step = threading.Semaphore(1)

    def steps():
        for i in range(20):
            assert step.acquire(timeout=60)
            yield b"%d" % i

    answers = []
    for answer in call(channel, "stream_stream", "Both")(steps(), timeout=60):
        answers.append(answer)
        step.release()
    assert answers == [b"<%d>" % i for i in range(20)]
    with pytest.raises(grpc.RpcError) as e:
        call(channel, "unary_unary", "Nobody")(b"", timeout=60)
    assert e.value.code() == grpc.StatusCode.UNIMPLEMENTED


@pytest.fixture
def grpc_server(cleanup):
    def make(credentials=None):
        s = Grpc(credentials)
        cleanup.add(s.finish)
        return s

    return make


@pytest.fixture
def fronts(caddis, grpc_server, authority):
    """fronts(tls in front, TLS behind): a caddis, its gRPC server, and a channel to it."""
    channels = []

    def make(tls, tls_behind):
        credentials = None
        if tls_behind:
            cert, key = authority.issue("localhost")
            credentials = grpc.ssl_server_credentials([(key.read_bytes(), cert.read_bytes())])
        server = grpc_server(credentials)
        to = (f"https://localhost:{server.port} {{\n transport http {{\n"
              f"tls_trust_pool file {authority.path}\n}}\n}}" if tls_behind
              else f"h2c://{server.address}")
        site = "https://localhost {\ntls internal\n" if tls else "http://localhost {\n"
        c = caddis(f"{site}reverse_proxy {to}\n}}", globals=BOTH)
        if tls:
            c.wait_certificate()
            channel = grpc.secure_channel(
                f"localhost:{c.https}", grpc.ssl_channel_credentials(c.wait_root().read_bytes()))
        else:
            channel = grpc.insecure_channel(f"localhost:{c.http}")
        channels.append(channel)
        return c, server, channel

    yield make
    for channel in channels:
        channel.close()


@pytest.mark.parametrize("tls", [False, True], ids=["h2c", "tls"])
@pytest.mark.parametrize("tls_behind", [False, True], ids=["h2c-origin", "tls-origin"])
def test_grpc(fronts, tls, tls_behind):
    _, server, channel = fronts(tls, tls_behind)
    all_kinds(channel, server)


def test_a_grpc_deadline_reaches_the_origin(fronts):
    _, server, channel = fronts(False, False)
    hang = call(channel, "unary_stream", "Hang")(b"", timeout=1.0)
    assert next(hang) == b"first"
    assert server.began.wait(60)
    with pytest.raises(grpc.RpcError) as e:
        next(hang)
    assert e.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
    assert server.cancelled.wait(60)


def test_a_grpc_stream_outlives_a_reload_and_many_calls_share_it(fronts):
    c, server, channel = fronts(False, False)
    step = threading.Semaphore(1)

    def steps():
        for i in range(3):
            assert step.acquire(timeout=60)
            yield b"%d" % i

    stream = call(channel, "stream_stream", "Both")(steps(), timeout=60)
    assert next(stream) == b"<0>"
    c.reload(c.file.read_text().replace("reverse_proxy", "header X-New 1\nreverse_proxy")
             [c.file.read_text().index("http://localhost"):])
    unary = call(channel, "unary_unary", "Unary")
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        for i, reply in enumerate(pool.map(lambda i: unary(b"%d" % i, timeout=60), range(200))):
            assert reply == (b"%d" % i)[::-1]
    step.release()
    assert next(stream) == b"<1>"
    step.release()
    assert list(stream) == [b"<2>"]
