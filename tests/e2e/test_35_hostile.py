"""Clients and origins that mean harm, or do what nobody expects."""

import json
import threading
import time

import pytest
from lib import raw as rawlib
from lib.ports import free_port

SITE = "http://localhost {\n\treverse_proxy %s\n}"
OK = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
SWITCH = "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo/1\r\n\r\n"


# ---- a configuration that goes while its requests are under way ----


@pytest.mark.parametrize("when", ["begun", "waiting"])
def test_log_line_of_a_request_that_outlives_its_configuration(caddis, scripted, when):
    go = threading.Event()
    started = threading.Event()

    def script(raw):
        raw.read_request()
        if when == "waiting":
            started.set()
            go.wait(20)
        raw.send("HTTP/1.1 200 OK\r\nX-Origin: o\r\nContent-Length: 10\r\n\r\n12345")
        started.set()
        go.wait(20)
        raw.send("67890")

    o = scripted(script)
    site = ("http://localhost {\n\tlog {\n\t\toutput file LOG\n\t\tformat json\n\t}\n"
            "\theader X-From-File \"a long value that lives in the configuration NUMBER\"\n"
            "\treverse_proxy %s\n}" % o.address)
    c = caddis("http://localhost {\n\trespond no\n}")
    log = c.folder / "access.log"
    c.reload(site.replace("LOG", str(log)).replace("NUMBER", "1"))
    with c.connect() as connection:
        connection.request("GET", "/", read=False)
        started.wait(20)
        if when == "begun":
            connection.read_head()
        for i in range(2, 6):
            c.reload(site.replace("LOG", str(log)).replace("NUMBER", str(i)))
        go.set()
        if when == "begun":
            assert connection.recv_exactly(10) == b"1234567890"
        else:
            answer = connection.read_response()
            assert answer.get("X-From-File").endswith(" 1")
    end = time.monotonic() + 10
    while not log.exists() or not log.read_text().strip():
        assert time.monotonic() < end
        time.sleep(0.02)
    line = json.loads(log.read_text().splitlines()[0])
    assert line["resp_headers"]["X-From-File"] == [
        "a long value that lives in the configuration 1"]


def test_plain_connections_do_not_reach_what_became_tls(caddis, authority):
    """A reload that turns a port from HTTP into HTTPS, with a kept connection and one that has
    sent half a head."""
    port = free_port()
    cert, key = authority.issue("localhost")
    c = caddis(f"http://localhost:{port} {{\n\trespond open\n}}")
    with c.connect(port) as kept, c.connect(port) as half:
        assert kept.get().body == b"open"
        half.send("GET / HTTP/1.1\r\nHost: local")
        half.expect_nothing(0.2)
        c.reload(f"https://localhost:{port} {{\n\ttls {cert} {key}\n\trespond secret\n}}")
        assert kept.closed()
        half.send("host\r\n\r\n")
        answer = half.read_response()
        assert (answer.status, b"secret" in answer.body) == (503, False)
        assert answer.has_token("Connection", "close")
    with rawlib.connect_tls(port) as connection:
        assert connection.get().body == b"secret"


def test_raised_connection_limit_holds_at_once(caddis):
    site = "http://localhost {\n\trespond hello\n}"
    few = "servers {\n\tmax_connections 3\n}"
    c = caddis(site, globals=few, args=["--workers", "1"])
    kept = [c.connect() for _ in range(3)]
    try:
        for k in kept:
            assert k.get().body == b"hello"
            k.send("GET / HT")  # busy: idle ones would make room
        with c.connect() as late:
            late.request("GET", read=False)
            late.expect_nothing(0.3)
            c.globals = few.replace("3", "100")
            c.reload(site)
            assert late.read_response().body == b"hello"
    finally:
        for k in kept:
            k.close()


# ---- what a client may not make us send ----


def test_h2c_is_not_a_way_around_the_routes(caddis, scripted):
    """An origin that speaks h2c would give the client a tunnel past every matcher."""
    seen = []

    def script(raw):
        request = raw.read_request()
        seen.append(request)
        if request.has_token("Upgrade", "h2c"):
            raw.send(SWITCH.replace("echo/1", "h2c"))
        else:
            raw.send(OK)

    c = caddis(SITE % scripted(script).address)
    for value in ("h2c", "H2C", "echo/1, h2c", "h2c,echo/1", "h2"):
        with c.connect() as connection:
            answer = connection.get("/", [("Connection", "Upgrade, HTTP2-Settings"),
                                          ("Upgrade", value), ("HTTP2-Settings", "AAMAAABk")])
            assert answer.status == 200, value
    assert not any(r.all("Upgrade") or r.all("HTTP2-Settings") for r in seen)


def test_connection_options_are_few(caddis, origin):
    """128 fields against 30,000 options each would cost far more time than the request bytes."""
    o = origin()
    c = caddis(SITE % o.address)
    options = ",".join(["x-a"] * 15000)
    fields = [("Connection", options)] + [(f"X-{i}", "v") for i in range(100)]
    with c.connect() as connection:
        assert connection.get("/", fields).status == 400
    assert not o.requests


def test_trailers_named_like_fields_of_ours_do_not_cross(caddis, origin):
    o = origin()
    c = caddis(SITE % o.address)
    with c.connect() as connection:
        connection.send("POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n"
                        "Connection: x-hop\r\n\r\n"
                        "2\r\nab\r\n0\r\nX_Forwarded_For: 1.2.3.4\r\nX-Forwarded-For: 1.2.3.4\r\n"
                        "X-Forwarded-Host: evil\r\nContent_Length: 5\r\nX-Real-IP: 1.2.3.4\r\n"
                        "X-Hop: a\r\nX-Sum: 7\r\n\r\n")
        assert connection.read_response().status == 200
    names = [n.lower() for n, _ in o.last.trailers]
    assert "x-sum" in names
    assert not set(names) & {"x_forwarded_for", "x-forwarded-for", "x-forwarded-host",
                             "content_length", "x-hop"}


# ---- slow ends ----


def test_last_bytes_reach_a_slow_tls_client(caddis, scripted):
    """A response that ends the connection, to a client that reads the end of it late: what TLS
    still holds must not be thrown away with the connection. How much the kernel takes is found out
    first; then come sizes around it, so that some of them end inside TLS."""
    taken = []

    def script(raw):
        request = raw.read_request()
        size = int(request.target[1:])
        raw.send(f"HTTP/1.1 200 OK\r\nContent-Length: {size}\r\nConnection: close\r\n\r\n")
        if size > 100 << 20:
            taken.append(raw.send_until_stalled(b"x" * 65536, size))
            return
        raw.send(b"x" * size)

    c = caddis("localhost {\n\treverse_proxy %s\n}" % scripted(script).address)
    c.wait_certificate()

    def ask(size):
        connection = rawlib.connect(c.https, rcvbuf=8192, timeout=30)
        connection.sock = rawlib.tls_context().wrap_socket(connection.sock,
                                                           server_hostname="localhost")
        connection.request("GET", f"/{size}", [("Connection", "close")], read=False)
        return connection

    with ask(200 << 20):
        end = time.monotonic() + 20
        while not taken:
            assert time.monotonic() < end
            time.sleep(0.05)
    # What was taken is in the origin's socket, ours to it, the body queue, TLS, and our socket to
    # the client: the last one alone is about half of it.
    sizes = range(taken[0] * 2 // 5, taken[0] * 7 // 10, 25000)
    asked = [(size, ask(size)) for size in sizes]
    time.sleep(4)  # longer than a finished connection is kept for the client's sake
    cut = []
    for size, connection in asked:
        with connection:
            try:
                connection.read_head()
                connection.discard(size)
            except AssertionError as e:
                cut.append((size, str(e)[:80]))
    assert not cut, f"{len(cut)} of {len(asked)}: {cut[:5]}"


# ---- times that belong to one thing must not strike another ----


def test_slow_answer_to_an_upload_that_came_in_pieces(caddis, scripted):
    """The time for the body ends with the body."""

    def script(raw):
        for pause in (2.5, 0):
            raw.read_request()
            time.sleep(pause)
            raw.send(OK)

    c = caddis(SITE % scripted(script).address,
               globals="servers {\n\ttimeouts {\n\t\tread_body_idle 1s\n\t}\n}")
    with c.connect() as connection:
        connection.send("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n\r\n")
        connection.expect_nothing(0.3)
        connection.send("ab")
        connection.expect_nothing(0.3)
        connection.send("cd")
        assert connection.read_response().body == b"ok"
        assert connection.get().body == b"ok"


def test_slow_client_is_not_taken_for_a_slow_origin(caddis, scripted):
    """read_timeout is the origin's: it does not run while the client takes nothing."""
    size = 24 << 20

    def script(raw):
        raw.read_request()
        raw.send(f"HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n")
        for _ in range(size >> 16):
            raw.send(b"x" * 65536)

    o = scripted(script)
    c = caddis("http://localhost {\n\treverse_proxy %s {\n\t\ttransport http {\n"
               "\t\t\tread_timeout 1s\n\t\t}\n\t}\n}" % o.address)
    with c.connect(rcvbuf=65536) as connection:
        connection.request("GET", read=False)
        connection.read_head()
        for _ in range(3):
            time.sleep(1.6)
            connection.discard(1 << 20)
        connection.discard(size - (3 << 20))


def test_slow_upload_is_not_taken_for_a_slow_origin(caddis, scripted):
    """response_header_timeout begins when the request has been sent."""
    size = 16 << 20
    go = threading.Event()

    def script(raw):
        raw.read_head()
        go.wait(20)  # the proxy's socket fills up
        raw.discard(size)
        raw.send(OK)

    o = scripted(script)
    c = caddis("http://localhost {\n\treverse_proxy %s {\n\t\ttransport http {\n"
               "\t\t\tresponse_header_timeout 1s\n\t\t}\n\t}\n}" % o.address)
    with c.connect() as connection:
        connection.send(f"PUT / HTTP/1.1\r\nHost: localhost\r\nContent-Length: {size}\r\n\r\n")
        threading.Timer(0.5, go.set).start()
        connection.send(b"x" * (size - 1000))
        time.sleep(2.5)
        connection.send(b"x" * 1000)
        assert connection.read_response().body == b"ok"


# ---- a look into the store that takes longer than a configuration lives ----


def test_challenge_path_that_is_routed_after_a_reload(caddis, scripted):
    """Asked for an unknown challenge, caddis looks into the store first. When that takes so long
    that the configuration is another one by then, that one is held, and by as long as needed."""
    asked, answer = threading.Event(), threading.Event()

    def script(raw):
        raw.read_request()
        asked.set()
        assert answer.wait(60)
        raw.send(OK)

    o = scripted(script)
    site = "http://localhost {\n\theader X-From-File \"a long value of configuration %d\"\n\t" \
           f"reverse_proxy {o.address}\n}}"
    slow = ["strace", "-D", "-f", "-q", "-o", "/dev/null", "-e", "trace=getdents64",
            "-e", "inject=getdents64:delay_enter=700000"]
    c = caddis(site % 1, wrap=slow,
               env={"ASAN_OPTIONS": "detect_leaks=0:exitcode=99:quarantine_size_mb=16"})
    (c.store / "acme" / "some-ca" / "challenge_tokens").mkdir(parents=True, exist_ok=True)
    with c.connect() as connection:
        connection.request("GET", "/.well-known/acme-challenge/" + "a" * 43, read=False)
        c.reload(site % 2)
        assert not asked.is_set()
        assert asked.wait(30)
        for i in range(3, 6):
            c.reload(site % i)
        answer.set()
        got = connection.read_response()
    assert got.body == b"ok"
    assert "of configuration" in got.get("X-From-File")


def test_a_reader_that_left_a_quiet_stream_is_let_go(caddis, scripted):
    """A closed tab must not hold an origin's event stream until the next event."""
    gone = threading.Event()

    def script(raw):
        raw.read_request()
        raw.send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n")
        assert raw.closed(15)
        gone.set()

    o = scripted(script)
    c = caddis("http://localhost {\n\treverse_proxy %s\n}" % o.address)
    with c.connect() as connection:
        connection.send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        connection.recv_until(b"data: 1\n\n")
    assert gone.wait(15)
