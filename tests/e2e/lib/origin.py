"""Origin servers for the proxy to talk to.

Scripted: each accepted connection is given to a function script(raw) that says byte by byte what
the origin does. Origin: a small well-behaved HTTP/1.1 server around a function
handler(request) -> Response, which records what it was asked. Whatever a script asserts and gets
wrong fails the test that made it.
"""

import socket
import ssl
import threading

from .raw import Closed, Raw


class Scripted:
    """Listens on 127.0.0.1; `script(raw)` runs in a thread for each connection. With a list of
    scripts the n-th connection gets the n-th, and connections beyond are an error."""

    def __init__(self, script, tls=None, backlog=256):
        self.script = script
        self.tls = tls  # a server-side SSLContext, or None
        self.errors = []
        self.connections = 0
        self.open = set()
        self.lock = threading.Lock()
        self.closing = False
        self.listener = socket.socket()
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind(("127.0.0.1", 0))
        self.listener.listen(backlog)
        self.port = self.listener.getsockname()[1]
        self.address = f"127.0.0.1:{self.port}"
        self.thread = threading.Thread(target=self._accept, daemon=True)
        self.thread.start()

    def _accept(self):
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self.lock:
                n = self.connections
                self.connections += 1
            threading.Thread(target=self._run, args=(sock, n), daemon=True).start()

    def _run(self, sock, n):
        raw = None
        try:
            if self.tls:
                sock = self.tls.wrap_socket(sock, server_side=True)
            raw = Raw(sock)
            raw.number = n
            with self.lock:
                self.open.add(raw)
            script = self.script
            if isinstance(script, (list, tuple)):
                assert n < len(script), f"connection {n + 1} where {len(script)} were expected"
                script = script[n]
            script(raw)
        except Exception as e:  # noqa: BLE001: reported by finish()
            if not self.closing:
                self.errors.append(e)
        finally:
            with self.lock:
                self.open.discard(raw)
            if raw:
                raw.close()

    def stop_listening(self):
        """New connections are refused from now on; open ones go on."""
        try:
            self.listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.listener.close()

    def drop_connections(self):
        with self.lock:
            for raw in self.open:
                try:
                    raw.sock.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass

    def finish(self):
        """Stops, and raises the first thing that went wrong in a script."""
        self.closing = True
        self.stop_listening()
        self.drop_connections()
        if self.errors:
            raise self.errors[0]


class Response:
    def __init__(self, status=200, body=b"", fields=(), chunked=False, trailers=(), close=False):
        self.status = status
        self.body = body.encode() if isinstance(body, str) else body
        self.fields = list(fields)
        self.chunked = chunked
        self.trailers = list(trailers)
        self.close = close

    def head(self):
        lines = [f"HTTP/1.1 {self.status} X"] + [f"{n}: {v}" for n, v in self.fields]
        if self.chunked:
            lines.append("Transfer-Encoding: chunked")
        elif self.status not in (204, 304):
            lines.append(f"Content-Length: {len(self.body)}")
        if self.close:
            lines.append("Connection: close")
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")

    def send(self, raw, method):
        if method == "HEAD":
            raw.send(self.head())
        elif self.chunked:
            raw.send(self.head())
            for i in range(0, len(self.body), 10000):
                piece = self.body[i : i + 10000]
                raw.send(b"%x\r\n%s\r\n" % (len(piece), piece))
            trailers = "".join(f"{n}: {v}\r\n" for n, v in self.trailers)
            raw.send(b"0\r\n" + trailers.encode("latin-1") + b"\r\n")
        else:
            raw.send(self.head() + (b"" if self.status in (204, 304) else self.body))


def hello(request):
    return Response(body=f"{request.method} {request.target}")


class Origin(Scripted):
    """handler(request) returns a Response. `requests` has all requests, in order of arrival;
    request.connection is the number of the connection it came on. upgrade(raw, request), if given,
    has the connection when a request asks for another protocol and it does not return False."""

    def __init__(self, handler=hello, upgrade=None, **options):
        self.handler = handler
        self.upgrade = upgrade
        self.requests = []
        super().__init__(self._serve, **options)

    def _serve(self, raw):
        while True:
            if not raw.buffer:
                old = raw.sock.gettimeout()
                raw.sock.settimeout(None)  # idle connections may wait
                try:
                    if not raw.fill():
                        return
                except (Closed, OSError):
                    return
                raw.sock.settimeout(old)
            request = raw.read_head()
            if request.get("Expect", "").lower() == "100-continue":
                raw.send(b"HTTP/1.1 100 Continue\r\n\r\n")
            raw.read_body(request)
            request.connection = raw.number
            with self.lock:
                self.requests.append(request)
            if self.upgrade and request.get("Upgrade"):
                if self.upgrade(raw, request) is not False:
                    return
            response = self.handler(request)
            try:
                response.send(raw, request.method)
            except Closed:
                return
            if response.close:
                return

    @property
    def last(self):
        return self.requests[-1]


def server_context(cert, key):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(str(cert), str(key))
    return context
