"""Proxying over HTTP/1: framing, persistence, streaming, fields, failures."""

import socket
import threading
import time

import pytest
from lib.origin import Response

SITE = "http://localhost {\n\treverse_proxy %s\n}"

FORMS = {
    "braces on one line": "http://localhost:{http} { reverse_proxy ORIGIN }",
    "angle brackets on one line": "http://localhost:{http} < reverse_proxy ORIGIN >",
    "Caddy's form": "http://localhost:{http} {\n\treverse_proxy ORIGIN\n}",
    "angle brackets over lines": "http://localhost:{http} <\n\treverse_proxy ORIGIN\n>",
    "no braces": "http://localhost:{http}\nreverse_proxy ORIGIN",
    "several directives on one line": "http://localhost:{http} { header X-A b ; "
                                      "reverse_proxy ORIGIN }",
    "nested on one line": "http://localhost:{http} < handle /* < reverse_proxy ORIGIN > >",
}


@pytest.mark.parametrize("form", FORMS, ids=list(FORMS))
def test_every_form_of_the_one_line(caddis, origin, form):
    o = origin()
    c = caddis(FORMS[form].replace("ORIGIN", o.address))
    assert c.get("/path?query=1").body == b"GET /path?query=1"


# ---- requests and framing ----


def test_get(caddis, origin):
    o = origin()
    answer = caddis(SITE % o.address).get("/a%20b/../c?d=%2F&e")
    assert answer.status == 200
    assert answer.body == b"GET /a%20b/../c?d=%2F&e"
    assert answer.framing == "length"
    assert o.last.get("Host") == "localhost"


def test_target_in_absolute_form(caddis, origin):
    o = origin()
    c = caddis(SITE % o.address)
    with c.connect() as connection:
        answer = connection.get("http://localhost/abs?x", host="localhost")
    assert answer.body == b"GET /abs?x"
    assert o.last.get("Host") == "localhost"


def test_options_asterisk(caddis, origin):
    o = origin()
    c = caddis(SITE % o.address)
    with c.connect() as connection:
        assert connection.request("OPTIONS", "*").status in (200, 204)


def test_head(caddis, origin):
    o = origin(lambda r: Response(body=b"x" * 1234))
    c = caddis(SITE % o.address)
    with c.connect() as connection:
        answer = connection.request("HEAD", "/")
        assert answer.get("Content-Length") == "1234"
        assert connection.get("/").body == b"x" * 1234  # nothing of a body was in between
    assert o.requests[0].method == "HEAD"


@pytest.mark.parametrize("size", [0, 1, 16384, 1000000])
def test_post_with_length(caddis, origin, size):
    o = origin(lambda r: Response(body=r.body))
    body = bytes(i * 7 % 251 for i in range(size))
    with caddis(SITE % o.address).connect() as connection:
        assert connection.request("POST", "/", body=body).body == body
    assert o.last.framing == "length"
    assert o.last.get("Content-Length") == str(size)


def test_post_chunked(caddis, origin):
    o = origin(lambda r: Response(body=r.body))
    with caddis(SITE % o.address).connect() as connection:
        connection.send("POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
                        "5\r\nhello\r\n1;ext=1\r\n \r\n00005\r\nworld\r\n0\r\n\r\n")
        assert connection.read_response().body == b"hello world"
    assert o.last.framing == "chunked"
    assert o.last.body == b"hello world"


def test_post_in_single_bytes(caddis, origin):
    o = origin(lambda r: Response(body=r.body))
    with caddis(SITE % o.address).connect() as connection:
        connection.send_slowly(b"POST /x HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked"
                               b"\r\n\r\n3\r\nabc\r\nA\r\n0123456789\r\n0\r\nX-T: 1\r\n\r\n")
        assert connection.read_response().body == b"abc0123456789"


@pytest.mark.parametrize("size", [0, 1, 100000])
def test_chunked_response(caddis, origin, size):
    o = origin(lambda r: Response(body=b"y" * size, chunked=True))
    answer = caddis(SITE % o.address).get()
    assert answer.framing == "chunked"
    assert answer.body == b"y" * size


def test_response_in_single_bytes(caddis, scripted):
    def script(raw):
        raw.read_request()
        raw.send_slowly(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX-A: b\r\n\r\n"
                        b"4\r\nwiki\r\n5\r\npedia\r\n0\r\nX-T: u\r\n\r\n")

    answer = caddis(SITE % scripted(script).address).get(fields=[("TE", "trailers")])
    assert answer.body == b"wikipedia"
    assert answer.get("X-A") == "b"


def test_trailers_cross_both_ways(caddis, origin):
    o = origin(lambda r: Response(body=b"x", chunked=True, fields=[("Trailer", "X-Sum, X-Two")],
                                  trailers=[("X-Sum", "abc"), ("X-Two", "2")]))
    with caddis(SITE % o.address).connect() as connection:
        connection.send("POST / HTTP/1.1\r\nHost: localhost\r\nTE: trailers\r\nTrailer: X-Up\r\n"
                        "Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nX-Up: 7\r\n\r\n")
        answer = connection.read_response()
    assert (answer.trailer("X-Sum"), answer.trailer("X-Two")) == ("abc", "2")
    assert o.last.trailer("X-Up") == "7"


def test_trailers_that_would_change_meaning_do_not_cross(caddis, origin):
    bad = [("Content-Length", "3"), ("Transfer-Encoding", "chunked"), ("Host", "evil"),
           ("Authorization", "x"), ("Connection", "close"), ("X-Good", "1")]
    o = origin(lambda r: Response(body=b"x", chunked=True, trailers=bad))
    with caddis(SITE % o.address).connect() as connection:
        connection.send("POST / HTTP/1.1\r\nHost: localhost\r\nTE: trailers\r\n"
                        "Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n"
                        + "".join(f"{n}: {v}\r\n" for n, v in bad) + "\r\n")
        answer = connection.read_response()
    for name, _ in bad[:-1]:
        assert answer.trailer(name) is None and o.last.trailer(name) is None, name


def test_early_hints_and_other_1xx_pass(caddis, scripted):
    def script(raw):
        raw.read_request()
        raw.send("HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\n"
                 "Link: </s.css>; rel=preload\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    answer = caddis(SITE % scripted(script).address).get()
    assert answer.body == b"ok"
    hints = [m for m in answer.interim if m.status == 103]
    assert len(hints) == 1 and hints[0].get("Link") == "</s.css>; rel=preload"


def test_1xx_do_not_reach_a_1_0_client(caddis, scripted):
    def script(raw):
        raw.read_request()
        raw.send("HTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\n"
                 "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    with caddis(SITE % scripted(script).address).connect() as connection:
        connection.send("GET / HTTP/1.0\r\nHost: localhost\r\n\r\n")
        answer = connection.read_response()
    assert answer.interim == [] and answer.body == b"ok"


def test_expect_continue(caddis, origin):
    o = origin(lambda r: Response(body=r.body))
    with caddis(SITE % o.address).connect() as connection:
        connection.send("POST / HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\n"
                        "Content-Length: 5\r\n\r\n")
        assert connection.read_head().status == 100
        connection.send(b"hello")
        assert connection.read_response().body == b"hello"


def test_expect_continue_refused(caddis, scripted):
    def script(raw):
        raw.read_request(body=False)
        raw.send("HTTP/1.1 413 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")

    with caddis(SITE % scripted(script).address).connect() as connection:
        connection.send("POST / HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\n"
                        "Content-Length: 5\r\n\r\n")
        assert connection.read_response().status == 413


def test_early_answer_to_a_large_upload(caddis, scripted):
    def script(raw):
        raw.read_request(body=False)
        raw.send("HTTP/1.1 413 No\r\nContent-Length: 3\r\nConnection: close\r\n\r\nno!")
        raw.sock.shutdown(socket.SHUT_WR)
        time.sleep(0.3)

    with caddis(SITE % scripted(script).address).connect() as connection:
        connection.send("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000000\r\n\r\n")
        connection.send(b"x" * 100000)
        answer = connection.read_response()
        assert (answer.status, answer.body) == (413, b"no!")


# ---- persistence ----


def test_keep_alive_both_sides(caddis, origin):
    o = origin()
    with caddis(SITE % o.address).connect() as connection:
        for i in range(20):
            assert connection.get(f"/{i}").body == f"GET /{i}".encode()
    assert o.connections == 1


def test_pipelining_keeps_the_order(caddis, origin):
    def handler(request):
        time.sleep(0.1 if request.target == "/1" else 0)
        return Response(body=request.target)

    o = origin(handler)
    with caddis(SITE % o.address).connect() as connection:
        connection.send("".join(f"GET /{i} HTTP/1.1\r\nHost: localhost\r\n\r\n" for i in range(1, 9)))
        got = [connection.read_response().body for _ in range(8)]
    assert got == [f"/{i}".encode() for i in range(1, 9)]


def test_pipelined_behind_a_post(caddis, origin):
    o = origin(lambda r: Response(body=r.target.encode() + r.body))
    with caddis(SITE % o.address).connect() as connection:
        connection.send("POST /p HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\nabc"
                        "GET /g HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert connection.read_response().body == b"/pabc"
        assert connection.read_response().body == b"/g"


def test_connection_close_from_the_client(caddis, origin):
    with caddis(SITE % origin().address).connect() as connection:
        answer = connection.get("/", [("Connection", "close")])
        assert answer.has_token("Connection", "close")
        assert connection.closed()


def test_connection_close_from_the_origin_is_its_own_affair(caddis, origin):
    o = origin(lambda r: Response(body="x", close=True))
    with caddis(SITE % o.address).connect() as connection:
        for _ in range(3):
            assert connection.get().body == b"x"
    assert o.connections == 3


def test_http_1_0(caddis, origin):
    o = origin(lambda r: Response(body=b"z" * 70000, chunked=True))
    with caddis(SITE % o.address).connect() as connection:
        connection.send("GET / HTTP/1.0\r\nHost: localhost\r\n\r\n")
        answer = connection.read_response()
        assert answer.framing == "close"
        assert answer.body == b"z" * 70000
    assert o.last.start == "GET / HTTP/1.1"


def test_http_1_0_keep_alive(caddis, origin):
    with caddis(SITE % origin().address).connect() as connection:
        for i in range(2):
            connection.send(f"GET /{i} HTTP/1.0\r\nHost: localhost\r\nConnection: keep-alive\r\n\r\n")
            answer = connection.read_response()
            assert answer.has_token("Connection", "keep-alive")
            assert answer.body == f"GET /{i}".encode()


def test_origin_of_http_1_0_that_ends_with_the_connection(caddis, scripted):
    def script(raw):
        raw.read_request()
        raw.send(b"HTTP/1.0 200 OK\r\nX-A: 1\r\n\r\n" + b"q" * 50000)

    answer = caddis(SITE % scripted(script).address).get()
    assert answer.body == b"q" * 50000


@pytest.mark.parametrize("status", [204, 304])
def test_responses_without_a_body(caddis, origin, status):
    o = origin(lambda r: Response(status, fields=[("ETag", '"x"')]))
    with caddis(SITE % o.address).connect() as connection:
        for _ in range(2):
            assert connection.get().status == status


def test_stale_origin_connection_is_retried(caddis, scripted):
    """The origin ends an idle connection just as the next request comes."""
    ok = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"

    def first(raw):
        raw.read_request()
        raw.send(ok + b"first")
        raw.read_request()  # ends without an answer

    def second(raw):
        raw.read_request()
        raw.send(ok + b"again")

    o = scripted([first, second])
    with caddis(SITE % o.address).connect() as connection:
        assert connection.get("/1").body == b"first"
        assert connection.get("/2").body == b"again"


def test_post_is_not_sent_twice(caddis, scripted):
    """A POST that the origin may have acted on is not repeated: the client is told."""
    seen = []

    def script(raw):
        while True:
            request = raw.read_request()
            seen.append(request.method)
            if request.method == "POST":
                return
            raw.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    with caddis(SITE % scripted(script).address).connect() as connection:
        assert connection.get().status == 200
        assert connection.request("POST", "/", body=b"pay").status == 502
    assert seen.count("POST") == 1


def test_post_does_not_meet_a_connection_closed_long_ago(caddis, origin):
    o = origin()
    with caddis(SITE % o.address).connect() as connection:
        assert connection.get().status == 200
        o.drop_connections()
        time.sleep(0.3)
        assert connection.request("POST", "/", body=b"x").status == 200


# ---- streaming ----


def test_server_sent_events_come_at_once(caddis, scripted):
    seen = threading.Event()

    def script(raw):
        raw.read_request()
        raw.send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
                 "Transfer-Encoding: chunked\r\n\r\n9\r\ndata: 1\n\n\r\n")
        assert seen.wait(10), "the client did not see the first event"
        raw.send("9\r\ndata: 2\n\n\r\n0\r\n\r\n")

    with caddis(SITE % scripted(script).address).connect() as connection:
        assert connection.request("GET", read=False) is None
        connection.read_response(body=False)
        assert connection.read_chunk() == b"data: 1\n\n"
        seen.set()
        assert connection.read_chunk() == b"data: 2\n\n"


def test_request_body_streams_to_the_origin(caddis, scripted):
    got = threading.Event()

    def script(raw):
        raw.read_request(body=False)
        assert raw.read_chunk() == b"one"
        got.set()
        assert raw.read_chunk() == b"two"
        assert raw.read_chunk() == b""
        raw.read_trailers()
        raw.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    with caddis(SITE % scripted(script).address).connect() as connection:
        connection.send("POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
                        "3\r\none\r\n")
        assert got.wait(10), "the first chunk was held back"
        connection.send("3\r\ntwo\r\n0\r\n\r\n")
        assert connection.read_response().body == b"ok"


def test_both_directions_at_once(caddis, scripted):
    """The response begins before the request has ended, and each follows the other."""

    def script(raw):
        raw.read_request(body=False)
        raw.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while data := raw.read_chunk():
            raw.send(b"%x\r\n%s\r\n" % (len(data), data.upper()))
        raw.read_trailers()
        raw.send("0\r\n\r\n")

    with caddis(SITE % scripted(script).address).connect() as connection:
        connection.send("POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
                        "1\r\na\r\n")
        connection.read_response(body=False)
        assert connection.read_chunk() == b"A"
        for letter in "bcd":
            connection.send(f"1\r\n{letter}\r\n")
            assert connection.read_chunk() == letter.upper().encode()
        connection.send("0\r\n\r\n")
        assert connection.read_chunk() == b""


BIG = 200 << 20


def test_a_client_that_stalls_fills_no_memory(plain, scripted):
    sent = []

    def script(raw):
        raw.read_request()
        raw.send(f"HTTP/1.1 200 OK\r\nContent-Length: {BIG}\r\n\r\n")
        piece = b"\0" * (1 << 20)
        for _ in range(BIG // len(piece)):
            raw.send(piece)
            sent.append(len(piece))

    c = plain(SITE % scripted(script).address)
    c.get("/", host="nobody")
    before = c.memory()
    with c.connect(rcvbuf=65536) as connection:
        connection.request("GET", read=False)
        connection.read_response(body=False)
        last = -1
        while sum(sent) != last:  # until the origin cannot send either
            last = sum(sent)
            time.sleep(0.5)
        assert last < 40 << 20
        assert c.memory() - before < 8 << 20
        connection.discard(BIG)
    assert sum(sent) == BIG
    assert c.memory() - before < 8 << 20


def test_an_origin_that_stalls_fills_no_memory(plain, scripted):
    resume = threading.Event()
    size = 100 << 20

    def script(raw):
        raw.read_request(body=False)
        resume.wait(30)
        raw.discard(size)
        raw.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    c = plain(SITE % scripted(script).address)
    c.get("/", host="nobody")
    before = c.memory()
    with c.connect() as connection:
        connection.send(f"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: {size}\r\n\r\n")
        taken = connection.send_until_stalled(b"\0" * 65536, size)
        assert taken < 40 << 20
        assert c.memory() - before < 8 << 20
        resume.set()
        connection.send(b"\0" * (size - taken))
        assert connection.read_response().body == b"ok"


def test_client_that_leaves_frees_the_origin(caddis, scripted):
    gone = threading.Event()

    def script(raw):
        raw.read_request()
        raw.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n")
        if raw.closed():
            gone.set()

    with caddis(SITE % scripted(script).address).connect() as connection:
        connection.request("GET", read=False)
        connection.read_response(body=False)
        assert connection.read_chunk() == b"x"
        connection.reset()
    assert gone.wait(10), "the origin was kept although its client had left"


# ---- fields ----


def test_forwarded_fields(caddis, origin):
    o = origin()
    c = caddis(SITE % o.address)
    c.get(host=f"localhost:{c.http}")
    assert o.last.get("X-Forwarded-For") == "127.0.0.1"
    assert o.last.get("X-Forwarded-Proto") == "http"
    assert o.last.get("X-Forwarded-Host") == f"localhost:{c.http}"
    assert o.last.get("Host") == f"localhost:{c.http}"


def test_spoofed_forwarded_fields_are_replaced(caddis, origin):
    o = origin()
    caddis(SITE % o.address).get(fields=[
        ("X-Forwarded-For", "6.6.6.6"), ("x-forwarded-for", "7.7.7.7"),
        ("X-Forwarded-Proto", "https"), ("X-Forwarded-Host", "evil.test")])
    assert o.last.all("X-Forwarded-For") == ["127.0.0.1"]
    assert o.last.all("X-Forwarded-Proto") == ["http"]
    assert o.last.all("X-Forwarded-Host") == ["localhost"]


def test_hop_by_hop_fields_stop_here(caddis, origin):
    fields = [("Connection", "X-Mine, keep-alive"), ("X-Mine", "1"), ("Keep-Alive", "timeout=5"),
              ("Proxy-Connection", "keep-alive"), ("Proxy-Authorization", "Basic x"),
              ("TE", "gzip"), ("Upgrade", "h2c")]
    o = origin(lambda r: Response(body="x", fields=[
        ("Connection", "X-Theirs"), ("X-Theirs", "1"), ("Keep-Alive", "timeout=5"),
        ("Proxy-Connection", "x"), ("X-Stays", "1")]))
    with caddis(SITE % o.address).connect() as connection:
        answer = connection.get("/", fields)
    for name in ("X-Mine", "Keep-Alive", "Proxy-Connection", "Proxy-Authorization", "TE", "Upgrade"):
        assert o.last.all(name) == [], name
    for name in ("X-Theirs", "Keep-Alive", "Proxy-Connection"):
        assert answer.all(name) == [], name
    assert answer.get("X-Stays") == "1"


def test_fields_named_in_connection_cannot_take_ours_away(caddis, origin):
    o = origin()
    caddis(SITE % o.address).get(fields=[("Connection", "X-Forwarded-For, Host, close")])
    assert o.last.get("X-Forwarded-For") == "127.0.0.1"
    assert o.last.get("Host") == "localhost"


def test_other_fields_pass_unchanged_and_in_order(caddis, origin):
    sent = [("Accept", "*/*"), ("Cookie", "a=1"), ("X-Many", "one"), ("X-Many", "two"),
            ("X-Empty", ""), ("X-Latin", "caf\xe9"), ("Accept-Language", "de")]
    back = [("Set-Cookie", "a=1; Path=/"), ("Set-Cookie", "b=2"), ("X-Empty", ""),
            ("X-Latin", "na\xefve")]
    o = origin(lambda r: Response(body="x", fields=back))
    answer = caddis(SITE % o.address).get(fields=sent)
    assert [f for f in o.last.fields if f[0] in dict(sent)] == sent
    assert [f for f in answer.fields if f[0] in dict(back)] == back


def test_via_and_no_accept_encoding_of_ours(caddis, origin):
    o = origin(lambda r: Response(body="x", fields=[("Server", "app/1")]))
    answer = caddis(SITE % o.address).get()
    assert o.last.get("Via") == "1.1 caddis"
    assert answer.get("Via") == "1.1 caddis"
    assert answer.get("Server") == "app/1"
    for name in ("Accept-Encoding", "User-Agent", "X-Real-IP", "X-Forwarded-Port"):
        assert o.last.all(name) == [], name


def test_a_response_field_of_60_kb_passes(caddis, origin):
    o = origin(lambda r: Response(body="x", fields=[("X-Big", "b" * 60000)]))
    assert caddis(SITE % o.address).get().get("X-Big") == "b" * 60000


def test_a_request_field_of_60_kb_passes(caddis, origin):
    o = origin()
    assert caddis(SITE % o.address).get(fields=[("X-Big", "b" * 60000)]).status == 200
    assert o.last.get("X-Big") == "b" * 60000


# ---- several origins ----


def test_round_robin(caddis, origin):
    origins = [origin(lambda r, i=i: Response(body=str(i))) for i in range(3)]
    upstreams = " ".join(o.address for o in origins)
    c = caddis(f"http://localhost {{\n\treverse_proxy {upstreams} {{\n\t\tlb_policy round_robin\n"
               "\t}\n}", args=["--workers", "1"])
    for _ in range(9):
        assert c.get().status == 200
    assert [len(o.requests) for o in origins] == [3, 3, 3]


def test_first(caddis, origin):
    one, two = origin(lambda r: Response(body="1")), origin(lambda r: Response(body="2"))
    c = caddis(f"http://localhost {{\n\treverse_proxy {one.address} {two.address} {{\n"
               "\t\tlb_policy first\n\t}\n}")
    assert {c.get().body for _ in range(4)} == {b"1"}


def test_random_and_least_conn_reach_all(caddis, origin):
    for policy in ("random", "least_conn"):
        origins = [origin() for _ in range(2)]
        upstreams = " ".join(o.address for o in origins)
        c = caddis(f"http://localhost {{\n\treverse_proxy {upstreams} {{\n\t\tlb_policy {policy}\n"
                   "\t}\n}")
        for _ in range(40):
            assert c.get().status == 200
        assert all(o.requests for o in origins), policy


# ---- failures ----


def test_502_names_the_origin(caddis, origin):
    o = origin()
    o.stop_listening()
    answer = caddis(SITE % o.address).get()
    assert answer.status == 502
    assert o.address.encode() in answer.body


def test_502_for_a_name_that_does_not_resolve(caddis):
    answer = caddis(SITE % "no-such-host.invalid:80").get()
    assert answer.status == 502
    assert b"no-such-host.invalid" in answer.body


def test_504_names_the_origin(caddis):
    """An origin whose queue of new connections is full: the dial times out."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        address = "127.0.0.1:%d" % listener.getsockname()[1]
        fillers = []
        for _ in range(4):
            s = socket.socket()
            s.setblocking(False)
            s.connect_ex(listener.getsockname())
            fillers.append(s)
        answer = caddis(SITE % address).get()
        for s in fillers:
            s.close()
    assert answer.status == 504
    assert address.encode() in answer.body


def test_origin_that_ends_without_an_answer(caddis, scripted):
    answer = caddis(SITE % scripted(lambda raw: raw.read_request()).address).get()
    assert answer.status == 502


def test_origin_that_resets(caddis, scripted):
    def script(raw):
        raw.read_request()
        raw.reset()

    assert caddis(SITE % scripted(script).address).get().status == 502


def test_error_pages_are_plain_and_leave_the_connection_usable(caddis, origin):
    o = origin()
    c = caddis(f"http://localhost {{\n\treverse_proxy /down 127.0.0.1:9\n\treverse_proxy {o.address}\n}}")
    with c.connect() as connection:
        answer = connection.get("/down")
        assert answer.status == 502
        assert answer.get("Content-Type", "").startswith("text/plain")
        assert connection.get("/up").body == b"GET /up"


def test_many_clients_at_once(caddis, origin):
    o = origin(lambda r: Response(body=r.target, chunked=r.target.endswith("1")))
    c = caddis(SITE % o.address)
    failures = []

    def client(n):
        try:
            with c.connect() as connection:
                for i in range(20):
                    target = f"/{n}-{i}"
                    if connection.get(target).body != target.encode():
                        failures.append(target)
        except (AssertionError, OSError) as e:
            failures.append(e)

    threads = [threading.Thread(target=client, args=(n,)) for n in range(25)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert failures == []
