"""Origins that speak HTTP/2: `Peer` is the origin's side of one connection, frame by frame, for scripts
of `origin.Scripted`; `H2Origin` a small well-behaved server around handler(request) -> Reply, which
records what it was asked and on which connection."""

import ssl
import struct
import threading

from .frames import (DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, NO_ERROR, PREFACE,
                     REFUSED_STREAM, RST_STREAM, Frames, frame, rst, settings, window_update)
from .origin import Scripted
from .raw import Closed

MAX_CONCURRENT, INITIAL_WINDOW = 3, 4


class Request:
    def __init__(self, stream, fields):
        self.stream, self.fields = stream, fields
        self.body, self.trailers, self.ended, self.reset = b"", [], False, None

    def get(self, name):
        values = [v for n, v in self.fields if n == name]
        assert len(values) <= 1, self.fields
        return values[0] if values else None

    @property
    def method(self):
        return self.get(":method")

    @property
    def path(self):
        return self.get(":path")


class Reply:
    def __init__(self, status=200, body=b"", fields=(), trailers=()):
        self.status, self.fields, self.trailers = status, list(fields), list(trailers)
        self.body = body.encode() if isinstance(body, str) else body


class Peer(Frames):
    """raw: the accepted connection. Reads the client's preface and says hello with our SETTINGS (own:
    pairs); hello=False: says nothing by itself."""

    def __init__(self, raw, own=(), hello=True):
        super().__init__(raw, hello=False)
        self.requests = {}
        self.goaway = None
        raw.expect(PREFACE)
        if hello:
            self.send(settings(*own))

    def step(self, windows=True):
        """Reads one frame and keeps the books of requests; gives credit for content at once if
        windows. The frame."""
        f = self.recv()
        if f.kind == HEADERS and f.stream not in self.requests:
            self.requests[f.stream] = Request(f.stream, f.fields)
        elif f.kind == HEADERS:
            self.requests[f.stream].trailers = f.fields
        elif f.kind == DATA:
            self.requests[f.stream].body += f.payload
            if windows and f.payload:
                self.send(window_update(0, len(f.payload)),
                          window_update(f.stream, len(f.payload)))
        elif f.kind == RST_STREAM and f.stream in self.requests:
            self.requests[f.stream].reset = f.code
        elif f.kind == GOAWAY:
            self.goaway = f.code
        if f.kind in (HEADERS, DATA) and f.flags & END_STREAM:
            self.requests[f.stream].ended = True
        return f

    def request(self, ended=True, windows=True):
        """The next request (its head, or all of it): its Request."""
        while True:
            f = self.step(windows)
            if f.kind == HEADERS and not self.requests[f.stream].trailers:
                break
        r = self.requests[f.stream]
        while ended and not r.ended:
            self.step(windows)
        return r

    def head(self, stream, status=200, fields=(), end=False, flags=END_HEADERS):
        block = self.encoder.encode([(":status", str(status)), *fields])
        self.send(frame(HEADERS, flags | (END_STREAM if end else 0), stream, block))

    def trailers(self, stream, *fields):
        self.send(frame(HEADERS, END_HEADERS | END_STREAM, stream, self.encoder.encode(fields)))

    def reply(self, stream, reply):
        """All of it; content waits for windows that the peer gives."""
        self.head(stream, reply.status, reply.fields, not reply.body and not reply.trailers)
        for at in range(0, len(reply.body), 16384):
            piece = reply.body[at:at + 16384]
            self.data(stream, piece, not reply.trailers and at + 16384 >= len(reply.body))
        if reply.trailers:
            self.trailers(stream, *reply.trailers)

    def bye(self, last, code=NO_ERROR):
        self.send(frame(GOAWAY, 0, 0, struct.pack(">II", last, code)))

    def until_reset(self, stream):
        """Until the peer resets the stream; the code."""
        while stream not in self.requests or self.requests[stream].reset is None:
            self.step()
        return self.requests[stream].reset

    def until_closed(self):
        """Reads until the peer ends the connection."""
        try:
            while True:
                self.step()
        except (Closed, OSError):
            return


class H2Origin(Scripted):
    """handler(request) -> Reply, or None: it is never answered. Answers smaller than the windows.
    Streams beyond the limit in own are refused."""

    def __init__(self, handler=None, own=(), **options):
        self.handler = handler or (lambda r: Reply(body=f"{r.method} {r.path}"))
        self.own = own
        self.requests = []
        self.refused = 0
        self.most = {}  # connection -> the most requests that were under way at a time
        super().__init__(self._serve, **options)

    def _serve(self, raw):
        raw.sock.settimeout(None)
        peer = Peer(raw, self.own)
        limit = dict(self.own).get(MAX_CONCURRENT, 1 << 30)
        under_way, refused = set(), set()
        answer = threading.Lock()

        def run(r):
            reply = self.handler(r)
            with answer:
                under_way.discard(r.stream)
                if reply:
                    peer.reply(r.stream, reply)

        try:
            while True:
                f = peer.step()
                r = peer.requests.get(f.stream)
                if f.kind == HEADERS and not r.trailers and len(under_way) >= limit:
                    with answer:
                        peer.send(rst(f.stream, REFUSED_STREAM))
                    refused.add(f.stream)
                    self.refused += 1
                if f.stream in refused:
                    continue
                if f.kind == HEADERS and not r.trailers:
                    under_way.add(f.stream)
                    self.most[raw.number] = max(self.most.get(raw.number, 0), len(under_way))
                if f.kind in (HEADERS, DATA) and r.ended:
                    r.connection = raw.number
                    with self.lock:
                        self.requests.append(r)
                    threading.Thread(target=run, args=(r,), daemon=True).start()
        except (Closed, OSError):
            return


def tls_context(cert, key, alpn=("h2",)):
    """For an origin that speaks HTTP/2 over TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(str(cert), str(key))
    if alpn:
        context.set_alpn_protocols(list(alpn))
    return context
