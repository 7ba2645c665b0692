"""HTTP/2 towards clients: what RFC 9113 asks for, frame by frame (the cases that h2spec teaches, in
frames of our own), bodies, trailers, tunnels, limits and floods."""

import contextlib
import pathlib
import shutil
import struct
import subprocess
import threading
import time

import pytest
from lib import raw as rawlib
from lib.caddis import Caddis
from lib.frames import (ACK, CANCEL, COMPRESSION_ERROR, CONTINUATION, DATA, END_HEADERS, END_STREAM,
                        ENHANCE_YOUR_CALM, FLOW_CONTROL_ERROR, FRAME_SIZE_ERROR, GOAWAY, HEADERS,
                        NO_ERROR, PADDED, PING, PREFACE, PRIORITY, PROTOCOL_ERROR, PUSH_PROMISE,
                        REFUSED_STREAM, RST_STREAM, SETTINGS, STREAM_CLOSED, WINDOW_UPDATE,
                        WITH_PRIORITY, Frames, block, frame, literal, rst, settings,
                        window_update)
from lib.origin import Origin, Response

H2C = "servers {\n\tprotocols h1 h2 h2c\n}"
PROXY = "http://localhost {\n\treverse_proxy %s\n}"


def echo(request):
    fields = [("X-Seen-" + n, v) for n, v in request.fields if n.lower() not in ("content-length",)]
    body = request.body if request.method != "GET" else request.target.encode()
    return Response(200, body, fields[:40], trailers=[("X-T", t) for _, t in request.trailers],
                    chunked=bool(request.trailers))


@pytest.fixture(scope="module")
def shared():
    """One program for the many small cases: requests must not reach its origin unless said so."""
    o = Origin(echo)
    c = Caddis(PROXY % o.address, globals=H2C)
    c.origin = o
    yield c
    c.stop()
    c.check_reports()
    with contextlib.suppress(rawlib.Closed):  # bodies that are cut short on purpose
        o.finish()
    c.clean()


def open_h2(c, **options):
    return Frames(rawlib.connect(c.http, "localhost"), **options)


# ---- RFC 9113, frame by frame ----

GET = [(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "localhost")]
POST = [(":method", "POST"), *GET[1:]]
OPEN, DONE = 0, END_STREAM


def head(*fields, base=GET):
    return block(*base, *fields)


def H(payload, stream=1, flags=END_HEADERS | END_STREAM):
    return frame(HEADERS, flags, stream, payload)


EH = END_HEADERS
G = head()
P = head(base=POST)
u32 = lambda n: struct.pack(">I", n)  # noqa: E731
C, S = "connection", "stream"
# name: (frames, which error, allowed codes). A connection error may also show as the end of the
# connection, and a stream error as a connection error of the same code, but only where it is said.
BAD = {
    "preface": (None, C, [PROTOCOL_ERROR]),
    "DATA too long": (H(P, flags=EH) + frame(DATA, 0, 1, b"x" * 16385), "CS", [FRAME_SIZE_ERROR]),
    "HEADERS too long": (H(G + literal("x", "y") * 4000), C, [FRAME_SIZE_ERROR]),
    "broken field block": (H(b"\x82\xff\xff\xff\xff\xff\xff\xff\xff\xff"), C, [COMPRESSION_ERROR]),
    "PRIORITY inside a block": (
        H(G, flags=END_STREAM) + frame(PRIORITY, 0, 1, b"\0\0\0\0\x10"), C, [PROTOCOL_ERROR]),
    "HEADERS inside a block": (H(G, flags=END_STREAM) + H(G, 3), C, [PROTOCOL_ERROR]),
    "unknown frame inside a block": (
        H(G, flags=END_STREAM) + frame(0x77, 0, 1, b"12345678"), C, [PROTOCOL_ERROR]),
    "idle: DATA": (frame(DATA, END_STREAM, 1, b"x"), C, [PROTOCOL_ERROR]),
    "idle: RST_STREAM": (rst(1), C, [PROTOCOL_ERROR]),
    "idle: WINDOW_UPDATE": (window_update(1, 100), C, [PROTOCOL_ERROR]),
    "idle: CONTINUATION": (frame(CONTINUATION, EH, 1, G), C, [PROTOCOL_ERROR]),
    "half-closed: DATA": (H(G) + frame(DATA, END_STREAM, 1, b"x"), "CS", [STREAM_CLOSED]),
    "half-closed: HEADERS": (H(G) + H(G), "CS", [STREAM_CLOSED]),
    "half-closed: CONTINUATION": (H(G) + frame(CONTINUATION, EH, 1, G), C,
                                  [STREAM_CLOSED, PROTOCOL_ERROR]),
    "reset: DATA": (H(P, flags=EH) + rst(1) + frame(DATA, END_STREAM, 1, b"x"), "CS",
                    [STREAM_CLOSED]),
    "reset: HEADERS": (H(P, flags=EH) + rst(1) + H(P), "CS", [STREAM_CLOSED, PROTOCOL_ERROR]),
    "reset: CONTINUATION": (H(P, flags=EH) + rst(1) + frame(CONTINUATION, EH, 1, G), C,
                            [STREAM_CLOSED, PROTOCOL_ERROR]),
    "closed: DATA": (H(G) + b"wait" + frame(DATA, END_STREAM, 1, b"x"), C, [STREAM_CLOSED]),
    "closed: HEADERS": (H(G) + b"wait" + H(G), C, [STREAM_CLOSED]),
    "even stream": (H(G, 2), C, [PROTOCOL_ERROR]),
    "smaller stream": (H(P, 5, flags=EH) + H(G, 3), C, [PROTOCOL_ERROR]),
    "HEADERS: depends on itself": (
        frame(HEADERS, EH | END_STREAM | WITH_PRIORITY, 1, u32(1) + b"\xff" + G), "CS",
        [PROTOCOL_ERROR]),
    "PRIORITY: depends on itself": (frame(PRIORITY, 0, 3, u32(3) + b"\xff"), "CS",
                                    [PROTOCOL_ERROR]),
    "DATA: stream 0": (frame(DATA, 0, 0, b"x"), C, [PROTOCOL_ERROR]),
    "DATA: padding too long": (H(P, flags=EH) + frame(DATA, END_STREAM | PADDED, 1, b"\x05abcd"), C,
                               [PROTOCOL_ERROR]),
    "HEADERS: stream 0": (H(G, 0), C, [PROTOCOL_ERROR]),
    "HEADERS: padding too long": (H(b"\xff" + G, flags=EH | END_STREAM | PADDED), C,
                                  [PROTOCOL_ERROR]),
    "PRIORITY: stream 0": (frame(PRIORITY, 0, 0, b"\0\0\0\0\x10"), C, [PROTOCOL_ERROR]),
    "PRIORITY: 4 bytes": (H(P, flags=EH) + frame(PRIORITY, 0, 1, b"\0\0\0\0"), "CS",
                          [FRAME_SIZE_ERROR]),
    "RST_STREAM: stream 0": (rst(0), C, [PROTOCOL_ERROR]),
    "RST_STREAM: 3 bytes": (H(P, flags=EH) + frame(RST_STREAM, 0, 1, b"\0\0\0"), C,
                            [FRAME_SIZE_ERROR]),
    "SETTINGS: ACK with content": (frame(SETTINGS, ACK, 0, b"\0"), C, [FRAME_SIZE_ERROR]),
    "SETTINGS: stream 1": (frame(SETTINGS, 0, 1, b""), C, [PROTOCOL_ERROR]),
    "SETTINGS: 3 bytes": (frame(SETTINGS, 0, 0, b"\0\3\0"), C, [FRAME_SIZE_ERROR]),
    "SETTINGS: ENABLE_PUSH 2": (settings((2, 2)), C, [PROTOCOL_ERROR]),
    "SETTINGS: window too large": (settings((4, 1 << 31)), C, [FLOW_CONTROL_ERROR]),
    "SETTINGS: frame size too small": (settings((5, 16383)), C, [PROTOCOL_ERROR]),
    "SETTINGS: frame size too large": (settings((5, 1 << 24)), C, [PROTOCOL_ERROR]),
    "PING: stream 1": (frame(PING, 0, 1, b"12345678"), C, [PROTOCOL_ERROR]),
    "PING: 6 bytes": (frame(PING, 0, 0, b"123456"), C, [FRAME_SIZE_ERROR]),
    "GOAWAY: stream 1": (frame(GOAWAY, 0, 1, u32(0) + u32(0)), C, [PROTOCOL_ERROR]),
    "WINDOW_UPDATE: 0": (window_update(0, 0), C, [PROTOCOL_ERROR]),
    "WINDOW_UPDATE: 0 on a stream": (H(P, flags=EH) + window_update(1, 0), "CS", [PROTOCOL_ERROR]),
    "WINDOW_UPDATE: 3 bytes": (frame(WINDOW_UPDATE, 0, 0, b"\0\0\1"), C, [FRAME_SIZE_ERROR]),
    "WINDOW_UPDATE: over the top": (window_update(0, 0x7FFFFFFF), C, [FLOW_CONTROL_ERROR]),
    "WINDOW_UPDATE: over the top of a stream": (
        H(P, flags=EH) + window_update(1, 0x7FFFFFFF), S, [FLOW_CONTROL_ERROR]),
    "CONTINUATION: other frame between": (
        H(G, flags=END_STREAM) + frame(CONTINUATION, 0, 1, literal("a", "b")) +
        frame(DATA, END_STREAM, 1, b"x"), C, [PROTOCOL_ERROR]),
    "CONTINUATION: stream 0": (
        H(G, flags=END_STREAM) + frame(CONTINUATION, EH, 0, literal("a", "b")), C,
        [PROTOCOL_ERROR]),
    "CONTINUATION: behind END_HEADERS": (
        H(P, flags=EH) + frame(CONTINUATION, EH, 1, literal("a", "b")), C, [PROTOCOL_ERROR]),
    "CONTINUATION: behind its END_HEADERS": (
        H(P, flags=0) + frame(CONTINUATION, EH, 1, literal("a", "b")) +
        frame(CONTINUATION, EH, 1, literal("a", "b")), C, [PROTOCOL_ERROR]),
    "PUSH_PROMISE": (H(P, flags=EH) + frame(PUSH_PROMISE, EH, 1, u32(2) + G), C, [PROTOCOL_ERROR]),
    "trailers without END_STREAM": (H(P, flags=EH) + H(block(("a", "b")), flags=EH), "CS",
                                    [PROTOCOL_ERROR]),
    "HPACK: index 0": (H(G + b"\x80"), C, [COMPRESSION_ERROR]),
    "HPACK: index out of the table": (H(G + b"\xff\x80\x01"), C, [COMPRESSION_ERROR]),
    "HPACK: size update at the end": (H(G + b"\x21"), C, [COMPRESSION_ERROR]),
    "HPACK: size update too large": (H(b"\x3f\xe1\xff\x03" + G), C, [COMPRESSION_ERROR]),
    "HPACK: Huffman padding of 8 bits": (
        H(G + b"\x00\x85\xf2\xb2\x4a\x84\xff\x84\x49\x50\x9f\xff"), C, [COMPRESSION_ERROR]),
    "HPACK: Huffman padding of zeros": (
        H(G + b"\x00\x85\xf2\xb2\x4a\x87\xff\xfd\x25\x42\x7f"), C, [COMPRESSION_ERROR]),
    "HPACK: Huffman EOS": (
        H(G + b"\x00\x85\xf2\xb2\x4a\x84\xff\x87\x49\x51\xff\xff\xff\xfa\x7f"), C,
        [COMPRESSION_ERROR]),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_frames(shared, name):
    data, level, codes = BAD[name]
    before = len(shared.origin.requests)
    with open_h2(shared, hello=data is not None) as f:
        if data is None:
            f.send(b"INVALID PREFACE\r\n\r\n")
            assert f.raw.recv_all() or True  # an HTTP/1 answer or nothing, but an end
            return
        f.handshake()
        first, wait, rest = data.partition(b"wait")
        f.send(first)
        if wait:
            assert f.answer(1).status == 200
            f.send(rest)
        kind, code = f.outcome()
        if kind == "answer":  # the request before the bad frame was answered first
            kind, code = f.outcome()
        assert (kind, code) != ("answer", 200)
        assert code in codes, (kind, code)
        assert kind == C if level == C else kind == S if level == S else kind in (C, S)
        if kind == C:
            assert f.raw.recv_all() is not None  # and it closes
        else:
            assert f.alive()
    if "half" not in name and "smaller" not in name and "closed" not in name:
        assert len(shared.origin.requests) == before


MALFORMED = {
    "upper case": head(("X-Test", "a")),
    "empty name": head(("", "a")),
    "name with a space": head(("x y", "a")),
    "name with a colon": head(("x:y", "a")),
    "name with a control byte": head(("x\x01", "a")),
    "value with NUL": head(("x", "a\0b")),
    "value with CR": head(("x", "a\rb")),
    "value with LF": head(("x", "a\nb: c")),
    "value with DEL": head(("x", "a\x7fb")),
    "value begins with a space": head(("x", " a")),
    "value ends with a tab": head(("x", "a\t")),
    "unknown pseudo-field": head((":test", "a"))[0:0] + block((":test", "a"), *GET),
    "response pseudo-field": block((":status", "200"), *GET),
    "pseudo-field behind a field": block(*GET[:3], ("x", "y"), GET[3]),
    "Connection": head(("connection", "close")),
    "Connection: keep-alive": head(("connection", "keep-alive")),
    "Keep-Alive": head(("keep-alive", "timeout=5")),
    "Proxy-Connection": head(("proxy-connection", "keep-alive")),
    "Transfer-Encoding": head(("transfer-encoding", "chunked"), base=POST),
    "Upgrade": head(("upgrade", "websocket")),
    "TE": head(("te", "trailers, deflate")),
    "empty :path": block(GET[0], GET[1], (":path", ""), GET[3]),
    "no :method": block(*GET[1:]),
    "no :scheme": block(GET[0], *GET[2:]),
    "no :path": block(*GET[:2], GET[3]),
    "no :authority and no Host": block(*GET[:3]),
    "two :method": block(GET[0], *GET),
    "two :scheme": block(GET[1], *GET),
    "two :path": block(GET[2], *GET),
    "two :authority": block(GET[3], *GET),
    ":method with a space": block((":method", "GET /x"), *GET[1:]),
    "empty :method": block((":method", ""), *GET[1:]),
    ":path without a slash": block(GET[0], GET[1], (":path", "x"), GET[3]),
    ":path with a space": block(GET[0], GET[1], (":path", "/a b"), GET[3]),
    ":path with a fragment": block(GET[0], GET[1], (":path", "/a#b"), GET[3]),
    ":path with CR LF": block(GET[0], GET[1], (":path", "/ HTTP/1.1\r\nX: y"), GET[3]),
    ":path with 8 bits": block(GET[0], GET[1], (":path", "/\xe4"), GET[3]),
    ":path absolute": block(GET[0], GET[1], (":path", "http://other/"), GET[3]),
    "* for GET": block(GET[0], GET[1], (":path", "*"), GET[3]),
    ":scheme of another kind": block(GET[0], (":scheme", "ftp"), *GET[2:]),
    ":authority with userinfo": block(*GET[:3], (":authority", "u@localhost")),
    ":authority with a slash": block(*GET[:3], (":authority", "localhost/x")),
    ":authority with a space": block(*GET[:3], (":authority", "local host")),
    ":authority empty": block(*GET[:3], (":authority", "")),
    ":authority with a bad port": block(*GET[:3], (":authority", "localhost:99999")),
    "Host against :authority": head(("host", "other")),
    "two Hosts": head(("host", "localhost"), ("host", "localhost")),
    "Content-Length not a number": head(("content-length", "1x"), base=POST),
    "Content-Length signed": head(("content-length", "+1"), base=POST),
    "two Content-Lengths": head(("content-length", "1"), ("content-length", "2"), base=POST),
    "Content-Length without content": head(("content-length", "1"), base=POST),
    "CONNECT with :path": block((":method", "CONNECT"), *GET[1:]),
    ":protocol without CONNECT": block(*GET, (":protocol", "websocket")),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed_requests_reach_no_origin(shared, name):
    before = len(shared.origin.requests)
    with open_h2(shared) as f:
        f.handshake()
        f.send(H(MALFORMED[name]))
        kind, code = f.outcome(1)
        assert (kind, code) in ((S, PROTOCOL_ERROR), ("answer", 400)), (kind, code)
        f.next_id = 3
        assert f.get("/after").body == b"/after"  # only that stream ends
    seen = [r.target for r in shared.origin.requests[before:]]
    assert seen == ["/after"]


@pytest.mark.parametrize("parts", [[b"ab"], [b"ab", b"cd"], [b"abcdef"], [b"abcde", b"f"]])
def test_content_length_against_data(shared, parts):
    """A body that is shorter or longer than its Content-Length is no request."""
    length = "5" if len(b"".join(parts)) != 5 else "4"
    with open_h2(shared) as f:
        f.handshake()
        f.send(H(head(("content-length", length), base=POST), flags=EH))
        for i, part in enumerate(parts):
            f.data(1, part, end=i == len(parts) - 1)
        assert f.outcome(1) == (S, PROTOCOL_ERROR)
        assert f.alive()
    assert not any(r.method == "POST" and r.body == b"".join(parts)
                   for r in shared.origin.requests[-3:])


TRAILERS = {"pseudo-field": (":path", "/"), "upper case": ("X", "y"), "CR": ("x", "a\rb"),
            "Connection": ("connection", "close")}


@pytest.mark.parametrize("name", TRAILERS)
def test_malformed_trailers(shared, name):
    with open_h2(shared) as f:
        f.handshake()
        f.send(H(P, flags=EH), frame(DATA, 0, 1, b"x"), H(block(TRAILERS[name])))
        assert f.outcome(1) == (S, PROTOCOL_ERROR)
        assert f.alive()


GOOD = {
    "unknown frame": frame(0x77, 0, 0, b"\0" * 8),
    "unknown flags of PING": frame(PING, 0x16, 0, b"12345678"),
    "PING with ACK": frame(PING, ACK, 0, b"abcdefgh"),
    "unknown SETTINGS": settings((0xFF, 1)),
    "GOAWAY of an unknown code": b"",
    "PRIORITY of an idle stream": frame(PRIORITY, 0, 101, b"\0\0\0\0\x10"),
    "reserved bit": frame(PING, 0, 0x80000000, b"12345678"),
    "WINDOW_UPDATE": window_update(0, 100),
}


@pytest.mark.parametrize("name", GOOD)
def test_frames_that_do_no_harm(shared, name):
    with open_h2(shared) as f:
        f.handshake()
        f.send(GOOD[name])
        assert f.get("/fine").body == b"/fine"
        assert f.alive()


def test_field_blocks_in_every_form(shared):
    """Padding, priority, CONTINUATION, Huffman, indexed and literal fields, table size updates."""
    with open_h2(shared) as f:
        f.handshake()
        priority = u32(0) + b"\x10"
        for payload, flags in ((b"\x03" + G + b"\0\0\0", PADDED), (priority + G, WITH_PRIORITY),
                               (b"\x02" + priority + G + b"\0\0", PADDED | WITH_PRIORITY),
                               (b"\x20" + G, 0), (b"\x20\x3f\xe1\x1f" + G, 0),
                               (b"\x82\x86\x84" + literal(":authority", "localhost"), 0),
                               (f.encoder.encode(f.fields(extra=[("x-a", "b" * 300)])), 0)):
            s = f.headers(payload=payload, flags=EH | flags)
            assert f.answer(s).status == 200
        stream = f.next_id
        f.next_id += 2
        f.send(frame(HEADERS, END_STREAM, stream, G[:5]), frame(CONTINUATION, 0, stream, G[5:20]),
               frame(CONTINUATION, EH, stream, G[20:]))
        assert f.answer(stream).status == 200


# ---- messages ----


def test_what_the_origin_sees(shared):
    with open_h2(shared) as f:
        s = f.headers(f.fields(path="/a?b=%20c", extra=[
            ("cookie", "a=1"), ("x-one", "1"), ("cookie", "b=2"), ("cookie", "c=3"),
            ("te", "trailers"), ("accept", "*/*"), ("host", "LOCALHOST:80")],
            authority="localhost"))
        answer = f.answer(s)
        assert answer.status == 200 and answer.body == b"/a?b=%20c"
        assert all(n == n.lower() for n, _ in answer.fields)
    r = shared.origin.last
    assert r.start == "GET /a?b=%20c HTTP/1.1"
    assert r.get("Cookie") == "a=1; b=2; c=3"
    assert r.get("Host") == "localhost"
    assert r.get("TE") == "trailers" and r.get("X-Forwarded-Proto") == "http"
    assert r.get("Content-Length") is None and r.get("Transfer-Encoding") is None


def test_bodies_and_trailers_both_ways(shared):
    with open_h2(shared) as f:
        body = bytes(range(256)) * 2000
        s = f.headers(f.fields("POST", extra=[("content-length", str(len(body)))]), end=False)
        f.handshake()
        sent = 0
        windows = {0: 1 << 20, s: f.peer[4]}
        seen = len(f.seen)
        while sent < len(body):
            n = min(16384, len(body) - sent, windows[s])
            if n > 0:
                f.data(s, body[sent:sent + n], end=sent + n == len(body))
                sent += n
                windows[s] -= n
                continue
            f.recv()
            for x in f.seen[seen:]:
                if x.kind == WINDOW_UPDATE and x.stream == s:
                    windows[s] += struct.unpack(">I", x.payload)[0]
            seen = len(f.seen)
        answer = f.answer(s)
        assert answer.status == 200 and answer.body == body
        assert shared.origin.last.framing == "length"
        s = f.headers(f.fields("POST", extra=[("trailer", "x-sum")]), end=False)
        f.data(s, b"12345")
        f.headers([("x-sum", "15"), ("authorization", "no")], stream=s)
        answer = f.answer(s)
        assert answer.body == b"12345" and answer.trailers == [("x-t", "15")]
        assert shared.origin.last.trailers == [("x-sum", "15")]


def test_head_204_304_connect_options(caddis, origin):
    def answer(request):
        if request.target == "/204":
            return Response(204)
        if request.target == "/304":
            return Response(304, fields=[("ETag", '"x"')])
        return Response(200, b"some text")

    o = origin(answer)
    c = caddis(PROXY % o.address, globals=H2C)
    with open_h2(c) as f:
        a = f.answer(f.headers(f.fields("HEAD")))
        assert a.status == 200 and a.get("content-length") == "9" and a.body == b""
        assert f.get("/204").status == 204
        assert f.get("/304").status == 304
        a = f.answer(f.headers([(":method", "CONNECT"), (":authority", "localhost:443")]))
        assert a.status == 405
        assert f.answer(f.headers(f.fields("OPTIONS", "*"))).status == 200
    assert o.last.start == "OPTIONS * HTTP/1.1"


def test_early_hints_and_100_continue(caddis, scripted):
    def script(raw):
        request = raw.read_head()
        if request.method == "POST":
            raw.read_body(request)
        raw.send("HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n"
                 "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    c = caddis(PROXY % scripted(script).address, globals=H2C)
    with open_h2(c) as f:
        a = f.get()
        assert a.status == 200 and a.body == b"ok"
        assert a.interim == [[(":status", "103"), ("link", "</a.css>")]]
    with open_h2(c) as f:
        s = f.headers(f.fields("POST", extra=[("expect", "100-continue"),
                                              ("content-length", "4")]), end=False)
        assert f.until(HEADERS, s).fields == [(":status", "100")]
        f.data(s, b"body", end=True)
        a = f.answer(s)
        assert a.status == 200 and a.body == b"ok"


def test_early_answer_resets_without_error(caddis):
    c = caddis("http://localhost {\n\trespond \"no\" 413\n}", globals=H2C)
    with open_h2(c) as f:
        s = f.headers(f.fields("POST"), end=False)
        a = f.answer(s)
        assert a.status == 413 and a.body == b"no"
        reset = f.until(RST_STREAM, s)
        assert reset.code == NO_ERROR
        f.data(s, b"x" * 1000)  # was on its way
        assert f.get().status == 413


@pytest.mark.parametrize("how", ["reset", "short", "garbage", "silent head"])
def test_what_an_origin_does_wrong(caddis, scripted, how):
    def script(raw):
        raw.read_request()
        if how == "silent head":
            return
        if how == "garbage":
            raw.send("NOT HTTP\r\n\r\n")
            return
        raw.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345")
        if how == "reset":
            time.sleep(0.2)
            raw.reset()

    c = caddis(PROXY % scripted(script).address, globals=H2C)
    with open_h2(c) as f:
        a = f.get()
        if how in ("reset", "short"):
            assert a.status == 200 and b"12345".startswith(a.body) and a.reset == 2
        else:
            assert a.status == 502 and a.reset is None
        assert f.alive()


def test_many_streams_at_once_and_the_limit(caddis, scripted):
    go = threading.Event()

    def script(raw):
        r = raw.read_request()
        go.wait(20)
        raw.send(f"HTTP/1.1 200 OK\r\nContent-Length: {len(r.target)}\r\n\r\n{r.target}")

    o = scripted(script)
    c = caddis(PROXY % o.address, globals=H2C)
    with open_h2(c) as f:
        f.handshake()
        most = f.peer[3]
        assert 100 <= most <= 256
        ids = [f.headers(f.fields(path=f"/{i}")) for i in range(most)]
        extra = f.headers(f.fields(path="/extra"))
        kind, code = f.outcome(extra)
        assert (kind, code) in ((S, REFUSED_STREAM), (C, PROTOCOL_ERROR), (S, PROTOCOL_ERROR))
        if kind == C:
            return
        go.set()
        bodies = {}
        while len(bodies) < most:
            x = f.recv()
            if x.kind == DATA and x.payload:
                bodies[x.stream] = x.payload
        assert bodies == {s: b"/%d" % i for i, s in enumerate(ids)}


# ---- flow control ----


def test_windows_are_kept(caddis):
    c = caddis("http://localhost {\n\trespond \"hello\"\n}", globals=H2C)
    with open_h2(c, own=[(4, 1)]) as f:
        f.handshake()
        s = f.headers()
        assert f.until(DATA, s).payload == b"h"
        assert f.alive() and f.seen[-1].kind == PING
        f.send(settings((4, 0)))  # the window becomes negative
        f.send(window_update(s, 1))
        assert f.alive()
        assert not [x for x in f.seen if x.kind == DATA][1:]
        f.send(settings((4, 2), (4, 3)))  # the last one counts
        assert f.until(DATA, s).payload == b"ell"
        f.send(window_update(s, 10))
        last = f.until(DATA, s)
        assert last.payload == b"o" and last.flags & END_STREAM


def test_a_stalled_download_stalls_nobody_else(caddis, origin):
    big = b"x" * (8 << 20)
    o = origin(lambda r: Response(200, big if r.target == "/big" else b"small"))
    c = caddis(PROXY % o.address, globals=H2C)
    with open_h2(c) as f:
        f.handshake()
        f.send(window_update(0, 1 << 24))
        stalled = [f.headers(f.fields(path="/big")) for _ in range(8)]
        for s in stalled:  # the first window of each, and nothing more
            got = 0
            while sum(len(x.payload) for x in f.seen if x.kind == DATA and x.stream == s) < 65535:
                f.recv()
        for _ in range(3):
            assert f.get("/small").body == b"small"
        rss = int(subprocess.check_output(["ps", "-o", "rss=", "-p", str(c.processes()[-1])]))
        f.send(window_update(stalled[3], 1 << 23))
        while sum(len(x.payload) for x in f.seen
                  if x.kind == DATA and x.stream == stalled[3]) < len(big):
            f.recv()
        assert rss < 400 * 1024  # ASan's share is large; 64 MiB of content is not in it


def test_a_stalled_upload_stalls_nobody_else(caddis, scripted):
    go = threading.Event()

    def script(raw):
        r = raw.read_head()
        if r.target == "/stall":
            go.wait(30)
            raw.read_body(r)
        raw.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    c = caddis(PROXY % scripted(script).address, globals=H2C)
    with open_h2(c) as f:
        f.handshake()
        size = 8 << 20
        s = f.headers(f.fields("POST", "/stall", extra=[("content-length", str(size))]), end=False)
        window, sent, seen = f.peer[4], 0, 0
        f.raw.sock.settimeout(1.0)
        try:
            while sent < size:
                n = min(window, 16384)
                if n:
                    f.data(s, b"u" * n)
                    sent, window = sent + n, window - n
                    continue
                f.recv()
                for x in f.seen[seen:]:
                    if x.kind == WINDOW_UPDATE and x.stream == s:
                        window += struct.unpack(">I", x.payload)[0]
                seen = len(f.seen)
        except AssertionError:
            pass  # no more window: it stalls
        assert sent < size
        f.raw.sock.settimeout(15)
        assert f.get("/other").body == b"ok"
        go.set()
        window += sum(struct.unpack(">I", x.payload)[0] for x in f.seen[seen:]
                      if x.kind == WINDOW_UPDATE and x.stream == s)
        seen = len(f.seen)
        while sent < size:
            n = min(window, 16384, size - sent)
            if n:
                f.data(s, b"u" * n, end=sent + n == size)
                sent, window = sent + n, window - n
                continue
            f.recv()
            for x in f.seen[seen:]:
                if x.kind == WINDOW_UPDATE and x.stream == s:
                    window += struct.unpack(">I", x.payload)[0]
            seen = len(f.seen)
        assert f.answer(s).status == 200


# ---- limits and floods ----


def test_head_limits(shared):
    before = len(shared.origin.requests)
    with open_h2(shared) as f:
        f.handshake()
        a = f.answer(f.headers(f.fields(extra=[(f"x-{i}", "v") for i in range(200)])))
        assert a.status == 431
        big = f.encoder.encode(f.fields(extra=[(f"x{i}", "v" * 8000) for i in range(10)]))
        s = f.next_id
        f.next_id += 2
        parts = [big[i:i + 16000] for i in range(0, len(big), 16000)]
        f.send(frame(HEADERS, END_STREAM, s, parts[0]),
               *[frame(CONTINUATION, EH if p is parts[-1] else 0, s, p) for p in parts[1:]])
        assert f.answer(s).status == 431
        crumbs = [("cookie", f"c{i}=v") for i in range(500)]
        a = f.answer(f.headers(f.fields(path="/ok", extra=crumbs)))
        assert a.status == 200
        assert shared.origin.last.get("Cookie").count(";") == 499
        assert f.alive()
    assert len(shared.origin.requests) == before + 1


def cpu(c):
    pid = c.processes()[-1]
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / 100


def flood(c, data, calm=(ENHANCE_YOUR_CALM,)):
    """Sends data for as long as the peer takes it; how the connection ended."""
    with open_h2(c) as f:
        f.handshake()
        f.raw.sock.settimeout(20)
        sender = threading.Thread(target=try_send, args=(f.raw.sock, data))
        sender.start()
        end = None
        try:
            while True:
                x = f.recv()
                if x.kind == GOAWAY:
                    end = x.code
        except (rawlib.Closed, OSError):
            pass
        f.raw.sock.close()
        sender.join(20)
        assert end in calm, end
        return f


def try_send(sock, data):
    try:
        sock.sendall(data)
    except OSError:
        pass


def test_rapid_reset(plain, origin):
    """CVE-2023-44487: 20,000 requests, each reset at once."""
    o = origin()
    c = plain(PROXY % o.address, globals=H2C)
    pairs = b"".join(H(G, s) + rst(s) for s in range(1, 40001, 2))
    before = cpu(c)
    flood(c, pairs)
    used = cpu(c) - before
    assert used <= 0.1, f"{used} s"
    assert len(o.requests) <= 5
    with c.connect() as connection:
        assert connection.get().status == 200


def test_made_you_reset(plain, origin):
    """CVE-2025-8671: requests that we must reset ourselves, by errors of all kinds."""
    o = origin()
    c = plain(PROXY % o.address, globals=H2C)
    tricks = [lambda s: window_update(s, 0), lambda s: frame(DATA, END_STREAM, s, b"x"),
              lambda s: window_update(s, 0x7FFFFFFF), lambda s: H(G, s)]
    for trick in tricks:
        before, cpu_before = len(o.requests), cpu(c)
        flood(c, b"".join(H(G, s) + trick(s) for s in range(1, 20001, 2)),
              (ENHANCE_YOUR_CALM, PROTOCOL_ERROR, STREAM_CLOSED, FLOW_CONTROL_ERROR))
        assert len(o.requests) - before <= 200
        assert cpu(c) - cpu_before <= 0.2


FLOODS = {
    "PING": frame(PING, 0, 0, b"12345678") * 50000,
    "SETTINGS": settings((4, 65535)) * 50000,
    "empty SETTINGS": settings() * 50000,
    "empty DATA": H(P, flags=EH) + frame(DATA, 0, 1, b"") * 50000,
    "padding only": H(P, flags=EH) + frame(DATA, PADDED, 1, b"\x03\0\0\0") * 50000,
    "PRIORITY": b"".join(frame(PRIORITY, 0, 2 * i + 1, b"\0\0\0\0\x10") for i in range(50000)),
    "CONTINUATION": H(G, flags=END_STREAM) + frame(CONTINUATION, 0, 1, literal("a", "b")) * 50000,
    "empty CONTINUATION": H(G, flags=END_STREAM) + frame(CONTINUATION, 0, 1, b"") * 50000,
    "unknown": frame(0x77, 0, 0, b"") * 50000,
    "malformed requests": b"".join(H(head(("X", "y")), s) for s in range(1, 20001, 2)),
}


@pytest.mark.parametrize("name", FLOODS)
def test_floods(plain, name):
    c = plain("http://localhost {\n\trespond ok\n}", globals=H2C)
    before = cpu(c)
    flood(c, FLOODS[name])
    assert cpu(c) - before <= 0.2
    with c.connect() as connection:
        assert connection.get().status == 200


def test_frames_that_cost_nothing(plain):
    """Window updates only cost their bytes."""
    c = plain("http://localhost {\n\trespond ok\n}", globals=H2C)
    with open_h2(c) as f:
        f.handshake()
        before = cpu(c)
        f.send(window_update(0, 1) * 50000)
        assert f.get().body == b"ok"
        assert cpu(c) - before <= 0.2


def test_hpack_bomb(plain, origin):
    """One large field in the table, named again and again: it is not unpacked to the end."""
    o = origin()
    c = plain(PROXY % o.address, globals=H2C)
    with open_h2(c) as f:
        f.handshake()
        value = b"v" * 4000
        rest = len(value) - 127
        length = b"\x7f" + bytes([rest & 127 | 128, rest >> 7])
        entry = b"\x40\x01x" + length + value
        before = cpu(c)
        s = f.headers(payload=G + entry + b"\xbe" * 11000)
        assert f.outcome(s) in ((S, ENHANCE_YOUR_CALM), ("answer", 431))
        assert cpu(c) - before <= 0.1
        assert f.alive()
    assert not o.requests


# ---- tunnels ----


def websocket_origin(raw):
    request = raw.read_head()
    assert request.method == "GET" and request.has_token("Connection", "upgrade")
    assert request.get("Upgrade") == "websocket" and len(request.get("Sec-WebSocket-Key")) == 24
    if request.target == "/no":
        raw.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nno")
        return
    if request.target == "/denied":
        raw.send("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno")
        return
    raw.send("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
             "Sec-WebSocket-Accept: x\r\nSec-WebSocket-Protocol: chat\r\n\r\nhello")
    while True:
        try:
            data = raw.recv_exactly(1)
        except rawlib.Closed:
            raw.send("bye")
            return
        raw.send(data.upper())


def connect_fields(f, path):
    return [(":method", "CONNECT"), (":protocol", "websocket"), (":scheme", "http"),
            (":path", path), (":authority", "localhost"), ("sec-websocket-version", "13"),
            ("sec-websocket-protocol", "chat")]


def test_websocket_over_http2(caddis, scripted):
    o = scripted(websocket_origin)
    c = caddis(PROXY % o.address, globals=H2C)
    with open_h2(c) as f:
        f.handshake()
        assert f.peer[8] == 1
        s = f.headers(connect_fields(f, "/ws"), end=False)
        x = f.until(HEADERS, s)
        assert x.fields[0] == (":status", "200") and not x.flags & END_STREAM
        assert ("sec-websocket-protocol", "chat") in x.fields
        assert not [n for n, _ in x.fields if n in ("sec-websocket-accept", "upgrade",
                                                    "connection", "content-length")]
        got = b""
        while got != b"hello":
            got += f.until(DATA, s).payload
        for i in range(5):
            f.data(s, b"a%d" % i)
            got = b""
            while got != b"A%d" % i:
                got += f.until(DATA, s).payload
        f.data(s, b"", end=True)  # our half ends; the origin's last words still come
        got, last = b"", None
        while not last or not last.flags & END_STREAM:
            last = f.until(DATA, s)
            got += last.payload
        assert got == b"bye"
        a = f.answer(f.headers(connect_fields(f, "/no"), end=False))
        assert a.status == 502  # a 200 would look like success
        a = f.answer(f.headers(connect_fields(f, "/denied"), end=False))
        assert a.status == 403 and a.body == b"no"
        fields = connect_fields(f, "/")
        fields[1] = (":protocol", "connect-udp")
        assert f.answer(f.headers(fields, end=False)).status == 501
        assert f.alive()


def test_tunnel_is_cut_when_a_side_breaks(caddis, scripted):
    ended = threading.Event()

    def script(raw):
        raw.read_head()
        raw.send("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n"
                 "Upgrade: websocket\r\n\r\n")
        if raw.recv_exactly(1) == b"r":
            raw.reset()
            return
        try:
            raw.recv_exactly(1)
        except rawlib.Closed:
            ended.set()

    c = caddis(PROXY % scripted(script).address, globals=H2C)
    with open_h2(c) as f:
        s = f.headers(connect_fields(f, "/"), end=False)
        f.until(HEADERS, s)
        f.data(s, b"r")
        assert f.until(RST_STREAM, s).code != NO_ERROR
        s = f.headers(connect_fields(f, "/"), end=False)
        f.until(HEADERS, s)
        f.data(s, b"x")
        time.sleep(0.1)
        f.send(rst(s))
        assert ended.wait(10)
        assert f.alive()


# ---- the connection's life ----


def test_graceful_stop(caddis, scripted):
    go = threading.Event()

    def script(raw):
        raw.read_request()
        go.wait(20)
        raw.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nlate")

    c = caddis(PROXY % scripted(script).address, globals=H2C + "\ngrace_period 10s")
    idle = open_h2(c).handshake()
    with open_h2(c) as f:
        f.handshake()
        s = f.headers()
        f.alive()
        stopper = threading.Thread(target=c.stop)
        stopper.start()
        notice = f.until(GOAWAY)
        assert notice.code == NO_ERROR and notice.last_stream == 0x7FFFFFFF
        second = f.until(GOAWAY)
        assert second.code == NO_ERROR and second.last_stream == s
        go.set()
        a = f.answer(s)
        assert a.status == 200 and a.body == b"late"
        assert f.raw.recv_all() is not None
        stopper.join(15)
    assert idle.until(GOAWAY).code == NO_ERROR
    assert idle.raw.recv_all() == b""
    idle.raw.close()


def test_timeouts(caddis, scripted):
    def script(raw):
        r = raw.read_head()
        with contextlib.suppress(rawlib.Closed):
            raw.read_body(r)

    c = caddis(PROXY % scripted(script).address, globals=(
        "servers {\n\tprotocols h1 h2 h2c\n\ttimeouts {\n\tidle 1s\n\tread_header 1s\n"
        "\tread_body_idle 1s\n\twrite_idle 1s\n\t}\n}"))
    with open_h2(c) as f:  # idle
        assert f.until(GOAWAY).code == NO_ERROR
        assert f.raw.recv_all() == b""
    with open_h2(c, hello=False) as f:  # no preface
        f.send(PREFACE[:10])
        f.raw.recv_all()
    with open_h2(c) as f:  # half a head
        f.handshake()
        f.send(H(G, flags=END_STREAM))
        assert f.until(GOAWAY)
    with open_h2(c) as f:  # a body that does not come
        s = f.headers(f.fields("POST", extra=[("content-length", "10")]), end=False)
        f.data(s, b"12345")
        assert f.answer(s).status == 408
        assert f.until(RST_STREAM, s).code == NO_ERROR


def test_a_client_that_takes_nothing(caddis, origin):
    o = origin(lambda r: Response(200, b"x" * (1 << 20)))
    c = caddis(PROXY % o.address, globals=(
        "servers {\n\tprotocols h1 h2 h2c\n\ttimeouts {\n\twrite_idle 1s\n\t}\n}"))
    with open_h2(c) as f:
        s = f.headers()
        assert f.until(RST_STREAM, s).code == CANCEL
        assert f.alive()


# ---- other people's clients ----


def test_alpn_and_curl(caddis):
    c = caddis("localhost {\n\trespond \"hello\"\n}", globals="local_certs")
    c.wait_certificate()
    for offered, chosen in ((["h2", "http/1.1"], "h2"), (["http/1.1", "h2"], "h2"),
                            (["http/1.1"], "http/1.1"), (["h2"], "h2")):
        with c.connect_tls(alpn=offered) as connection:
            assert connection.sock.selected_alpn_protocol() == chosen
    run = subprocess.run(
        ["curl", "-sk", "--http2", "--resolve", f"localhost:{c.https}:127.0.0.1", "-w",
         " %{http_version}", f"https://localhost:{c.https}/"], capture_output=True, timeout=30)
    assert run.stdout == b"hello 2"


def test_protocols_h1_only(caddis):
    c = caddis("localhost {\n\trespond \"hello\"\n}\nhttp://localhost {\n\trespond \"hello\"\n}",
               globals="local_certs\nservers {\n\tprotocols h1\n}")
    c.wait_certificate()
    with c.connect_tls(alpn=["h2", "http/1.1"]) as connection:
        assert connection.sock.selected_alpn_protocol() == "http/1.1"
    with c.connect() as connection:  # no prior knowledge either
        connection.send(PREFACE + settings())
        assert b"HTTP/1.1" in connection.recv_all()


def test_h2c_is_told_from_http1(caddis):
    c = caddis("http://localhost {\n\trespond \"hello\"\n}", globals=H2C)
    with c.connect() as connection:
        assert connection.get().body == b"hello"
        assert connection.get().body == b"hello"
    with c.connect() as connection:  # byte by byte
        for b in b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n":
            connection.send(bytes([b]))
        assert connection.read_response().body == b"hello"
    with open_h2(c, hello=False) as f:
        for b in PREFACE + settings():
            f.send(bytes([b]))
        assert f.get().body == b"hello"


@pytest.mark.skipif(not shutil.which("h2load"), reason="nghttp2-client is not installed")
def test_h2load(caddis, origin):
    o = origin(lambda r: Response(200, b"x" * 3000))
    c = caddis("localhost {\n\treverse_proxy %s\n}" % o.address, globals="local_certs")
    c.wait_certificate()
    run = subprocess.run(["h2load", "-n", "3000", "-c", "8", "-m", "16",
                          f"https://localhost:{c.https}/"], capture_output=True, text=True,
                         timeout=120)
    assert "3000 succeeded, 0 failed" in run.stdout, run.stdout
