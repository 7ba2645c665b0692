"""Malformed requests get 400 and the connection is closed; nothing of them reaches an origin.
Ambiguous or broken responses get 502. What is cut off must be seen to be cut off."""

import time

import pytest
from lib.origin import Origin
from lib.raw import Closed

SITE = "http://localhost {\n\treverse_proxy %s\n}"
HOST = b"Host: localhost\r\n"


def get(*fields, line=b"GET / HTTP/1.1", host=HOST, body=b""):
    return line + b"\r\n" + host + b"".join(f + b"\r\n" for f in fields) + b"\r\n" + body


def post(*fields, body=b""):
    return get(*fields, line=b"POST / HTTP/1.1", body=body)


SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n"

BAD_HEADS = {
    "length and chunked": post(b"Content-Length: 5", b"Transfer-Encoding: chunked",
                               body=b"0\r\n\r\n" + SMUGGLED),
    "chunked and length": post(b"Transfer-Encoding: chunked", b"Content-Length: 5",
                               body=b"0\r\n\r\n" + SMUGGLED),
    "two lengths": post(b"Content-Length: 5", b"Content-Length: 6", body=b"hello!"),
    "the same length twice": post(b"Content-Length: 5", b"Content-Length: 5", body=b"hello"),
    "lengths in a list": post(b"Content-Length: 5, 5", body=b"hello"),
    "negative length": post(b"Content-Length: -1"),
    "length with a plus": post(b"Content-Length: +5", body=b"hello"),
    "hexadecimal length": post(b"Content-Length: 0x5", body=b"hello"),
    "empty length": post(b"Content-Length:", body=b"hello"),
    "length with a space in it": post(b"Content-Length: 1 1", body=b"hello"),
    "length too large for any number": post(b"Content-Length: 99999999999999999999999"),
    "length with letters": post(b"Content-Length: 5x", body=b"hello"),
    "chunked twice": post(b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked",
                          body=b"0\r\n\r\n"),
    "chunked not last": post(b"Transfer-Encoding: chunked, identity", body=b"0\r\n\r\n"),
    "vertical tab before chunked": post(b"Transfer-Encoding: \x0bchunked", body=b"0\r\n\r\n"),
    "space before the colon": post(b"Content-Length : 5", body=b"hello"),
    "tab before the colon": post(b"Transfer-Encoding\t: chunked", body=b"0\r\n\r\n"),
    "no colon": get(b"Nonsense"),
    "empty name": get(b": value"),
    "folded line": get(b"X-A: b\r\n c"),
    "folded with a tab": get(b"X-A: b\r\n\tc"),
    "space before the first field": get(host=b" Host: localhost\r\n"),
    "NUL in a value": get(b"X-A: b\x00c"),
    "control byte in a value": get(b"X-A: b\x01c"),
    "DEL in a value": get(b"X-A: b\x7fc"),
    "bare CR in a value": get(b"X-A: b\rc"),
    "NUL in a name": get(b"X\x00A: b"),
    "space in a name": get(b"X A: b"),
    "non-ASCII in a name": get(b"X-\xc3\xa9: b"),
    "parenthesis in a name": get(b"X(A): b"),
    "no host": get(host=b""),
    "two hosts": get(host=HOST + b"Host: other\r\n"),
    "the same host twice": get(host=HOST + HOST),
    "host with a space": get(host=b"Host: local host\r\n"),
    "host with a path": get(host=b"Host: localhost/x\r\n"),
    "host with a user": get(host=b"Host: user@localhost\r\n"),
    "host with a bad port": get(host=b"Host: localhost:port\r\n"),
    "two host names": get(host=b"Host: a, b\r\n"),
    "space in the target": get(line=b"GET /a b HTTP/1.1"),
    "two spaces": get(line=b"GET  / HTTP/1.1"),
    "tab in the request line": get(line=b"GET\t/ HTTP/1.1"),
    "space at the end of the line": get(line=b"GET / HTTP/1.1 "),
    "control byte in the target": get(line=b"GET /\x01 HTTP/1.1"),
    "NUL in the target": get(line=b"GET /\x00 HTTP/1.1"),
    "target without a slash": get(line=b"GET foo HTTP/1.1"),
    "no target": get(line=b"GET HTTP/1.1"),
    "bad method": get(line=b"GE(T / HTTP/1.1"),
    "no method": get(line=b" / HTTP/1.1"),
    "HTTP/0.9": b"GET /\r\n",
    "HTTP/0.9 with a version": get(line=b"GET / HTTP/0.9"),
    "lower-case http": get(line=b"GET / http/1.1"),
    "no minor version": get(line=b"GET / HTTP/1"),
    "long minor version": get(line=b"GET / HTTP/1.10"),
    "not HTTP": b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
    "TLS on the plain port": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 64 + b"\r\n\r\n",
    "chunked in HTTP/1.0": get(b"Transfer-Encoding: chunked", line=b"POST / HTTP/1.0",
                               body=b"0\r\n\r\n"),
}


# More precise answers that are as good.
ALSO = {(501, "chunked twice"), (501, "chunked not last"), (501, "vertical tab before chunked"),
        (505, "HTTP/0.9 with a version")}


@pytest.fixture(scope="module")
def shared():
    """One caddis and one origin for all malformed requests: they must not hurt the next one."""
    from lib.caddis import Caddis

    o = Origin()
    c = Caddis(SITE % o.address)
    yield c, o
    try:
        c.stop()
    finally:
        c.clean()
        o.errors = [e for e in o.errors if not isinstance(e, Closed)]  # cut off, as it must be
        o.finish()


@pytest.mark.parametrize("name", BAD_HEADS)
def test_malformed_request(shared, name):
    c, o = shared
    before = len(o.requests)
    with c.connect() as connection:
        connection.send(BAD_HEADS[name])
        answer = connection.read_response()
        assert answer.status == 400 or (answer.status, name) in ALSO
        assert answer.has_token("Connection", "close")
        assert connection.closed(), "the connection was kept, or something else was answered too"
    assert len(o.requests) == before, o.requests[before:]
    assert c.get("/fine").status == 200


@pytest.mark.parametrize("name,status", [
    ("HTTP/2.0", (400, 505)), ("HTTP/3.1", (400, 505)),
])
def test_other_versions(shared, name, status):
    c, o = shared
    before = len(o.requests)
    with c.connect() as connection:
        connection.send(get(line=b"GET / " + name.encode()))
        assert connection.read_response().status in status
        assert connection.closed()
    assert len(o.requests) == before


def test_unknown_transfer_coding(shared):
    c, o = shared
    before = len(o.requests)
    for coding in (b"gzip, chunked", b"chunked, chunked", b"identity", b"xchunked", b"chunked;a=b"):
        with c.connect() as connection:
            connection.send(post(b"Transfer-Encoding: " + coding, body=b"0\r\n\r\n" + SMUGGLED))
            assert connection.read_response().status in (400, 501), coding
            assert connection.closed(), coding
    assert len(o.requests) == before


def test_plain_connect(shared):
    c, o = shared
    before = len(o.requests)
    with c.connect() as connection:
        connection.send(b"CONNECT localhost:1 HTTP/1.1\r\nHost: localhost:1\r\n\r\n")
        assert connection.read_response().status == 405
    assert len(o.requests) == before


@pytest.mark.parametrize("name,fields", {
    "one field too large": [b"X-A: " + b"a" * 70000],
    "many fields together too large": [b"X-%d: " % i + b"a" * 1000 for i in range(80)],
    "too many fields": [b"X-%d: a" % i for i in range(200)],
}.items())
def test_head_too_large(shared, name, fields):
    c, o = shared
    before = len(o.requests)
    with c.connect() as connection:
        try:
            connection.send(get(*fields))
        except Closed:
            pass  # it may close before all is sent; the answer is still there
        assert connection.read_response().status == 431
        assert connection.closed()
    assert len(o.requests) == before


def test_target_too_large(shared):
    c, o = shared
    with c.connect() as connection:
        try:
            connection.send(get(line=b"GET /" + b"a" * 80000 + b" HTTP/1.1"))
        except Closed:
            pass
        assert connection.read_response().status in (414, 431)


BAD_CHUNKS = {
    "not a number": b"x\r\n",
    "empty size": b"\r\n",
    "negative": b"-1\r\n",
    "plus": b"+5\r\nhello\r\n0\r\n\r\n",
    "0x": b"0x5\r\nhello\r\n0\r\n\r\n",
    "space before": b" 5\r\nhello\r\n0\r\n\r\n",
    "far too large": b"fffffffffffffffff\r\n",
    "just too large": b"8000000000000000\r\n",
    "longer than said": b"3\r\nhello\r\n0\r\n\r\n",
    "bare LF behind the size": b"5\nhello\r\n0\r\n\r\n",
    "bare LF behind the data": b"5\r\nhello\n0\r\n\r\n",
    "CR in the extension": b"5;a\rb\r\nhello\r\n0\r\n\r\n",
    "NUL in the extension": b"5;a\x00b\r\nhello\r\n0\r\n\r\n",
    "endless extension": b"5;" + b"a" * 100000,
    "bad trailer": b"0\r\nbad trailer\r\n\r\n",
    "folded trailer": b"0\r\nX: a\r\n b\r\n\r\n",
    "trailers too large": b"0\r\n" + b"X-T: " + b"t" * 100000,
}


@pytest.mark.parametrize("name", BAD_CHUNKS)
def test_bad_chunk(shared, name):
    """The head may have been forwarded by then; the origin must not see a finished request."""
    c, o = shared
    before = len(o.requests)
    with c.connect() as connection:
        try:
            connection.send(post(b"Transfer-Encoding: chunked", body=BAD_CHUNKS[name]))
        except Closed:
            pass
        assert connection.read_response().status in (400, 431)
        assert connection.closed()
    assert len(o.requests) == before


def test_body_cut_off_by_the_client(shared):
    c, o = shared
    before = len(o.requests)
    for body in (b"hel", b""):
        with c.connect() as connection:
            connection.send(post(b"Content-Length: 5", body=body))
            connection.shutdown_write()
            connection.closed()
    with c.connect() as connection:
        connection.send(post(b"Transfer-Encoding: chunked", body=b"5\r\nhello\r\n"))
        connection.shutdown_write()
        connection.closed()
    time.sleep(0.2)
    assert len(o.requests) == before


def test_what_follows_a_bad_request_is_not_looked_at(shared):
    c, o = shared
    before = len(o.requests)
    with c.connect() as connection:
        connection.send(get(b"Bad Field: x") + SMUGGLED)
        assert connection.read_response().status == 400
        assert connection.closed()
    assert len(o.requests) == before


def test_good_then_bad_in_one_go(shared):
    c, o = shared
    with c.connect() as connection:
        connection.send(get(line=b"GET /good HTTP/1.1") + get(host=b""))
        assert connection.read_response().body == b"GET /good"
        assert connection.read_response().status == 400
        assert connection.closed()


def test_empty_lines_before_a_request_are_forgiven(shared):
    c, _ = shared
    with c.connect() as connection:
        connection.send(b"\r\n" + get())
        assert connection.read_response().status == 200


def test_unusual_but_valid(shared):
    c, o = shared
    with c.connect() as connection:
        connection.send(get(b"x-a:b", b"X-B:\t c \t", b"X-C: \xff\xfe", b"X!#$%&'*+-.^_`|~9: d",
                            line=b"FROB /?a=[]|^`{}\"<>\\ HTTP/1.1", host=b"hOsT:localhost\r\n"))
        assert connection.read_response().status in (200, 400)  # the odd characters may be refused
        connection.close()
    with c.connect() as connection:
        connection.send(get(b"x-a:b", b"X-B:\t c \t", b"X-C: \xff\xfe", b"X!#$%&'*+-.^_`|~9: d",
                            line=b"FROB /?a HTTP/1.1", host=b"hOsT:localhost\r\n"))
        assert connection.read_response().status == 200
    assert o.last.method == "FROB"
    assert o.last.get("X-B") == "c"


def test_slow_heads_run_into_the_timeout(caddis):
    c = caddis("http://localhost {\n\trespond x\n}",
               globals="servers {\n\ttimeouts {\n\t\tread_header 1s\n\t}\n}")
    started = time.monotonic()
    with c.connect() as connection:
        connection.send(b"GET / HTTP/1.1\r\n")
        try:
            while time.monotonic() - started < 10:
                connection.send(b"X-A: b\r\n")
                time.sleep(0.1)
        except Closed:
            pass
    assert time.monotonic() - started < 8


# ---- origins ----

OK = b"HTTP/1.1 200 OK\r\n"

BAD_RESPONSES = {
    "length and chunked": OK + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "two lengths": OK + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
    "odd length": OK + b"Content-Length: 5x\r\n\r\nhello",
    "negative length": OK + b"Content-Length: -5\r\n\r\nhello",
    "unknown coding": OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "chunked twice": OK + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "space before the colon": OK + b"X-A : b\r\nContent-Length: 0\r\n\r\n",
    "folded line": OK + b"X-A: b\r\n c\r\nContent-Length: 0\r\n\r\n",
    "NUL in a value": OK + b"X-A: b\x00c\r\nContent-Length: 0\r\n\r\n",
    "bare CR in a value": OK + b"X-A: b\rSet-Cookie: c\r\nContent-Length: 0\r\n\r\n",
    "no colon": OK + b"nonsense\r\nContent-Length: 0\r\n\r\n",
    "bad name": OK + b"X A: b\r\nContent-Length: 0\r\n\r\n",
    "not HTTP": b"hello there\r\n\r\n",
    "HTTP/2.0": b"HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n",
    "status of two digits": b"HTTP/1.1 20 OK\r\nContent-Length: 0\r\n\r\n",
    "status of four digits": b"HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n",
    "status 099": b"HTTP/1.1 099 X\r\nContent-Length: 0\r\n\r\n",
    "no status": b"HTTP/1.1\r\nContent-Length: 0\r\n\r\n",
    "head cut off": OK + b"Content-Length: 5\r\nX-A",
    "nothing": b"",
    "head too large": OK + b"X-A: " + b"a" * 70000 + b"\r\nContent-Length: 0\r\n\r\n",
    "too many fields": OK + b"".join(b"X-%d: a\r\n" % i for i in range(200))
                       + b"Content-Length: 0\r\n\r\n",
    "1xx without end": b"HTTP/1.1 103 Early Hints\r\n\r\n" * 2000,
}


@pytest.mark.parametrize("name", BAD_RESPONSES)
def test_broken_response(caddis, scripted, name):
    def script(raw):
        try:
            raw.read_request()
            raw.send(BAD_RESPONSES[name])
        except Closed:
            pass

    o = scripted(script)
    with caddis(SITE % o.address).connect() as connection:
        answer = connection.get()
        assert answer.status == 502
        assert o.address.encode() in answer.body
        assert answer.all("Set-Cookie") == []


CUT_OFF = {
    "length": OK + b"Content-Length: 100\r\n\r\nonly this",
    "chunked, between chunks": OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
    "chunked, inside a chunk": OK + b"Transfer-Encoding: chunked\r\n\r\n50\r\nhello",
    "chunked, before the last line": OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n",
    "chunked, bad size": OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nzz\r\n",
}


@pytest.mark.parametrize("name", CUT_OFF)
@pytest.mark.parametrize("how", ["close", "reset"])
def test_cut_off_response_is_seen_by_the_client(caddis, scripted, name, how):
    def script(raw):
        raw.read_request()
        raw.send(CUT_OFF[name])
        if how == "reset":
            time.sleep(0.1)
            raw.reset()

    with caddis(SITE % scripted(script).address).connect() as connection:
        with pytest.raises(Closed):
            answer = connection.get()
            # What had not begun to be sent may also be answered with 502.
            assert answer.status == 502
            raise Closed


def test_cut_off_response_to_a_1_0_client_is_a_reset(caddis, scripted):
    """Its body ends with the connection, so that only a reset can tell."""
    def script(raw):
        raw.read_request()
        raw.send(OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
        time.sleep(0.2)

    with caddis(SITE % scripted(script).address).connect() as connection:
        connection.send("GET / HTTP/1.0\r\nHost: localhost\r\n\r\n")
        with pytest.raises(Closed):
            answer = connection.read_response()
            assert answer.status == 502
            raise Closed


def test_bytes_behind_a_response_are_not_the_next_one(caddis, scripted):
    """An origin that says more than it announced does not get to answer the next request."""
    def script(raw):
        raw.read_request()
        raw.send(OK + b"Content-Length: 2\r\n\r\nok" + OK + b"Content-Length: 4\r\n\r\nevil")
        try:
            raw.read_request()
            raw.send(OK + b"Content-Length: 4\r\n\r\nsame")
        except Closed:
            pass

    with caddis(SITE % scripted(script).address).connect() as connection:
        assert connection.get("/1").body == b"ok"
        assert connection.get("/2").body != b"evil"
