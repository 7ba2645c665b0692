#!/usr/bin/python3
"""Connections that are held, for the bench's memory rows: an origin that stalls, and clients.

    held.py PORT                    the origin; ends with SIGTERM
    held.py messages PORT SECONDS   prints how many WebSocket messages came back; see messages()

GET /held/down   100 MB, as fast as they are taken
POST /held/up    takes the head and nothing of the body, and never answers
GET /held/ws     a WebSocket that stays silent
GET /held/echo   a WebSocket that gives back what it gets

hold(what, port) opens what a row wants and gives back how to let go of it; see HOLD.
"""

import asyncio
import contextlib
import pathlib
import socket
import ssl
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "e2e"))

from lib.frames import WINDOW_UPDATE, Frames, window_update  # noqa: E402
from lib.raw import Raw, tls_context  # noqa: E402

SIZE = 100_000_000
PIECE = b"d" * 65536
MESSAGE = b"\x82\xc0" + bytes(4) + b"m" * 64  # binary, masked with nothing, 64 bytes
STREAMS = 8
QUIET = 1.0  # seconds without credit or room: it has stalled
LARGEST_WINDOW = (1 << 31) - 1


async def serve(reader, writer):
    with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
        # What comes of a body behind the head stays in the reader: 64 KiB, then it is not read.
        head = await reader.readuntil(b"\r\n\r\n")
        if b"/held/ws " in head:
            writer.write(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n"
                         b"Upgrade: websocket\r\nSec-WebSocket-Accept: x\r\n\r\n")
            await reader.read(1)
        elif b"/held/echo " in head:
            writer.write(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n"
                         b"Upgrade: websocket\r\nSec-WebSocket-Accept: x\r\n\r\n")
            while piece := await reader.read(65536):
                writer.write(piece)
        elif b"/held/down " in head:
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % SIZE)
            for _ in range(SIZE // len(PIECE)):
                writer.write(PIECE)
                await writer.drain()
        else:
            await asyncio.sleep(3600)
    writer.close()


async def origin(port):
    server = await asyncio.start_server(serve, "127.0.0.1", port, backlog=4096, limit=65536)
    async with server:
        await server.serve_forever()


# ---- clients ----


def connect(port, alpn="http/1.1"):
    sock = socket.create_connection(("127.0.0.1", port), 20)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    return Raw(tls_context(alpn=(alpn,)).wrap_socket(sock, server_hostname="localhost"))


def websocket(port, path):
    c = connect(port)
    c.send(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\n"
           "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
           "Sec-WebSocket-Key: eHh4eHh4eHh4eHh4eHh4eA==\r\n\r\n")
    assert c.read_response().status == 101
    return c


def messages(port, seconds):
    """How many messages of 64 bytes came back over eight WebSockets, one at a time on each."""
    open_ = [websocket(port, "/held/echo") for _ in range(STREAMS)]
    count, end = 0, time.monotonic() + seconds
    while time.monotonic() < end:
        for c in open_:
            c.send(MESSAGE)
        for c in open_:
            assert c.recv_exactly(len(MESSAGE)) == MESSAGE
        count += len(open_)
    for c in open_:
        c.close()
    return count


def downloads_h1(port):
    held = []
    for _ in range(STREAMS):
        c = connect(port)
        c.send("GET /held/down HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert c.read_response(body=False).status == 200
        held.append(c)
    return held


def uploads_h1(port):
    held = []
    for _ in range(STREAMS):
        c = connect(port)
        c.send(f"POST /held/up HTTP/1.1\r\nHost: localhost\r\nContent-Length: {SIZE}\r\n\r\n")
        with contextlib.suppress(OSError, ssl.SSLError):
            c.send_until_stalled(PIECE, SIZE - len(PIECE), QUIET)
        held.append(c)
    return held


def downloads_h2(port):
    """All the credit there is, and then nothing is read."""
    f = Frames(connect(port, "h2"), scheme="https", own=((4, LARGEST_WINDOW),))
    f.send(window_update(0, LARGEST_WINDOW - 65535))
    for _ in range(STREAMS):
        f.headers(f.fields(path="/held/down"))
    return [f.raw]


def uploads_h2(port):
    """As much as the proxy gives credit for."""
    f = Frames(connect(port, "h2"), scheme="https").handshake()
    length = [("content-length", str(SIZE))]
    streams = [f.headers(f.fields("POST", "/held/up", extra=length), end=False)
               for _ in range(STREAMS)]
    credit = {s: f.peer.get(4, 65535) for s in streams} | {0: 65535}
    seen = 0
    f.raw.sock.settimeout(QUIET)
    with contextlib.suppress(OSError, AssertionError):
        while True:
            for x in f.seen[seen:]:
                if x.kind == WINDOW_UPDATE and x.stream in credit:
                    credit[x.stream] += int.from_bytes(x.payload, "big")
            seen = len(f.seen)
            sent = False
            for s in streams:
                n = min(16384, credit[s], credit[0])
                if n > 0:
                    f.data(s, PIECE[:n])
                    credit[s], credit[0], sent = credit[s] - n, credit[0] - n, True
            if not sent:
                f.recv()
    return [f.raw]


HOLD = {"downloads h1": downloads_h1, "uploads h1": uploads_h1, "downloads h2": downloads_h2,
        "uploads h2": uploads_h2}


@contextlib.contextmanager
def hold(what, port):
    held = HOLD[what](port)
    try:
        yield
    finally:
        for c in held:
            c.close()


if __name__ == "__main__":
    if sys.argv[1] == "messages":
        print(messages(int(sys.argv[2]), float(sys.argv[3])))
    else:
        with contextlib.suppress(KeyboardInterrupt):
            asyncio.run(origin(int(sys.argv[1])))
