"""Limits and what happens at them: connections, bodies, fields; and a stop that nobody holds up."""

import socket
import threading
import time

import pytest
from lib.origin import Response
from lib.ports import free_port

HELLO = "http://localhost {\n\trespond hello\n}"


def servers(options):
    return f"servers {{\n\t\t{options}\n\t}}"


# ---- connections ----


def test_idle_connections_make_room_at_the_limit(caddis):
    c = caddis(HELLO, globals=servers("max_connections 8"), args=["--workers", "2"])
    idle = [c.connect() for _ in range(12)]
    # All the places are taken by connections that do nothing; a newcomer is answered all the same.
    with c.connect(timeout=10) as newcomer:
        assert newcomer.get().body == b"hello"
    for connection in idle:
        connection.close()
    with c.connect() as connection:
        assert connection.get().body == b"hello"
    assert c.log().count("connection limit reached") <= 4


def test_requests_under_way_are_not_shed(caddis, scripted):
    done = threading.Event()

    def script(raw):
        raw.read_request()
        raw.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\no")
        done.wait(20)

    o = scripted(script)
    c = caddis(f"http://localhost {{\n\treverse_proxy {o.address}\n}}",
               globals=servers("max_connections 2"), args=["--workers", "1"])
    busy = [c.connect() for _ in range(2)]
    for connection in busy:
        connection.send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        connection.recv_until(b"\r\n\r\no")
    with c.connect() as waiting:
        waiting.send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        waiting.expect_nothing(0.5)
        busy[0].close()
        busy[1].expect_nothing(0.2)  # not cut off for the newcomer
        waiting.recv_until(b"\r\n\r\no")
    done.set()
    busy[1].close()


# ---- bodies and fields ----


@pytest.mark.parametrize("framing", ["length", "chunked", "at once"])
def test_a_request_body_over_the_limit_is_413(caddis, origin, framing):
    o = origin(lambda r: Response(body=str(len(r.body))))
    c = caddis(f"http://localhost {{\n\treverse_proxy {o.address}\n}}",
               globals=servers("max_request_body 100KB"))
    with c.connect() as connection:
        assert connection.request("POST", body=b"x" * 100_000).body == b"100000"
    with c.connect() as connection:
        head = "POST / HTTP/1.1\r\nHost: localhost\r\n"
        if framing == "length":
            connection.send(head + "Content-Length: 100001\r\n\r\n")
        else:
            connection.send(head + "Transfer-Encoding: chunked\r\n\r\n")
            pieces = 4 if framing == "chunked" else 1
            for _ in range(pieces):
                n = 120_000 // pieces
                connection.send(f"{n:x}\r\n".encode() + b"x" * n + b"\r\n")
        response = connection.read_response()
        assert response.status == 413
        assert b"larger than this server allows" in response.body
    assert c.get().status == 200
    o.closing = True  # the body that was cut off is no mistake of the origin's
    o.errors.clear()


def test_max_header_fields(caddis):
    c = caddis(HELLO, globals=servers("max_header_fields 20"))
    fields = [(f"X-{i}", "v") for i in range(18)]  # and Host, Connection
    assert c.get(fields=fields).status == 200
    assert c.get(fields=[*fields, ("X-One-More", "v")]).status == 431


# ---- a stop ----


@pytest.mark.parametrize("what", ["silent on TLS", "half a hello", "silent", "half a head"])
def test_stop_is_not_held_up_by_half_made_connections(caddis, what):
    c = caddis("localhost {\n\trespond hello\n}", globals="grace_period 20s")
    c.wait_certificate()
    port = c.https if "TLS" in what or "hello" in what else c.http
    with socket.create_connection(("127.0.0.1", port), 5) as s:
        s.sendall({"half a hello": b"\x16\x03\x01\x02\x00\x01", "half a head": b"GET / HT"}
                  .get(what, b""))
        time.sleep(0.2)  # so that it is accepted; the test holds without it, too
        begun = time.monotonic()
        c.stop()
        assert time.monotonic() - begun < 10


# ---- a reload that is refused ----


def test_a_refused_reload_leaves_the_certificate(caddis, authority):
    c = caddis("localhost {\n\trespond hello\n}")
    c.wait_certificate()
    crt, key = authority.issue("localhost")
    port = free_port()
    with socket.create_server(("0.0.0.0", port)):
        c.reload(f"localhost {{\n\ttls {crt} {key}\n\trespond changed\n}}\n"
                 f"http://other:{port} {{\n\trespond x\n}}", status=1)
    with c.connect_tls() as connection:  # verified against the local CA's root
        assert connection.get().body == b"hello"
