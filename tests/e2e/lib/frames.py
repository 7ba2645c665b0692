"""HTTP/2 by hand: a client that sends the frames it is told to send, valid or not, and reads frames.

Field sections are encoded with python3-hpack (which comes with python3-h2) or given as bytes; a
`Frames` keeps one HPACK decoder, so every HEADERS of the peer must be read through it.
"""

import struct

import hpack

from .raw import Closed

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, \
    CONTINUATION = range(10)
END_STREAM = ACK = 0x1
END_HEADERS, PADDED, WITH_PRIORITY = 0x4, 0x8, 0x20
NO_ERROR, PROTOCOL_ERROR, INTERNAL_ERROR, FLOW_CONTROL_ERROR, SETTINGS_TIMEOUT, STREAM_CLOSED, \
    FRAME_SIZE_ERROR, REFUSED_STREAM, CANCEL, COMPRESSION_ERROR, CONNECT_ERROR, \
    ENHANCE_YOUR_CALM = range(12)


def frame(kind, flags=0, stream=0, payload=b"", length=None):
    n = len(payload) if length is None else length
    return struct.pack(">I", n)[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def settings(*pairs):
    return frame(SETTINGS, payload=b"".join(struct.pack(">HI", k, v) for k, v in pairs))


def window_update(stream, n):
    return frame(WINDOW_UPDATE, 0, stream, struct.pack(">I", n))


def rst(stream, code=CANCEL):
    return frame(RST_STREAM, 0, stream, struct.pack(">I", code))


def literal(name, value):
    """A field as a literal that is never indexed: whatever the bytes, nothing is checked."""
    name, value = name.encode("latin-1"), value.encode("latin-1")
    assert len(name) < 127 and len(value) < 127
    return b"\x10" + bytes([len(name)]) + name + bytes([len(value)]) + value


def block(*fields):
    return b"".join(literal(n, v) for n, v in fields)


class Frame:
    def __init__(self, kind, flags, stream, payload):
        self.kind, self.flags, self.stream, self.payload = kind, flags, stream, payload
        self.fields = None

    def __repr__(self):
        return f"<{self.kind} flags={self.flags:#x} stream={self.stream} {self.payload[:40]!r}>"

    @property
    def code(self):
        at = 4 if self.kind == GOAWAY else 0
        return struct.unpack(">I", self.payload[at:at + 4])[0]

    @property
    def last_stream(self):
        return struct.unpack(">I", self.payload[:4])[0] & 0x7FFFFFFF


class Answer:
    def __init__(self):
        self.fields, self.body, self.trailers, self.interim, self.reset = [], b"", [], [], None

    @property
    def status(self):
        return int(dict(self.fields)[":status"])

    def get(self, name):
        values = [v for n, v in self.fields if n == name]
        assert len(values) <= 1, self.fields
        return values[0] if values else None


class Frames:
    """raw: a connected lib.raw.Raw. The preface and our SETTINGS are sent; the peer's are read when
    they come."""

    def __init__(self, raw, host="localhost", scheme="http", hello=True, own=()):
        self.raw, self.host, self.scheme = raw, host, scheme
        self.encoder, self.decoder = hpack.Encoder(), hpack.Decoder()
        self.decoder.max_header_list_size = 1 << 20
        self.next_id = 1
        self.peer = {}  # SETTINGS of the peer
        self.acks = 0
        self.seen = []
        if hello:
            self.send(PREFACE + settings(*own))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.raw.close()

    def send(self, *parts):
        self.raw.send(b"".join(parts))

    def handshake(self):
        """Until the peer has acknowledged our SETTINGS and we its own."""
        while not self.acks or not self.peer:
            self.recv()
        return self

    def recv(self):
        """The next frame. SETTINGS and PING are answered on the way (and returned too)."""
        head = self.raw.recv_exactly(9)
        n = int.from_bytes(head[:3], "big")
        kind, flags = head[3], head[4]
        stream = struct.unpack(">I", head[5:])[0] & 0x7FFFFFFF
        f = Frame(kind, flags, stream, self.raw.recv_exactly(n))
        self.seen.append(f)
        if kind == SETTINGS and flags & ACK:
            self.acks += 1
        elif kind == SETTINGS:
            for at in range(0, n, 6):
                k, v = struct.unpack(">HI", f.payload[at:at + 6])
                self.peer[k] = v
            try:
                self.send(frame(SETTINGS, ACK))
            except OSError:
                pass
        elif kind == PING and not flags & ACK:
            self.send(frame(PING, ACK, 0, f.payload))
        elif kind == HEADERS:
            payload = f.payload
            while not flags & END_HEADERS:
                more = self.recv()
                assert more.kind == CONTINUATION and more.stream == stream
                payload += more.payload
                flags |= more.flags
            f.fields = [(str(a), str(b)) for a, b in self.decoder.decode(payload)]
        return f

    def until(self, kind, stream=None, ack=None):
        while True:
            f = self.recv()
            if f.kind == kind and stream in (None, f.stream) and (
                ack is None or bool(f.flags & ACK) == ack
            ):
                return f

    def fields(self, method="GET", path="/", extra=(), authority=None, scheme=None):
        return [(":method", method), (":scheme", scheme or self.scheme), (":path", path),
                (":authority", authority or self.host), *extra]

    def headers(self, fields=None, end=True, stream=None, flags=END_HEADERS, payload=None,
                before=b"", after=b""):
        """Sends HEADERS; the stream's number."""
        if stream is None:
            stream = self.next_id
            self.next_id += 2
        if payload is None:
            payload = self.encoder.encode(self.fields() if fields is None else fields)
        self.send(before, frame(HEADERS, flags | (END_STREAM if end else 0), stream, payload),
                  after)
        return stream

    def data(self, stream, data, end=False):
        self.send(frame(DATA, END_STREAM if end else 0, stream, data))

    def answer(self, stream, windows=True):
        """Reads the whole response of a stream; gives credit as content comes."""
        a = Answer()
        while True:
            f = self.recv()
            if f.kind == GOAWAY and f.code != NO_ERROR:
                raise Closed(f"GOAWAY {f.code} {f.payload[8:]!r}")
            if f.stream != stream:
                continue
            if f.kind == RST_STREAM:
                a.reset = f.code
                return a
            if f.kind == HEADERS:
                if a.fields:
                    a.trailers = f.fields
                elif dict(f.fields)[":status"].startswith("1"):
                    a.interim.append(f.fields)
                else:
                    a.fields = f.fields
            elif f.kind == DATA:
                a.body += f.payload
                if windows and f.payload:
                    self.send(window_update(0, len(f.payload)),
                              window_update(stream, len(f.payload)))
            if f.kind in (HEADERS, DATA) and f.flags & END_STREAM:
                return a

    def get(self, path="/", **options):
        return self.answer(self.headers(self.fields(path=path, **options)))

    def alive(self):
        """The connection still answers a PING."""
        self.send(frame(PING, 0, 0, b"alive???"))
        while self.until(PING, ack=True).payload != b"alive???":
            pass
        return True

    def outcome(self, stream=None):
        """What an error led to: ("stream", code), ("connection", code) or ("closed", None); a
        response is ("answer", status)."""
        while True:
            try:
                f = self.recv()
            except (Closed, OSError):
                return "closed", None
            if f.kind == GOAWAY:
                return "connection", f.code
            if f.kind == RST_STREAM and stream in (None, f.stream):
                return "stream", f.code
            if f.kind == HEADERS and stream in (None, f.stream):
                return "answer", int(dict(f.fields).get(":status", 0))
