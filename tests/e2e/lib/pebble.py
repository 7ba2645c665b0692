"""Pebble, the ACME test CA, with its challenge DNS server, and a mediator in front of it.

The mediator is a TLS server through which caddis reaches Pebble. It counts what passes and can
misbehave: `rules` are functions rule(request) -> action, asked in order; the first answer that is
not None decides: "hang" (says nothing until the other side leaves), "drop" (closes), bytes (sent
as the whole response), or a function after(response_bytes) -> bytes or None that sees Pebble's
response and may replace it. Pebble builds all its URLs from the Host field, so that the whole
exchange stays on the mediator.
"""

import json
import os
import pathlib
import socket
import subprocess
import time
import urllib.request

from .certs import Authority, common_name, parse_pem
from .origin import Scripted, server_context
from .ports import free_port
from .raw import Closed, connect_tls, tls_context

ROOT = pathlib.Path(__file__).resolve().parents[3]
FOLDER = pathlib.Path(os.environ.get("CADDIS_PEBBLE", ROOT / "build-tests/pebble"))
VERSIONS = ("new", "old")
NAME = "example.com"
SITE = NAME + " {\n\trespond hello\n}"


def problem(status, kind, detail, fields=()):
    """A problem document, as a whole HTTP response."""
    body = json.dumps(
        {"type": f"urn:ietf:params:acme:error:{kind}", "detail": detail, "status": status}
    ).encode()
    head = [f"HTTP/1.1 {status} X", "Content-Type: application/problem+json", "Connection: close"]
    head += [f"{n}: {v}" for n, v in fields] + [f"Content-Length: {len(body)}"]
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body


class Pebble:
    def __init__(self, folder, http_port, tls_port, version="new", env=None, validity=None,
                 unresolvable=(), name_server=None, **config):
        """http_port, tls_port: where names are validated. validity: of certificates, in seconds.
        Every name is at 127.0.0.1, but for those listed as unresolvable, whose validation fails.
        name_server: the port (or ADDRESS:PORT) of one to ask instead of Pebble's own.
        config: further keys of Pebble's configuration."""
        self.folder = folder
        self.version = version
        self.authority = Authority(folder, "test CA's own interface")
        self.ca_root = self.authority.path
        crt, key = self.authority.issue("localhost", "127.0.0.1")
        self.api, self.management = free_port(), free_port()
        self.dns, self.dns_management = free_port(), free_port()
        self.name_server = name_server or self.dns
        settings = {
            "listenAddress": f"127.0.0.1:{self.api}",
            "managementListenAddress": f"127.0.0.1:{self.management}",
            "certificate": str(crt),
            "privateKey": str(key),
            "httpPort": http_port,
            "tlsPort": tls_port,
            "retryAfter": {"authz": 1, "order": 1},
            "certificateValidityPeriod": validity or 7776000,
            "profiles": {"default": {"description": "x", "validityPeriod": validity or 7776000}},
        }
        settings.update(config)
        (folder / "pebble.json").write_text(json.dumps({"pebble": settings}))
        # Chance is asked for by the tests that mean it: of itself Pebble refuses one nonce in twenty.
        self.env = {**os.environ, "PEBBLE_VA_NOSLEEP": "1", "PEBBLE_AUTHZREUSE": "0",
                    "PEBBLE_WFE_NONCEREJECT": "0", **(env or {})}
        self.log = open(folder / "pebble.log", "ab")
        binaries = FOLDER / version / "usr/bin"
        assert (binaries / "pebble").exists(), (
            f"{binaries}/pebble is missing: tests/e2e/fetch-pebble build-tests/pebble"
        )
        dns_flag = "-dns01" if version == "old" else "-dnsserver"
        dns = [binaries / "pebble-challtestsrv", dns_flag, f"127.0.0.1:{self.dns}", "-management",
               f"127.0.0.1:{self.dns_management}", "-http01", "", "-https01", "", "-tlsalpn01", "",
               "-defaultIPv4", "127.0.0.1", "-defaultIPv6", ""]
        if version != "old":
            dns += ["-doh", ""]
        self.resolver = self._spawn(dns, self.dns_management)
        for name in unresolvable:
            self.resolver_command("set-servfail", host=name)
        self.pebble = None
        self.start()
        self.mediator = Mediator(self, server_context(crt, key))
        self.url = f"https://localhost:{self.mediator.port}/dir"

    def _spawn(self, args, port):
        process = subprocess.Popen([str(a) for a in args], stdin=subprocess.DEVNULL,
                                   stdout=self.log, stderr=self.log, env=self.env)
        end = time.monotonic() + 15
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                return process
            except OSError:
                assert process.poll() is None and time.monotonic() < end, "Pebble does not start"
                time.sleep(0.02)

    def start(self):
        binary = FOLDER / self.version / "usr/bin/pebble"
        server = str(self.name_server)
        server = server if ":" in server else f"127.0.0.1:{server}"
        self.pebble = self._spawn([binary, "-config", self.folder / "pebble.json", "-strict=true",
                                   "-dnsserver", server], self.api)

    def stop(self):
        """The CA goes away (and forgets everything); the mediator refuses connections too."""
        self._end(self.pebble)

    @staticmethod
    def _end(process):
        if process and process.poll() is None:
            process.kill()
            process.wait()

    def finish(self):
        self._end(self.pebble)
        self._end(self.resolver)
        self.mediator.finish()
        self.log.close()

    def resolver_command(self, command, **arguments):
        """set-servfail, clear-servfail (host)..."""
        url = f"http://127.0.0.1:{self.dns_management}/{command}"
        body = json.dumps(arguments).encode()
        urllib.request.urlopen(urllib.request.Request(url, body), timeout=10).read()

    def _manage(self, path):
        context = tls_context(cafile=self.ca_root)
        url = f"https://localhost:{self.management}/{path}"
        return urllib.request.urlopen(url, context=context, timeout=10).read().decode()

    def root(self, number):
        """PEM of one of its roots; there are several with PEBBLE_ALTERNATE_ROOTS."""
        return self._manage(f"roots/{number}")

    def root_name(self, number):
        return common_name(parse_pem(self.root(number)).subject)

    def roots(self):
        """PEM of the root that its certificates chain to."""
        return self.root(0)

    def status_of(self, serial):
        """"Valid" or "Revoked"."""
        return json.loads(self._manage(f"cert-status-by-serial/{serial:x}"))["Status"]

    @property
    def globals(self):
        return f"acme_ca {self.url}\nacme_ca_root {self.ca_root}\nemail admin@example.com"

    @property
    def orders(self):
        """How many orders Pebble has made."""
        return self.mediator.count("new-order", 201)


class Mediator(Scripted):
    """See above. `passed` lists (kind, status): kind is the directory's name of the resource
    ("new-order", "new-nonce"...) or the first part of its path ("finalize", "authz", "chal", "order",
    "certificate")."""

    KINDS = {"dir": "directory", "nonce-plz": "new-nonce", "sign-me-up": "new-account",
             "order-plz": "new-order", "my-order": "order", "authZ": "authz", "chalZ": "challenge",
             "finalize-order": "finalize", "certZ": "certificate", "draft-ietf-acme-ari-03": "ari"}

    def __init__(self, pebble, context):
        self.pebble = pebble
        self.rules = []
        self.passed = []
        self.seen = []  # (kind, monotonic time) of every request, also of those not passed on
        super().__init__(self._serve, tls=context)

    def count(self, kind, status=None):
        with self.lock:
            return sum(1 for k, s in self.passed if k == kind and status in (None, s))

    def seen_count(self, kind):
        with self.lock:
            return sum(1 for k, _ in self.seen if k == kind)

    def _run(self, sock, n):
        try:
            super()._run(sock, n)
        finally:
            # A client that leaves in the middle is what many tests are about.
            self.errors = [e for e in self.errors if not isinstance(e, (OSError, Closed))]

    def _serve(self, raw):
        raw.sock.settimeout(120)
        while raw.buffer or raw.fill():
            request = raw.read_request()
            part = request.target.strip("/").split("/")[0]
            request.kind = self.KINDS.get(part, part)
            with self.lock:
                self.seen.append((request.kind, time.monotonic()))
            action = None
            for rule in list(self.rules):
                action = rule(request)
                if action is not None:
                    break
            if action == "hang":
                raw.sock.settimeout(None)
                while raw.fill():
                    pass
                return
            if action == "drop":
                return
            if isinstance(action, bytes):
                raw.send(action)
                return
            try:
                response = self._ask(request)
            except (Closed, OSError):
                return  # Pebble has closed without an answer: so does the mediator
            if callable(action):
                response = action(response)
                if response is None:
                    return
            raw.send(response)

    def _ask(self, request):
        with connect_tls(self.pebble.api, "localhost", cafile=self.pebble.ca_root) as upstream:
            lines = [request.start] + [
                f"{n}: {v}" for n, v in request.fields
                if n.lower() not in ("connection", "transfer-encoding", "content-length", "expect")
            ]
            lines += [f"Content-Length: {len(request.body)}", "Connection: close"]
            upstream.send("\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + request.body)
            response = upstream.read_response(request.method)
        with self.lock:
            self.passed.append((request.kind, response.status))
        head = [response.start] + [
            f"{n}: {v}" for n, v in response.fields
            if n.lower() not in ("connection", "transfer-encoding", "content-length")
        ]
        if response.status != 204:
            head.append(f"Content-Length: {len(response.body)}")
        return "\r\n".join(head).encode("latin-1") + b"\r\n\r\n" + response.body


def once(kind, action):
    """A rule that acts on the first request of a kind only. action: as above, or a function
    without arguments that is called for its effect and returns the action."""
    left = [1]

    def rule(request):
        if request.kind != kind or not left:
            return None
        left.pop()
        return action() if callable(action) else action

    return rule


def always(kind, action):
    """A rule for every request of a kind (None: of all kinds)."""
    return lambda request: action if kind in (None, request.kind) else None


def wait(p, c, name=NAME, timeout=60):
    """Until c serves a certificate of p's for name; returns it in DER."""
    return c.wait_certificate(name, timeout=timeout, cadata=p.roots())
