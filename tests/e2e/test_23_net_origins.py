"""Where connections come from and go to: the PROXY protocol on both sides, names that change."""

import socket
import struct
import threading
import time

import pytest
from lib import raw as rawlib
from lib.dns import NameServer
from lib.origin import Response

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
LINE = b"PROXY TCP4 192.0.2.7 198.51.100.2 40000 443\r\n"


def version_2(source="192.0.2.7", destination="198.51.100.2", command=1, tlvs=b""):
    family = socket.AF_INET6 if ":" in source else socket.AF_INET
    body = socket.inet_pton(family, source) + socket.inet_pton(family, destination)
    body += struct.pack("!HH", 40000, 443) + tlvs
    head = bytes([0x20 | command, 0x21 if ":" in source else 0x11])
    return SIGNATURE + head + struct.pack("!H", len(body)) + body


def fronted(*options):
    return ("servers {\nlistener_wrappers {\nproxy_protocol {\n" + "\n".join(options)
            + "\n}\ntls\n}\n}")


def tell(request):
    return Response(body=f"{request.get('X-Forwarded-For')} {request.get('X-Forwarded-Proto')}")


SITE = "http://localhost {\n\treverse_proxy %s\n\tlog {\n\t\toutput file access.log\n\t}\n}"
GET = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"


# ---- PROXY headers from clients ----


@pytest.mark.parametrize("header, client", [
    (LINE, b"192.0.2.7"),
    (b"PROXY TCP6 2001:db8::7 2001:db8::1 1 2\r\n", b"2001:db8::7"),
    (b"PROXY UNKNOWN\r\n", b"127.0.0.1"),
    (version_2(), b"192.0.2.7"),
    (version_2("2001:db8::7", "::1"), b"2001:db8::7"),
    (version_2(tlvs=b"\x02\x00\x0bexample.com" + b"\xe0\x04\x00" + b"x" * 1024), b"192.0.2.7"),
    (version_2(command=0), b"127.0.0.1"),
    (b"", b"127.0.0.1"),
], ids=["v1-4", "v1-6", "v1-unknown", "v2-4", "v2-6", "v2-tlvs", "v2-local", "none"])
def test_header_names_the_client(caddis, origin, eventually, header, client):
    o = origin(tell)
    c = caddis(SITE % o.address, globals=fronted("allow 127.0.0.0/8"))
    with c.connect() as connection:
        connection.send(header + GET)
        assert connection.read_response().body == client + b" http"
        assert connection.get("/again").body == client + b" http"  # all of the connection's requests
    log = c.folder / "access.log"
    eventually(lambda: f'"remote_ip":"{client.decode()}"' in log.read_text())


def test_header_in_pieces(caddis, origin):
    o = origin(tell)
    c = caddis(SITE % o.address, globals=fronted("allow 127.0.0.1"))
    for header in (LINE, version_2()):
        with c.connect() as connection:
            connection.send_slowly(header + GET)
            assert connection.read_response().body == b"192.0.2.7 http"


def test_header_in_front_of_tls(caddis, origin):
    o = origin(tell)
    c = caddis("localhost {\n\treverse_proxy %s\n}" % o.address,
               globals=fronted("allow 127.0.0.1"))
    c.wait_certificate()  # without a header: the peer's own connection
    for header in (LINE, version_2()):
        connection = rawlib.connect(c.https)
        connection.send(header)
        connection.sock = rawlib.tls_context().wrap_socket(connection.sock,
                                                           server_hostname="localhost")
        assert connection.get().body == b"192.0.2.7 https"
        connection.close()


@pytest.mark.parametrize("options, with_header, without", [
    (["fallback_policy ignore"], b"127.0.0.1 http", b"127.0.0.1 http"),
    ([], b"127.0.0.1 http", b"127.0.0.1 http"),
    (["fallback_policy use"], b"192.0.2.7 http", b"127.0.0.1 http"),
    (["fallback_policy reject"], None, b"127.0.0.1 http"),
    (["fallback_policy require"], b"192.0.2.7 http", None),
    (["fallback_policy skip"], 400, b"127.0.0.1 http"),
    (["allow 0.0.0.0/0", "deny 127.0.0.0/8"], None, b"127.0.0.1 http"),
    (["allow 10.0.0.0/8 192.168.0.0/16"], b"127.0.0.1 http", b"127.0.0.1 http"),
], ids=["ignore", "default", "use", "reject", "require", "skip", "deny", "not-allowed"])
def test_policies(caddis, origin, options, with_header, without):
    o = origin(tell)
    c = caddis(SITE % o.address, globals=fronted(*options))
    for header, wanted in ((LINE, with_header), (b"", without)):
        with c.connect() as connection:
            connection.send(header + GET)
            if wanted is None:
                assert connection.closed()
            elif isinstance(wanted, int):
                assert connection.read_response().status == wanted
            else:
                assert connection.read_response().body == wanted


@pytest.mark.parametrize("bytes_", [
    b"PROXY TCP4 1.2.3.4 1.2.3.4 70000 1\r\n", b"PROXY TCP4 " + b"1" * 120,
    SIGNATURE + b"\x21\x11\xff\xff", SIGNATURE + b"\x31\x11\x00\x00",
    SIGNATURE + b"\x21\x11\x00\x03abc",
], ids=["port", "long", "v2-long", "v2-version", "v2-short"])
def test_malformed_header_closes(caddis, origin, bytes_):
    o = origin(tell)
    c = caddis(SITE % o.address, globals=fronted("allow 127.0.0.1"))
    with c.connect() as connection:
        connection.send(bytes_)
        assert connection.closed()
    assert not o.requests
    assert c.get().status == 200


def test_header_must_come_in_time(caddis, origin):
    o = origin(tell)
    c = caddis(SITE % o.address, globals=fronted("allow 127.0.0.1", "timeout 300ms"))
    with c.connect() as slow, c.connect() as silent:
        slow.send(LINE[:20])
        assert slow.closed()
        silent.expect_nothing(0.6)
        silent.send(GET)  # nothing came: it is the peer's own connection
        assert silent.read_response().body == b"127.0.0.1 http"


def test_reload_brings_and_takes_it(caddis, origin):
    o = origin(tell)
    c = caddis(SITE % o.address)
    with c.connect() as kept:
        kept.get()
        c.globals = fronted("fallback_policy require")
        c.reload(SITE % o.address)
        assert kept.get("/kept").status == 200  # begun before
        with c.connect() as connection:
            connection.send(GET)
            assert connection.closed()
        with c.connect() as connection:
            connection.send(LINE + GET)
            assert connection.read_response().body == b"192.0.2.7 http"


# ---- PROXY headers to origins ----


def read_proxy_header(raw):
    first = raw.recv_exactly(12)
    if first != SIGNATURE:
        line = first + raw.recv_until(b"\r\n")
        assert line.startswith(b"PROXY ")
        return line[6:-2].decode().split(" ")
    command, family, length = struct.unpack("!BBH", raw.recv_exactly(4))
    body = raw.recv_exactly(length)
    assert command == 0x21
    if family == 0x11:
        ports = struct.unpack("!HH", body[8:12])
        return ["TCP4", socket.inet_ntoa(body[:4]), socket.inet_ntoa(body[4:8]), *map(str, ports)]
    assert family == 0x21
    ports = struct.unpack("!HH", body[32:36])
    ips = [socket.inet_ntop(socket.AF_INET6, body[i:i + 16]) for i in (0, 16)]
    return ["TCP6", *ips, *map(str, ports)]


PROXY_SITE = ("http://localhost {\n\treverse_proxy %s {\n\t\ttransport http {\n"
              "\t\t\tproxy_protocol %s\n\t\t}\n\t}\n}")


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_origin_gets_the_client(caddis, scripted, version):
    seen = []

    def script(raw):
        seen.append(read_proxy_header(raw))
        while True:
            try:
                request = raw.read_request()
            except rawlib.Closed:
                return
            Response(body=request.target).send(raw, request.method)

    o = scripted(script)
    c = caddis(PROXY_SITE % (o.address, version))
    for _ in range(2):
        with c.connect() as connection:
            assert connection.get("/a").body == b"/a"
            assert connection.get("/b").body == b"/b"
            port = connection.sock.getsockname()[1]
        wanted = ["TCP4", "127.0.0.1", "127.0.0.1", str(port), str(c.http)]
        assert seen[-1] == wanted and seen[-2] == wanted
    assert o.connections == 4  # never shared


def test_proxy_header_goes_in_front_of_tls_to_the_origin(caddis, scripted, authority):
    cert, key = authority.issue("localhost")
    from lib.origin import server_context

    def script(raw):
        header = raw.sock.recv(28, socket.MSG_WAITALL)  # and nothing of the handshake
        assert header.startswith(SIGNATURE + b"\x21\x11\x00\x0c\x7f\x00\x00\x01")
        raw.sock = server_context(cert, key).wrap_socket(raw.sock, server_side=True)
        request = raw.read_request()
        Response(body="secret " + request.target, close=True).send(raw, request.method)

    o = scripted(script)
    c = caddis("http://localhost {\n\treverse_proxy https://%s {\n\t\ttransport http {\n"
               "\t\t\tproxy_protocol v2\n\t\t\ttls_insecure_skip_verify\n\t\t}\n\t}\n}" % o.address)
    assert c.get("/x").body == b"secret /x"


def test_client_of_a_proxy_in_front_reaches_the_origin(caddis, scripted):
    def script(raw):
        assert read_proxy_header(raw) == ["TCP4", "192.0.2.7", "198.51.100.2", "40000", "443"]
        request = raw.read_request()
        Response(body=request.get("X-Forwarded-For"), close=True).send(raw, request.method)

    o = scripted(script)
    c = caddis(PROXY_SITE % (o.address, "v1"), globals=fronted("allow 127.0.0.1"))
    with c.connect() as connection:
        connection.send(LINE + GET)
        assert connection.read_response().body == b"192.0.2.7"


@pytest.mark.parametrize("caddyfile, message", [
    ("{\nservers {\nlistener_wrappers {\ntls\nproxy_protocol\n}\n}\n}\nhttp://a {\n}",
     "stands in front of tls"),
    ("{\nservers {\nlistener_wrappers {\nproxy_protocol {\nallow 10.0.0.0/40\n}\n}\n}\n}\nhttp://a {\n}",
     "is no IP address or range"),
    ("{\nservers {\nlistener_wrappers {\nproxy_protocol {\nfallback_policy maybe\n}\n}\n}\n}\nhttp://a {\n}",
     "fallback_policy is ignore, use, reject, require or skip"),
    ("http://a {\nreverse_proxy b {\ntransport http {\nproxy_protocol v3\n}\n}\n}",
     "proxy_protocol is v1 or v2"),
    ("http://a {\nreverse_proxy b {\ntransport http {\nresolvers dns.google\n}\n}\n}",
     "is no name server's IP address"),
], ids=["order", "range", "policy", "version", "resolvers"])
def test_mistakes(folder, caddyfile, message):
    from lib.caddis import command

    file = folder / "Caddyfile"
    file.write_text(caddyfile)
    done = command("validate", "--config", file, folder=folder)
    assert done.returncode != 0
    assert message in done.stderr


# ---- names ----


@pytest.fixture
def names(cleanup):
    """names(records, ...): a running NameServer."""

    def make(records, **options):
        server = NameServer(records, **options)
        cleanup.add(server.finish)
        return server

    return make


class At:
    """An origin that says its address, on an address and a port that the test chooses."""

    def __init__(self, cleanup, address, port=0):
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self.address = address
        self.count = 0
        self.listener = socket.socket(family)
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind((address, port))
        self.listener.listen(64)
        self.port = self.listener.getsockname()[1]
        self.connections = []
        threading.Thread(target=self._accept, daemon=True).start()
        cleanup.add(self.stop)

    def _accept(self):
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            self.count += 1
            self.connections.append(sock)
            threading.Thread(target=self._serve, args=(rawlib.Raw(sock, None),),
                             daemon=True).start()

    def _serve(self, raw):
        try:
            while True:
                request = raw.read_request()
                Response(body=self.address).send(raw, request.method)
        except (AssertionError, OSError, ValueError):
            raw.close()

    def stop(self):
        for sock in [self.listener, *self.connections]:
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            sock.close()


def site(name, server, *more):
    return ("http://localhost {\n\treverse_proxy %s {\n\t\ttransport http {\n\t\t\tresolvers %s\n"
            "\t\t\t%s\n\t\t}\n\t}\n}" % (name, server.address, "\n\t\t\t".join(more)))


def test_origin_by_name(caddis, cleanup, names):
    o = At(cleanup, "127.0.0.2")
    server = names({("app.test", "A"): ["127.0.0.2"]})
    c = caddis(site(f"app.test:{o.port}", server))
    for _ in range(5):
        assert c.get().body == b"127.0.0.2"
    assert server.count("app.test") == 1  # kept


@pytest.mark.parametrize("keepalive", ["", "keepalive off"], ids=["kept", "fresh"])
def test_moved_container_is_followed_at_once(caddis, cleanup, names, keepalive):
    old = At(cleanup, "127.0.0.2")
    server = names({("app.test", "A"): ["127.0.0.2"]}, ttl=300)
    c = caddis(site(f"app.test:{old.port}", server, keepalive))
    assert c.get().body == b"127.0.0.2"
    time.sleep(1.1)  # an answer is asked again once a second at most
    old.stop()
    At(cleanup, "127.0.0.3", old.port)
    server.records[("app.test", "A")] = ["127.0.0.3"]
    assert c.get().body == b"127.0.0.3"  # the first request already
    assert c.get().body == b"127.0.0.3"


def test_moved_name_is_followed_within_its_ttl(caddis, cleanup, names, eventually):
    old = At(cleanup, "127.0.0.2")  # goes on answering
    At(cleanup, "127.0.0.3", old.port)
    server = names({("app.test", "A"): ["127.0.0.2"]}, ttl=1)
    c = caddis(site(f"app.test:{old.port}", server, "keepalive off"))
    assert c.get().body == b"127.0.0.2"
    server.records[("app.test", "A")] = ["127.0.0.3"]
    moved = time.monotonic()
    eventually(lambda: c.get().body == b"127.0.0.3", timeout=10)
    assert time.monotonic() - moved < 6


def test_name_servers_that_fail_do_not_stop_what_is_known(caddis, cleanup, names):
    o = At(cleanup, "127.0.0.2")
    server = names({("app.test", "A"): ["127.0.0.2"]}, ttl=1)
    c = caddis(site(f"app.test:{o.port}", server, "keepalive off"))
    assert c.get().body == b"127.0.0.2"
    server.records[("app.test", "A")] = server.records[("app.test", "AAAA")] = "servfail"
    time.sleep(2.5)  # past the TTL: asked, failed, the old answer serves
    assert c.get().body == b"127.0.0.2"


@pytest.mark.parametrize("how, status", [("servfail", 502), ("nxdomain", 502), ("silent", 504)])
def test_name_that_cannot_be_resolved(caddis, names, how, status):
    server = names({("app.test", "A"): how, ("app.test", "AAAA"): how})
    c = caddis(site("app.test:80", server, "dial_timeout 1s"))
    began = time.monotonic()
    assert c.get().status == status
    assert time.monotonic() - began < 8
    assert c.get().status == status  # and it lives


def test_answers_over_tcp(caddis, cleanup, names):
    o = At(cleanup, "127.0.0.2")
    server = names({("app.test", "A"): ["127.0.0.2"]}, truncate=True)
    c = caddis(site(f"app.test:{o.port}", server))
    assert c.get().body == b"127.0.0.2"
    assert ("app.test", "A", "tcp") in server.asked


def test_ipv6_that_does_not_answer(caddis, cleanup, names):
    o = At(cleanup, "127.0.0.2")
    # 2001:db8::/32 is nobody's: unreachable at once, or silence.
    server = names({("app.test", "A"): ["127.0.0.2"],
                    ("app.test", "AAAA"): ["2001:db8::1", "2001:db8::2"]})
    c = caddis(site(f"app.test:{o.port}", server))
    began = time.monotonic()
    assert c.get().body == b"127.0.0.2"
    assert time.monotonic() - began < 2.5  # dial_timeout is 3 s


def test_name_server_that_swallows_aaaa(caddis, cleanup, names):
    o = At(cleanup, "127.0.0.2")
    server = names({("app.test", "A"): ["127.0.0.2"], ("app.test", "AAAA"): "silent"})
    c = caddis(site(f"app.test:{o.port}", server))
    began = time.monotonic()
    assert c.get().body == b"127.0.0.2"
    assert time.monotonic() - began < 2.5


def test_localhost_needs_no_name_server(caddis, cleanup, names):
    o = At(cleanup, "127.0.0.1")
    server = names({})
    c = caddis(site(f"localhost:{o.port}", server))
    assert c.get().body == b"127.0.0.1"
    assert not server.asked


# ---- origins that are looked up ----


def dynamic(text, *more):
    return ("http://localhost {\n\treverse_proxy {\n\t\tdynamic %s\n\t\t%s\n\t}\n}"
            % (text, "\n\t\t".join(more)))


def bodies(c, n=30):
    return {c.get().body.decode() for _ in range(n)}


def test_dynamic_a(caddis, cleanup, names, eventually):
    port = At(cleanup, "127.0.0.2").port
    for address in ("127.0.0.3", "127.0.0.4", "::1"):
        At(cleanup, address, port)
    server = names({("app.test", "A"): ["127.0.0.2", "127.0.0.3"], ("app.test", "AAAA"): ["::1"]})
    c = caddis(dynamic(f"a app.test {port} {{\nresolvers {server.address}\nrefresh 1s\n}}",
                       "lb_policy round_robin"))
    assert bodies(c) == {"127.0.0.2", "127.0.0.3", "::1"}
    assert server.count("app.test") <= 3
    server.records[("app.test", "A")] = ["127.0.0.3", "127.0.0.4"]
    server.records[("app.test", "AAAA")] = []
    eventually(lambda: bodies(c, 8) == {"127.0.0.3", "127.0.0.4"})


def test_dynamic_a_in_a_block_with_versions(caddis, cleanup, names):
    port = At(cleanup, "127.0.0.2").port
    At(cleanup, "::1", port)
    server = names({("app.test", "A"): ["127.0.0.2"], ("app.test", "AAAA"): ["::1"]})
    c = caddis(dynamic(f"a {{\nname app.test\nport {port}\nversions ipv4\n"
                       f"resolvers {server.address}\n}}"))
    assert bodies(c, 10) == {"127.0.0.2"}


def test_dynamic_a_with_many_addresses(caddis, cleanup, names):
    addresses = [f"127.0.0.{n}" for n in range(2, 42)]
    port = At(cleanup, addresses[0]).port
    for address in addresses[1:]:
        At(cleanup, address, port)
    server = names({("app.test", "A"): addresses}, truncate=True)
    c = caddis(dynamic(f"a app.test {port} {{\nresolvers {server.address}\n}}",
                       "lb_policy round_robin"))
    assert bodies(c, 80) == set(addresses)


def test_dynamic_a_origin_that_goes(caddis, cleanup, names, eventually):
    """Its connections fail: the other one is tried, and the name is asked again before its time."""
    old = At(cleanup, "127.0.0.2")
    At(cleanup, "127.0.0.3", old.port)
    server = names({("app.test", "A"): ["127.0.0.2"]})
    c = caddis(dynamic(f"a app.test {old.port} {{\nresolvers {server.address}\nrefresh 1h\n}}",
                       "lb_try_duration 10s"))
    assert c.get().body == b"127.0.0.2"
    server.records[("app.test", "A")] = ["127.0.0.3"]
    old.stop()
    assert c.get().body == b"127.0.0.3"


def test_dynamic_srv(caddis, cleanup, names):
    first, second = At(cleanup, "127.0.0.2"), At(cleanup, "127.0.0.3")
    server = names({
        ("_http._tcp.app.test", "SRV"): [(1, 5, first.port, "one.localhost"),
                                        (2, 5, second.port, "two.localhost")]})
    first_port = At(cleanup, "127.0.0.1", first.port)
    second_port = At(cleanup, "127.0.0.1", second.port)
    c = caddis(dynamic(f"srv _http._tcp.app.test {{\nresolvers {server.address}\n}}",
                       "lb_policy round_robin"))
    for _ in range(10):
        assert c.get().body == b"127.0.0.1"
    assert first_port.count and second_port.count
    c.reload(dynamic(f"srv {{\nservice http\nproto tcp\nname app.test\n"
                     f"resolvers {server.address}\n}}", "lb_policy first"))
    before = second_port.count
    for _ in range(5):
        c.get()
    assert second_port.count == before  # by priority


def test_dynamic_falls_back_to_what_is_written(caddis, cleanup, names):
    written, found = At(cleanup, "127.0.0.2"), At(cleanup, "127.0.0.3")
    server = names({("app.test", "A"): "servfail", ("app.test", "AAAA"): "servfail"})
    c = caddis(dynamic(f"a app.test {found.port} {{\nresolvers {server.address}\n}}",
                       f"to 127.0.0.2:{written.port}"))
    assert c.get().body == b"127.0.0.2"
    server.records.clear()
    server.records[("app.test", "A")] = ["127.0.0.3"]
    time.sleep(1.2)  # a failure is remembered for a second
    assert c.get().body == b"127.0.0.3"


def test_dynamic_without_any_origin(caddis, names):
    server = names({})
    c = caddis(dynamic(f"a app.test 80 {{\nresolvers {server.address}\n}}"))
    assert c.get().status == 503
    assert c.get().status == 503


def test_dynamic_multi(caddis, cleanup, names):
    one, two = At(cleanup, "127.0.0.2"), At(cleanup, "127.0.0.1")
    server = names({("a.test", "A"): ["127.0.0.2"],
                    ("_x._tcp.b.test", "SRV"): [(1, 1, two.port, "localhost")]})
    c = caddis(dynamic(f"multi {{\na a.test {one.port} {{\nresolvers {server.address}\n}}\n"
                       f"srv _x._tcp.b.test {{\nresolvers {server.address}\n}}\n}}",
                       "lb_policy round_robin"))
    assert bodies(c, 10) == {"127.0.0.2", "127.0.0.1"}


def test_client_that_leaves_while_names_are_asked(caddis, cleanup, names, eventually):
    o = At(cleanup, "127.0.0.2")
    server = names({("app.test", "A"): "silent", ("app.test", "AAAA"): "silent"})
    c = caddis(dynamic(f"a app.test {o.port} {{\nresolvers {server.address}\n}}"))
    for _ in range(5):
        with c.connect() as connection:
            connection.send(GET)
            eventually(lambda: server.asked)
            connection.reset()
    c.reload(SITE % "127.0.0.1:1")  # nothing of the old configuration is touched when answers come
    time.sleep(3)
    assert c.get().status == 502


@pytest.mark.parametrize("text, message", [
    ("a app.test", "a name and a port"), ("srv", "needs a name"), ("b x", "is a, srv or multi"),
    ("multi", "needs a block"),
    ("a app.test 80 {\nversions ipv5\n}", "versions are ipv4 and ipv6"),
    ("srv {\nservice http\nname x\n}", "service and proto go together"),
])
def test_dynamic_mistakes(folder, text, message):
    from lib.caddis import command

    file = folder / "Caddyfile"
    file.write_text(dynamic(text))
    done = command("validate", "--config", file, folder=folder)
    assert done.returncode != 0
    assert message in done.stderr
