"""Origins that are made from requests: placeholders in reverse_proxy's addresses, in `dynamic` and
in tls_server_name."""

import socket
import threading

import pytest
from lib.caddis import command
from lib.origin import Origin, Response, server_context


def site(address, *lines, before=""):
    return ("http://localhost, http://*.example.test {\n%s\n\treverse_proxy %s {\n%s\n\t}\n}"
            % (before, address, "\n".join(lines)))


def test_the_port_the_host_and_both(caddis, origin):
    a, b = (origin(lambda r, n=n: Response(body=n)) for n in (b"a", b"b"))
    c = caddis("http://*.example.test {\n"
               "\treverse_proxy /port 127.0.0.1:{header.X-To}\n"
               f"\treverse_proxy /host {{header.X-To}}:{a.port}\n"
               "\treverse_proxy {header.X-To}\n}")

    def ask(target, to):
        return c.get(target, host="x.example.test", fields=[("X-To", to)])

    for one, body in ((a, b"a"), (b, b"b"), (a, b"a")):
        assert ask("/port", str(one.port)).body == body
        assert ask("/", one.address).body == body
        assert one.last.get("Host") == "x.example.test"
    assert ask("/host", "localhost").body == b"a"
    assert ask("/host", "127.0.0.1").body == b"a"
    assert a.connections <= 3 * 2  # an origin that is known already keeps its connections


def test_labels_and_map(caddis, origin):
    a, b = (origin(lambda r, n=n: Response(body=n)) for n in (b"a", b"b"))
    c = caddis("http://*.example.test {\n\tmap {labels.2} {backend} {\n"
               f"\t\tone {a.address}\n\t\ttwo {b.address}\n\t\tdefault nowhere\n\t}}\n"
               "\treverse_proxy {backend}\n}")
    assert c.get(host="one.example.test").body == b"a"
    assert c.get(host="two.example.test").body == b"b"


@pytest.mark.parametrize("value", ["", "evil:22", "a/b", "a@127.0.0.1", "unix//run/x", "-a", "::1",
                                   "127.0.0.1:1 x", "http://127.0.0.1", "a%2eb", "[::1%25lo]"])
def test_what_is_no_address_is_refused(caddis, origin, value):
    o = origin()
    c = caddis(site(f"{{header.X-To}}:{o.port}"))
    answer = c.get(fields=[("X-To", value)])
    assert answer.status == 502
    c.wait_log("placeholders give no address")
    assert not o.requests


def test_beside_others_and_health(caddis, origin):
    """One that comes to nothing is left out; one that cannot be reached is not asked again."""
    o = origin(lambda r: Response(body=b"static"))
    c = caddis(site(f"{{header.X-To}} {o.address}", "lb_policy first", "fail_duration 1m",
                    "lb_try_duration 5s", "header_down X-From {rp.upstream.hostport}"))
    assert c.get().body == b"static"
    for _ in range(3):
        answer = c.get(fields=[("X-To", "127.0.0.1:9")])
        assert answer.body == b"static"
        assert answer.get("X-From") == o.address


def test_a_retry_goes_to_the_same(caddis, cleanup, origin):
    late = socket.socket()
    late.bind(("127.0.0.1", 0))
    port = late.getsockname()[1]
    c = caddis(site("{header.X-To}", "lb_try_duration 30s", "lb_try_interval 50ms"))
    got = []
    t = threading.Thread(target=lambda: got.append(
        c.get(fields=[("X-To", f"127.0.0.1:{port}")]).body))
    t.start()
    c.wait_log("serving")
    late.listen()
    peer, _ = late.accept()
    peer.recv(4096)
    peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
    t.join(30)
    assert got == [b"ok"]
    peer.close()
    late.close()


def test_unix_socket(caddis, folder):
    path = folder / "one.sock"
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()

    def serve():
        while True:
            try:
                peer, _ = listener.accept()
            except OSError:
                return
            peer.recv(4096)
            peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nConnection: close\r\n\r\nu")
            peer.close()

    threading.Thread(target=serve, daemon=True).start()
    c = caddis(site(f"unix/{folder}/{{header.X-To}}.sock"))
    assert c.get(fields=[("X-To", "one")]).body == b"u"
    assert c.get(fields=[("X-To", "../x/one")]).status == 502
    listener.close()


def test_tls_to_a_name_of_the_request(caddis, cleanup, authority):
    asked = []
    context = server_context(*authority.issue("a.example.test"))
    context.sni_callback = lambda s, name, c: asked.append(name)
    o = Origin(tls=context)
    cleanup.add(o.finish)
    c = caddis(site(f"127.0.0.1:{o.port}", "transport http {", "tls",
                    f"tls_trust_pool file {authority.path}", "tls_server_name {http.request.host}",
                    "}", "header_up Host {host}"))
    assert c.get(host="a.example.test").status == 200
    assert asked == ["a.example.test"]
    assert c.get(host="b.example.test").status == 502  # the certificate is not for it
    assert asked[-1] == "b.example.test"
    o.errors.clear()  # of the handshake that caddis gave up


def test_names_without_end(caddis, origin):
    """Who invents names pushes out other names, and nothing else."""
    o = origin()
    c = caddis(site("{header.X-To}"))
    assert c.get(fields=[("X-To", o.address)]).status == 200
    with c.connect() as connection:
        for n in range(1100):
            answer = connection.get("/", fields=[("X-To", f"127.0.{n // 250}.{n % 250 + 1}:9")])
            assert answer.status == 502
    assert c.get(fields=[("X-To", o.address)]).status == 200


@pytest.mark.parametrize("address, word", [
    ("https://{host}", "no scheme"), ("a{}:1", "is no origin"),
    ("{rp.upstream.host}:1", "cannot depend"), ("unix+h2c/{host}", "takes no placeholders"),
])
def test_refused(folder, address, word):
    file = folder / "Caddyfile"
    file.write_text(site(address))
    done = command("validate", "--config", file, folder=folder)
    assert done.returncode == 1
    assert word in done.stderr


def test_active_checks_are_warned_of(caddis, origin):
    o = origin()
    c = caddis(site(f"{{header.X-To}} {o.address}", "health_uri /", "lb_policy first"))
    c.wait_log("do not reach an origin")
    assert c.get(fields=[("X-To", o.address)]).status == 200
