"""WebSockets and every other Upgrade: a tunnel, with no configuration."""

import asyncio
import os
import threading

import pytest
import websockets
from lib.raw import Closed, tls_context

SITE = "http://localhost {\n\treverse_proxy %s\n}"
UPGRADE = [("Connection", "Upgrade"), ("Upgrade", "echo/1")]
SWITCH = "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo/1\r\n\r\n"


class EchoServer:
    """python's websockets, in a thread of its own; echoes every message."""

    def __init__(self):
        self.ready = threading.Event()
        self.closed_with = []
        self.thread = threading.Thread(target=lambda: asyncio.run(self._main()), daemon=True)
        self.thread.start()
        assert self.ready.wait(10)

    async def _echo(self, ws):
        try:
            async for message in ws:
                await ws.send(message)
        finally:
            self.closed_with.append(ws.close_code)

    async def _main(self):
        self.loop = asyncio.get_running_loop()
        self.end = asyncio.Event()
        async with websockets.serve(self._echo, "127.0.0.1", 0, max_size=1 << 26) as server:
            self.port = next(iter(server.sockets)).getsockname()[1]
            self.ready.set()
            await self.end.wait()

    def finish(self):
        self.loop.call_soon_threadsafe(self.end.set)
        self.thread.join(10)


@pytest.fixture
def echo(cleanup):
    server = EchoServer()
    cleanup.add(server.finish)
    return server


async def _talk(url, messages, **options):
    got = []
    async with websockets.connect(url, max_size=1 << 26, open_timeout=15, **options) as ws:
        for message in messages:
            await ws.send(message)
            got.append(await asyncio.wait_for(ws.recv(), 30))
        await asyncio.wait_for(await ws.ping(), 10)
    return got


@pytest.mark.parametrize("scheme", ["ws", "wss"])
def test_websocket(caddis, echo, scheme, eventually):
    site = "http://localhost" if scheme == "ws" else "localhost"
    c = caddis(f"{site} {{\n\treverse_proxy 127.0.0.1:{echo.port}\n}}")
    options = {}
    if scheme == "wss":
        c.wait_certificate()
        options["ssl"] = tls_context(cafile=c.root, alpn=["http/1.1"])
    port = c.https if scheme == "wss" else c.http
    messages = ["hello", b"\x00\xff" * 10, "", "x" * 125, "y" * 126, "z" * 70000]
    got = asyncio.run(_talk(f"{scheme}://localhost:{port}/chat?room=1", messages, **options))
    assert got == messages
    eventually(lambda: echo.closed_with == [1000])


def test_large_messages(caddis, echo):
    c = caddis(SITE % f"127.0.0.1:{echo.port}")
    messages = [os.urandom(1 << 20) for _ in range(4)] + ["u" * (8 << 20)]
    assert asyncio.run(_talk(f"ws://localhost:{c.http}/", messages)) == messages


def test_many_websockets(caddis, echo):
    c = caddis(SITE % f"127.0.0.1:{echo.port}")

    async def all_of_them():
        url = f"ws://localhost:{c.http}/"
        await asyncio.gather(*(_talk(url, [f"{n}-{i}" for i in range(5)]) for n in range(40)))

    asyncio.run(all_of_them())


def test_upgrade_fields_reach_the_origin(caddis, scripted):
    def script(raw):
        request = raw.read_request()
        assert request.has_token("Connection", "upgrade"), request.fields
        assert request.get("Upgrade") == "echo/1"
        assert request.get("X-Forwarded-For") == "127.0.0.1"
        raw.send(SWITCH + "welcome")
        raw.expect(b"ping")
        raw.send(b"pong")

    with caddis(SITE % scripted(script).address).connect() as connection:
        answer = connection.get("/", UPGRADE)
        assert answer.status == 101
        assert answer.get("Upgrade") == "echo/1" and answer.has_token("Connection", "upgrade")
        connection.expect(b"welcome")
        connection.send(b"ping")
        connection.expect(b"pong")
        assert connection.closed()


def test_bytes_sent_along_with_the_upgrade(caddis, scripted):
    """A client that does not wait for the 101 loses nothing, and nothing is read as a request."""
    def script(raw):
        raw.read_request()
        raw.send(SWITCH)
        raw.expect(b"GET / HTTP/1.1\r\n\r\n")
        raw.send(b"done")

    with caddis(SITE % scripted(script).address).connect() as connection:
        connection.send("GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\n"
                        "Upgrade: echo/1\r\n\r\nGET / HTTP/1.1\r\n\r\n")
        assert connection.read_response().status == 101
        connection.expect(b"done")


def test_refused_upgrade_is_an_ordinary_response(caddis, origin):
    with caddis(SITE % origin().address).connect() as connection:
        assert connection.get("/", UPGRADE).body == b"GET /"
        assert connection.get("/again").body == b"GET /again"


@pytest.mark.parametrize("first", ["client", "origin"])
def test_half_close(caddis, scripted, first):
    """One side ends; the other may go on for as long as it likes."""
    def script(raw):
        raw.read_request()
        raw.send(SWITCH)
        if first == "client":
            assert raw.recv_all() == b"question"
            raw.send(b"a" * 300000)
        else:
            raw.send(b"statement")
            raw.shutdown_write()
            assert raw.recv_all() == b"b" * 300000

    with caddis(SITE % scripted(script).address).connect() as connection:
        assert connection.get("/", UPGRADE).status == 101
        if first == "client":
            connection.send(b"question")
            connection.shutdown_write()
            assert connection.recv_all() == b"a" * 300000
        else:
            assert connection.recv_all() == b"statement"
            connection.send(b"b" * 300000)
            connection.shutdown_write()
            connection.closed()


@pytest.mark.parametrize("first", ["client", "origin"])
def test_reset_ends_the_other_side(caddis, scripted, first):
    over = threading.Event()

    def script(raw):
        raw.read_request()
        raw.send(SWITCH)
        raw.expect(b"x")
        if first == "origin":
            raw.reset()
            return
        try:
            raw.recv_all()
        except Closed:
            pass
        over.set()

    with caddis(SITE % scripted(script).address).connect() as connection:
        connection.get("/", UPGRADE)
        connection.send(b"x")
        if first == "client":
            connection.reset()
            assert over.wait(10)
        else:
            assert connection.closed()


def test_a_tunnel_has_back_pressure(plain, scripted):
    size = 64 << 20

    def script(raw):
        raw.read_request()
        raw.send(SWITCH)
        raw.expect(b"go")
        for _ in range(size >> 20):
            raw.send(b"\0" * (1 << 20))

    c = plain(SITE % scripted(script).address)
    c.get("/", host="nobody")
    before = c.memory()
    with c.connect(rcvbuf=65536) as connection:
        connection.get("/", UPGRADE)
        connection.send(b"go")
        threading.Event().wait(1)
        assert c.memory() - before < 4 << 20
        connection.discard(size)


def test_101_that_was_not_asked_for(caddis, scripted):
    def script(raw):
        raw.read_request()
        raw.send(SWITCH)
        raw.closed()

    assert caddis(SITE % scripted(script).address).get().status == 502


def test_101_to_another_protocol(caddis, scripted):
    def script(raw):
        raw.read_request()
        raw.send(SWITCH.replace("echo/1", "other"))
        raw.closed()

    with caddis(SITE % scripted(script).address).connect() as connection:
        assert connection.get("/", UPGRADE).status == 502
