"""Requests and responses that two parties could read differently: there must be one reading, ours
and the origin's alike. (Malformed ones are in test_30_badinput.)"""

import pytest
from lib.frames import Frames
from lib.origin import Response
from lib.raw import Closed

SITE = "http://localhost {\n\treverse_proxy %s\n}"
H2C = "servers {\n\tprotocols h1 h2 h2c\n}"
SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n"


def targets(o):
    return [r.target for r in o.requests]


def test_a_body_on_get_is_a_body(caddis, origin):
    o = origin()
    c = caddis(SITE % o.address, globals=H2C)
    for framing in (b"Content-Length: %d\r\n\r\n%s" % (len(SMUGGLED), SMUGGLED),
                    b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n"
                    % (len(SMUGGLED), SMUGGLED)):
        with c.connect() as connection:
            connection.send(b"GET /a HTTP/1.1\r\nHost: localhost\r\n" + framing)
            assert connection.read_response().body == b"GET /a"
            assert o.last.body == SMUGGLED
            assert connection.get("/b").body == b"GET /b"
    with Frames(c.connect()) as f:
        stream = f.headers(f.fields(path="/c"), end=False)
        f.data(stream, SMUGGLED, end=True)
        assert f.answer(stream).body == b"GET /c" and o.last.body == SMUGGLED
    assert targets(o) == ["/a", "/b"] * 2 + ["/c"]


@pytest.mark.parametrize("extension", [b";a=b", b';a="b;c"', b" ;a", b";\t a = b", b";" + b"x" * 500])
def test_chunk_extensions_do_not_cross(caddis, origin, scripted, extension):
    """They are read over or refused; whichever, nothing of them goes on, in either direction."""
    o = origin(lambda r: Response(body=r.body))
    with caddis(SITE % o.address).connect() as connection:
        connection.send(b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
                        b"5" + extension + b"\r\nhello\r\n0" + extension + b"\r\n\r\n")
        answer = connection.read_response("POST")
        assert answer.status == 400 or answer.body == b"hello"
        assert all(r.body == b"hello" for r in o.requests)

    def script(raw):
        raw.read_request()
        raw.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5" + extension
                 + b"\r\nhello\r\n0\r\n\r\n")

    with caddis(SITE % scripted(script).address).connect() as connection:
        try:
            answer = connection.get()  # the reader knows no extensions: it would fail on one
            assert answer.status == 502 or answer.body == b"hello"
        except Closed:
            pass


@pytest.mark.parametrize("line_end", [b"\n", b"\r"])
def test_bare_line_ends(caddis, origin, line_end):
    """Whether a bare LF ends a line is for us to say, but then the origin gets CR LF; a bare CR
    never does."""
    o = origin()
    c = caddis(SITE % o.address)
    for request in (b"GET /a HTTP/1.1" + line_end + b"Host: localhost\r\n\r\n",
                    b"GET /a HTTP/1.1\r\nHost: localhost" + line_end + b"X: y\r\n\r\n",
                    b"GET /a HTTP/1.1\r\nHost: localhost\r\nX: y" + line_end + b"\r\n",
                    b"GET /a HTTP/1.1\r\nHost: localhost\r\nX: y" + line_end + SMUGGLED):
        with c.connect() as connection:
            connection.send(request)
            connection.shutdown_write()
            try:
                answer = connection.read_response()
                assert answer.status in (400, 408) or line_end == b"\n", answer
            except Closed:
                pass
    for r in o.requests:
        assert r.target == "/a" and line_end == b"\n"


def test_host_against_the_target(caddis, origin):
    """RFC 9112 section 3.2.2: in absolute-form the target's host is the host, and the origin is told
    that one and no other."""
    o = origin()
    c = caddis("http://localhost {\n\treverse_proxy %s\n}\nhttp://other.localhost {\n\trespond other\n}"
               % o.address)
    for host, target, body in (("other.localhost", "http://localhost/x", b"GET /x"),
                               ("localhost", "http://other.localhost/x", b"other")):
        with c.connect() as connection:
            connection.send(f"GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n")
            answer = connection.read_response()
            assert answer.status == 400 or answer.body == body
    assert all(r.all("Host") == ["localhost"] for r in o.requests)


@pytest.mark.parametrize("length", [len(SMUGGLED), 5_000_000])
def test_what_is_left_after_an_early_answer_is_no_request(caddis, origin, length):
    o = origin()
    c = caddis("http://localhost {\n\thandle /no {\n\t\trespond \"no\" 403\n\t}\n\thandle {\n"
               "\t\treverse_proxy %s\n\t}\n}" % o.address)
    with c.connect() as connection:
        connection.send(b"POST /no HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % length)
        assert connection.read_response().body == b"no"
        try:
            connection.send(SMUGGLED)  # the beginning of the body, or all of it
            answer = connection.get("/next")
            assert length == len(SMUGGLED) and answer.body == b"GET /next"
        except (Closed, OSError):
            pass  # it may close instead
    assert "/smuggled" not in targets(o)


def test_pipelined_behind_an_upgrade_that_is_refused(caddis, origin):
    """What follows is a request like any other, with all rules for it, and not the origin's."""
    o = origin()
    c = caddis("http://localhost {\n\thandle /secret {\n\t\trespond \"no\" 403\n\t}\n\thandle {\n"
               "\t\treverse_proxy %s\n\t}\n}" % o.address)
    with c.connect() as connection:
        connection.send(b"GET /a HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\n"
                        b"Upgrade: websocket\r\n\r\n"
                        b"GET /secret HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert connection.read_response().body == b"GET /a"
        assert connection.read_response().status == 403
    assert targets(o) == ["/a"]


@pytest.mark.parametrize("version", ["h1", "h2"])
def test_nothing_that_a_client_names_splits_a_message(caddis, origin, version):
    """CR and LF arrive percent-encoded and come out of placeholders decoded."""
    o = origin()
    c = caddis("""http://localhost {
	header X-Q {query.q}
	handle /redir {
		redir * /to{query.q}
	}
	handle {
		reverse_proxy %s {
			header_up X-Up {query.q}
			header_down X-Down {query.q}
		}
	}
}""" % o.address, globals=H2C)
    evil = "?q=a%0d%0aSet-Cookie:%20evil=1%0d%0a%0d%0aHTTP/1.1%20200%20OK"
    for path in ("/", "/redir"):
        if version == "h1":
            with c.connect() as connection:
                answer = connection.get(path + evil)
                fields = dict(answer.fields)
                assert connection.get("/fine").body == b"GET /fine"
        else:
            with Frames(c.connect()) as f:
                fields = dict(f.get(path + evil).fields)
                assert f.get("/fine").body == b"GET /fine"
        assert "set-cookie" not in {n.lower() for n in fields}
        assert not any(x in v for v in fields.values() for x in "\r\n")
    for r in o.requests:  # the reader there is strict too
        assert not r.all("Set-Cookie")


@pytest.mark.parametrize("version", ["h1", "h2"])
def test_names_with_underscores_do_not_cross(caddis, origin, version):
    """To many frameworks Content_Length is Content-Length."""
    o = origin()
    c = caddis(SITE % o.address, globals=H2C)
    fields = [("content_length", "5"), ("x_forwarded_for", "1.2.3.4"), ("transfer_encoding", "x"),
              ("x-kept", "v")]
    if version == "h1":
        with c.connect() as connection:
            assert connection.get("/", fields).status == 200
    else:
        with Frames(c.connect()) as f:
            assert f.answer(f.headers(f.fields(extra=fields))).status == 200
    names = [n.lower() for n, _ in o.last.fields]
    assert "x-kept" in names and not any("_" in n for n in names)


@pytest.mark.parametrize("method, head", [
    ("HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 38\r\n\r\n"),
    ("HEAD", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
    ("GET", b"HTTP/1.1 204 No Content\r\nContent-Length: 38\r\n\r\n"),
    ("GET", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 38\r\n\r\n"),
    ("GET", b"HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n"),
])
def test_content_where_there_is_none_answers_nobody(caddis, scripted, method, head):
    """An origin that sends a body all the same does not get to answer the next request with it."""
    def script(raw):
        if raw.read_request().target == "/next":
            raw.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ngood")
        else:
            raw.send(head + b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")
            raw.closed()

    c = caddis(SITE % scripted(script).address)
    with c.connect() as connection:
        assert connection.request(method).status in (200, 204, 304, 502)
        assert connection.get("/next").body == b"good"


@pytest.mark.parametrize("fields, keeps", [
    ("Content-Length: 3\r\n\r\nabc", False), ("Connection: keep-alive\r\nContent-Length: 3\r\n\r\nabc",
                                              True), ("\r\n", False)])
def test_http_1_0_requests(caddis, origin, fields, keeps):
    """A body needs a length; without one there is none, and the connection ends unless asked."""
    o = origin(lambda r: Response(body=r.body or b"none", chunked=True))
    with caddis(SITE % o.address).connect() as connection:
        connection.send("POST / HTTP/1.0\r\nHost: localhost\r\n" + fields)
        answer = connection.read_response()
        assert not answer.has_token("Transfer-Encoding", "chunked")
        assert answer.body == (b"abc" if "abc" in fields else b"none")
        assert keeps is False or o.last.body == b"abc"
        if not keeps:
            assert connection.closed()
    assert len(o.requests) == 1
