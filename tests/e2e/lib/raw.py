"""One byte-stream connection, seen from a test: send these bytes, expect those, stall, reset.

The same class stands at both ends: a scripted client (`connect`, `connect_tls`) and a scripted
origin's side of a connection (see origin.py). Reading HTTP/1 messages is strict on purpose: what
the proxy writes must be well-formed, so anything else is an AssertionError.
"""

import re
import socket
import ssl
import struct
import time

TIMEOUT = 15.0  # of any single wait, in seconds; generous, because sanitizers are slow


class Closed(AssertionError):
    """The peer closed (or reset) the connection before what was expected had come."""


class Message:
    """An HTTP/1 request or response as it came over the wire."""

    def __init__(self):
        self.start = ""  # the start line
        self.fields = []  # (name, value), in order, names as written
        self.body = b""
        self.trailers = []
        self.chunks = []  # sizes of the chunks of a chunked body
        self.framing = "none"  # none, length, chunked, close
        self.interim = []  # of a response: the 1xx messages before it

    @property
    def status(self):
        return int(self.start.split(" ")[1])

    @property
    def method(self):
        return self.start.split(" ")[0]

    @property
    def target(self):
        return self.start.split(" ")[1]

    def all(self, name):
        return [v for n, v in self.fields if n.lower() == name.lower()]

    def get(self, name, default=None):
        values = self.all(name)
        assert len(values) <= 1, f"{name} given {len(values)} times: {self.fields}"
        return values[0] if values else default

    def has_token(self, name, token):
        listed = ",".join(self.all(name)).lower().split(",")
        return token.lower() in [t.strip() for t in listed]

    def trailer(self, name):
        values = [v for n, v in self.trailers if n.lower() == name.lower()]
        return values[0] if values else None

    def __repr__(self):
        return f"<{self.start!r} {self.fields} +{len(self.body)} bytes>"


FIELD = re.compile(rb"^([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([\t\x20-\x7e\x80-\xff]*?)[ \t]*$")


class Raw:
    """A connected socket with a read buffer."""

    def __init__(self, sock, timeout=TIMEOUT):
        self.sock = sock
        self.buffer = bytearray()
        sock.settimeout(timeout)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    # -- writing --

    def send(self, data):
        if isinstance(data, str):
            data = data.encode("latin-1")
        try:
            self.sock.sendall(data)
        except (BrokenPipeError, ConnectionResetError) as e:
            raise Closed(f"peer closed while {len(data)} bytes were being sent: {e}") from None

    def send_slowly(self, data, step=1, pause=0.002):
        """Sends in pieces, each a segment of its own."""
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for i in range(0, len(data), step):
            self.send(data[i : i + step])
            time.sleep(pause)

    def send_until_stalled(self, piece, limit, quiet=1.0):
        """Sends pieces until the peer takes nothing for `quiet` seconds or `limit` bytes are gone.
        Returns the number of bytes taken."""
        sent = 0
        old = self.sock.gettimeout()
        self.sock.settimeout(quiet)
        try:
            while sent < limit:
                sent += self.sock.send(piece)
        except (socket.timeout, ssl.SSLWantWriteError):
            pass
        finally:
            self.sock.settimeout(old)
        return sent

    def shutdown_write(self):
        self.sock.shutdown(socket.SHUT_WR)

    def close(self):
        try:
            self.sock.close()
        except OSError:
            pass

    def reset(self):
        """Closes with a TCP RST."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    # -- reading --

    def fill(self):
        """Reads once more; False at the end of the stream."""
        try:
            data = self.sock.recv(65536)
        except ConnectionResetError:
            raise Closed(f"connection reset; had {bytes(self.buffer[:300])!r}") from None
        except (ssl.SSLEOFError, ssl.SSLZeroReturnError):
            data = b""
        except socket.timeout:
            raise AssertionError(
                f"nothing came for {self.sock.gettimeout()} s; had {bytes(self.buffer[:300])!r}"
            ) from None
        self.buffer += data
        return bool(data)

    def take(self, n):
        data = bytes(self.buffer[:n])
        del self.buffer[:n]
        return data

    def recv_until(self, mark):
        """Everything up to and with `mark`."""
        seen = 0
        while True:
            at = self.buffer.find(mark, max(0, seen - len(mark)))
            if at >= 0:
                return self.take(at + len(mark))
            seen = len(self.buffer)
            if not self.fill():
                raise Closed(f"closed before {mark!r}; had {bytes(self.buffer[:300])!r}")

    def recv_exactly(self, n):
        while len(self.buffer) < n:
            if not self.fill():
                raise Closed(f"closed after {len(self.buffer)} of {n} bytes")
        return self.take(n)

    def recv_all(self):
        """Everything up to the end of the stream."""
        while self.fill():
            pass
        return self.take(len(self.buffer))

    def discard(self, n):
        """Reads and drops n bytes: for large bodies."""
        left = n - len(self.buffer)
        self.take(min(n, len(self.buffer)))
        scratch = bytearray(1 << 18)
        while left > 0:
            got = self.sock.recv_into(scratch, min(left, len(scratch)))
            if not got:
                raise Closed(f"closed {left} of {n} bytes short")
            left -= got

    def expect(self, data):
        got = self.recv_exactly(len(data))
        assert got == data, f"expected {data!r}, got {got!r}"

    def expect_nothing(self, seconds):
        """Nothing may come, and the connection must stay open, for this long."""
        old = self.sock.gettimeout()
        self.sock.settimeout(seconds)
        try:
            data = self.sock.recv(1)
            raise AssertionError(f"expected silence, got {data!r} ({'closed' if not data else ''})")
        except (socket.timeout, ssl.SSLWantReadError):
            pass
        finally:
            self.sock.settimeout(old)

    def closed(self, timeout=TIMEOUT):
        """Does the peer close (with FIN or RST) within timeout, with nothing more said?"""
        self.sock.settimeout(timeout)
        try:
            rest = bytes(self.buffer) + self.sock.recv(65536)
        except (ConnectionResetError, BrokenPipeError, ssl.SSLEOFError, ssl.SSLZeroReturnError):
            return not self.buffer
        except (socket.timeout, ssl.SSLWantReadError):
            return False
        return rest == b""

    # -- HTTP/1 --

    def _lines(self, head):
        assert head.endswith(b"\r\n\r\n") or head == b"\r\n", head[-20:]
        lines = head[:-2].split(b"\r\n")[:-1] if head != b"\r\n" else []
        for line in lines:
            assert b"\n" not in line and b"\r" not in line, f"bare line end in {line!r}"
        return lines

    def _fields(self, lines):
        fields = []
        for line in lines:
            match = FIELD.match(line)
            assert match, f"not a field line: {line[:200]!r}"
            fields.append((match[1].decode(), match[2].decode("latin-1")))
        return fields

    def read_head(self):
        """The next message's start line and fields."""
        head = self.recv_until(b"\r\n\r\n")
        lines = self._lines(head)
        message = Message()
        message.start = lines[0].decode("latin-1")
        message.fields = self._fields(lines[1:])
        return message

    def read_chunk(self):
        """One chunk of a chunked body; b"" for the last one (its trailers are still to be read)."""
        line = self.recv_until(b"\r\n")[:-2]
        assert re.fullmatch(rb"[0-9A-Fa-f]+", line), f"bad chunk size line {line!r}"
        size = int(line, 16)
        if size == 0:
            return b""
        data = self.recv_exactly(size)
        self.expect(b"\r\n")
        return data

    def read_trailers(self):
        lines = []
        while (line := self.recv_until(b"\r\n")) != b"\r\n":
            lines.append(line[:-2])
        return self._fields(lines)

    def read_body(self, message, to_close=False):
        """The body that message's fields announce. to_close: without framing it ends with the
        connection."""
        coding, length = message.get("Transfer-Encoding"), message.get("Content-Length")
        assert not (coding and length), f"both framings: {message.fields}"
        if coding:
            assert coding.lower() == "chunked", coding
            message.framing = "chunked"
            parts = []
            while chunk := self.read_chunk():
                parts.append(chunk)
            message.chunks = [len(p) for p in parts]
            message.body = b"".join(parts)
            message.trailers = self.read_trailers()
        elif length is not None:
            message.framing = "length"
            assert re.fullmatch(r"\d+", length), length
            message.body = self.recv_exactly(int(length))
        elif to_close:
            message.framing = "close"
            message.body = self.recv_all()
        return message

    def read_request(self, body=True):
        message = self.read_head()
        assert re.fullmatch(r"[A-Z]+ [^ ]+ HTTP/1\.1", message.start), message.start
        return self.read_body(message) if body else message

    def read_response(self, method="GET", body=True):
        interim = []
        while True:
            message = self.read_head()
            assert re.match(r"HTTP/1\.[01] \d{3} ", message.start), message.start
            if message.status >= 200 or message.status == 101:
                break
            interim.append(message)
        message.interim = interim
        bodyless = method == "HEAD" or message.status in (101, 204, 304)
        if body and not bodyless:
            self.read_body(message, to_close=True)
        return message

    def request(self, method, target="/", fields=(), body=None, host=None, read=True):
        """Sends one request and reads its response. fields: (name, value) pairs."""
        lines = [f"{method} {target} HTTP/1.1"]
        fields = list(fields.items()) if isinstance(fields, dict) else list(fields)
        if not any(n.lower() == "host" for n, _ in fields):
            fields.insert(0, ("Host", host or getattr(self, "host", "localhost")))
        if body is not None:
            fields.append(("Content-Length", str(len(body))))
        lines += [f"{n}: {v}" for n, v in fields]
        self.send("\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + (body or b""))
        return self.read_response(method) if read else None

    def get(self, target="/", fields=(), host=None):
        return self.request("GET", target, fields, host=host)


def connect(port, host="localhost", address="127.0.0.1", timeout=TIMEOUT, rcvbuf=None,
            source=None):
    """A plain connection to a port; host is only what request() puts into Host; source: the
    address to come from."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    if rcvbuf:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, rcvbuf)
    sock.settimeout(timeout)
    try:
        if source:
            sock.bind((source, 0))
        sock.connect((address, port))
    except BaseException:
        sock.close()
        raise
    raw = Raw(sock, timeout)
    raw.host = host
    return raw


def tls_context(cafile=None, cadata=None, alpn=("http/1.1",), minimum=None, maximum=None):
    """A client context: verifies against cafile or cadata, or not at all without either."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if cafile or cadata:
        context.load_verify_locations(cafile=cafile and str(cafile), cadata=cadata)
    else:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if alpn:
        context.set_alpn_protocols(list(alpn))
    if minimum:
        context.minimum_version = minimum
    if maximum:
        context.maximum_version = maximum
    return context


def connect_tls(port, host="localhost", sni=..., context=None, timeout=TIMEOUT, source=None,
                **options):
    """A TLS connection. sni: the name to send (host unless given; None: none).
    options: those of tls_context."""
    context = context or tls_context(**options)
    raw = connect(port, host, timeout=timeout, source=source)
    try:
        raw.sock = context.wrap_socket(raw.sock, server_hostname=host if sni is ... else sni)
    except BaseException:
        raw.close()
        raise
    return raw
