"""Where and how it listens: bind (addresses, names, interfaces, Unix sockets), default_bind, and the
global option servers for one address or all; deadlines of bodies and responses."""

import os
import socket
import ssl
import stat
import threading
import time

import pytest
from lib.caddis import command
from lib.origin import Response
from lib.ports import free_port
from lib.raw import Closed, Raw, tls_context
from lib.raw import connect as raw_connect


def at_path(path):
    s = socket.socket(socket.AF_UNIX)
    s.connect(str(path))
    return Raw(s)


# ---- bind ----


def test_unix_socket(caddis, folder, origin):
    o = origin()
    path = folder / "site.sock"
    text = "http://one.test {\n\tbind unix/%s%s\n\treverse_proxy " + o.address + "\n}\n" \
           "http://two.test:81 {\n\tbind unix/%s%s\n\trespond two\n}"
    c = caddis(text % (path, "", path, ""), args=["--workers", "3"])
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o200
    for _ in range(6):  # whichever worker takes it
        with at_path(path) as connection:
            assert connection.get("/a", host="one.test").status == 200
            assert connection.get(host="two.test").body == b"two"
    assert not o.last.all("X-Forwarded-For")
    inode = os.stat(path).st_ino
    c.reload(text % (path, "|0222", path, "|0222"))  # the same socket, for more people
    assert os.stat(path).st_ino == inode
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o222
    with at_path(path) as connection:
        assert connection.get(host="two.test").body == b"two"
    c.reload("http://localhost {\n\trespond ok\n}")
    assert not path.exists()


def test_unix_socket_with_trusted_proxies(caddis, folder, origin):
    o = origin()
    path = folder / "s"
    c = caddis(f"http:// {{\n\tbind unix/{path}\n\treverse_proxy {o.address} {{\n"
               "\t\theader_up X-Client {client_ip}\n\t}\n}",
               globals=f"servers unix/{path} {{\n\ttrusted_proxies_unix\n}}")
    c.wait_log("serving")
    with at_path(path) as connection:
        connection.get(fields=[("X-Forwarded-For", "203.0.113.5")])
    assert o.last.get("X-Client") == "203.0.113.5"
    assert o.last.get("X-Forwarded-For") == "203.0.113.5"


def test_unix_socket_over_tls(caddis, folder):
    path = folder / "tls.sock"
    c = caddis(f"a.localhost {{\n\tbind unix/{path}\n\ttls internal\n\trespond tls\n}}")
    c.wait_log("local certificate issued")
    context = ssl.create_default_context(cafile=c.wait_root())
    s = socket.socket(socket.AF_UNIX)
    s.connect(str(path))
    with Raw(context.wrap_socket(s, server_hostname="a.localhost")) as connection:
        assert connection.get(host="a.localhost").body == b"tls"


def test_names_interfaces_and_several_binds(caddis):
    c = caddis("http://a.test {\n\tbind 127.0.0.2\n\tbind 127.0.0.3 [::1]\n\trespond {local_ip}\n}\n"
               "http://b.test {\n\tbind localhost\n\trespond name\n}")
    for address in ("127.0.0.2", "127.0.0.3", "::1"):
        with raw_connect(c.http, address=address) as connection:
            assert connection.get(host="a.test").status == 200
    with raw_connect(c.http, address="127.0.0.1") as connection:
        assert connection.get(host="b.test").body == b"name"
    with raw_connect(c.http, address="127.0.0.2") as connection:
        assert connection.get(host="b.test").body != b"name"
    c.reload("http://a.test {\n\tbind lo\n\trespond lo\n}")
    for address in ("127.0.0.1", "::1"):
        with raw_connect(c.http, address=address) as connection:
            assert connection.get(host="a.test").body == b"lo"


def test_bind_with_protocols(caddis):
    c = caddis("a.localhost {\n\tbind 127.0.0.1\n\tbind 127.0.0.2 {\n\t\tprotocols h1\n\t}\n"
               "\ttls internal\n\trespond {proto}\n}")
    c.wait_log("local certificate issued")
    for address, alpn in (("127.0.0.1", "h2"), ("127.0.0.2", "http/1.1")):
        context = tls_context(c.wait_root(), alpn=("h2", "http/1.1"))
        with socket.create_connection((address, c.https)) as s:
            with context.wrap_socket(s, server_hostname="a.localhost") as t:
                assert t.selected_alpn_protocol() == alpn


@pytest.mark.parametrize("line, word", [
    ("bind unix/relative", "is no Unix socket"), ("bind unix//a|9", "is no mode"),
    ("bind no-such-host.invalid", "no address to listen on"), ("bind 127.0.0.1:80", "belongs to"),
    ("bind fd/3", "TCP and on Unix sockets"), ("bind udp/127.0.0.1", "TCP and on Unix sockets"),
    ("bind 127.0.0.1 {\nprotocols h9\n}", "protocols are"), ("bind", "needs an address"),
])
def test_bind_mistakes(folder, line, word):
    file = folder / "Caddyfile"
    file.write_text("http://a.test {\n" + line + "\n}\n")
    done = command("validate", "--config", file, folder=folder)
    assert done.returncode == 1
    assert word in done.stderr


# ---- servers ADDRESS ----


def test_servers_for_an_address(caddis, origin):
    """What is written for a listener holds for it alone, and takes the place of what is for all."""
    o = origin()
    port = free_port()
    c = caddis("http://a.test, http://a.test:%d {\n\treverse_proxy %s {\n"
               "\t\theader_up X-Client {client_ip}\n\t}\n}" % (port, o.address),
               globals="servers {\n\tmax_request_body 10\n}\n"
                       "servers :%d {\n\ttrusted_proxies static 127.0.0.0/8\n}" % port)
    fields = [("X-Forwarded-For", "203.0.113.5")]
    body = b"x" * 20
    with raw_connect(c.http) as connection:
        assert connection.request("POST", "/", fields, host="a.test", body=body).status == 413
    with raw_connect(c.http) as connection:
        connection.get("/", fields, host="a.test")
        assert o.last.get("X-Client") == "127.0.0.1"
    with raw_connect(port) as connection:
        assert connection.request("POST", "/", fields, host="a.test", body=body).status == 200
        assert o.last.get("X-Client") == "203.0.113.5"


def test_servers_protocols_for_an_address(caddis):
    port = free_port()
    c = caddis("a.localhost, a.localhost:%d {\n\ttls internal {\n\t\tprotocols tls1.3\n\t}\n"
               "\trespond x\n}" % port,
               globals="servers :%d {\n\tprotocols h1\n\tkeepalive_idle 20s\n\tkeepalive_count 3\n"
                       "\tkeepalive_interval 5s\n\tname main\n\tenable_full_duplex\n\t0rtt off\n}"
                       % port)
    c.wait_log("local certificate issued")
    context = tls_context(c.wait_root(), alpn=("h2", "http/1.1"))
    for at, alpn in ((c.https, "h2"), (port, "http/1.1")):
        with socket.create_connection(("127.0.0.1", at)) as s:
            with context.wrap_socket(s, server_hostname="a.localhost") as t:
                assert t.selected_alpn_protocol() == alpn


def test_servers_for_nobody_and_twice(folder):
    file = folder / "Caddyfile"
    file.write_text("{\nservers :9 {\nprotocols h1\n}\nservers 1.2.3.4:80 {\n}\n"
                    "servers 1.2.3.4:80 {\n}\nservers what {\n}\nservers :80 {\nmax_connections 5\n}\n"
                    "}\nhttp://a.test {\n}\n")
    done = command("validate", "--config", file, folder=folder)
    assert done.returncode == 1
    for word in ("there already", "no listener's address", "for all listeners together"):
        assert word in done.stderr
    file.write_text("{\nservers :9 {\nprotocols h1\n}\n}\nhttp://a.test {\n}\n")
    done = command("validate", "--config", file, folder=folder)
    assert done.returncode == 0
    assert "nothing listens" in done.stderr


def test_log_credentials(caddis, folder, eventually):
    port = free_port()
    log = folder / "access.log"
    c = caddis(f"http://a.test, http://a.test:{port} {{\n\tlog {{\n\t\toutput file {log}\n\t}}\n}}",
               globals=f"servers :{port} {{\n\tlog_credentials\n}}")
    for at in (c.http, port):
        with raw_connect(at) as connection:
            connection.get("/", [("Authorization", "Basic abc"), ("Cookie", "a=b")], host="a.test")
    eventually(lambda: log.exists() and log.read_text().count("\n") == 2)
    first, second = sorted(log.read_text().splitlines(), key=lambda line: "abc" in line)
    assert first.count("REDACTED") == 2 and "abc" not in first
    assert "Basic abc" in second and "a=b" in second


# ---- deadlines ----


@pytest.mark.parametrize("options, site", [
    ("timeouts {\nread_body 1s\n}", ""), ("", "request_body {\nread_timeout 1s\n}"),
])
def test_a_body_has_its_time(caddis, origin, eventually, options, site):
    """Bytes that go on coming are no excuse."""
    o = origin()
    c = caddis("http://localhost {\n%s\n\treverse_proxy %s\n}" % (site, o.address),
               globals="servers {\n%s\n}" % options)
    with c.connect() as connection:
        assert connection.request("POST", "/", body=b"in time").status == 200
        assert connection.get().status == 200
        connection.send("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n")
        stop = threading.Event()

        def drip():
            while not stop.wait(0.1):
                try:
                    connection.sock.sendall(b"x")
                except OSError:
                    return

        t = threading.Thread(target=drip)
        t.start()
        try:
            assert connection.read_response().status == 408
        finally:
            stop.set()
            t.join()
    eventually(lambda: o.errors)
    o.errors.clear()  # of the request that was broken off


@pytest.mark.parametrize("options, site", [
    ("timeouts {\nwrite 1s\n}", ""), ("", "request_body {\nwrite_timeout 1s\n}"),
])
def test_a_response_has_its_time(caddis, scripted, options, site):
    def slowly(raw):
        raw.read_request()
        raw.send("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        try:
            for _ in range(300):
                raw.send("x")
                time.sleep(0.1)
        except (Closed, OSError):
            pass

    o = scripted(slowly)
    c = caddis("http://localhost {\n%s\n\treverse_proxy %s\n}" % (site, o.address),
               globals="servers {\n%s\n}" % options)
    with c.connect() as connection:
        with pytest.raises((Closed, OSError, AssertionError)):
            connection.get()


def test_request_body_set(caddis, origin):
    o = origin(lambda r: Response(body=r.body))
    c = caddis("http://localhost {\n\trequest_body {\n\t\tset \"{method} {query.a}\"\n\t}\n"
               "\trequest_body /twice {\n\t\tset again\n\t}\n"
               f"\treverse_proxy {o.address}\n}}")
    with c.connect() as connection:
        for _ in range(2):
            answer = connection.request("POST", "/?a=1", body=b"x" * 100000)
            assert answer.body == b"POST 1"
            assert o.last.get("Content-Length") == "6"
            answer = connection.request("POST", "/?a=2", [("Transfer-Encoding", "chunked")],
                                        read=False)
            connection.send("5\r\nhello\r\n0\r\n\r\n")
            assert connection.read_response().body == b"POST 2"
            assert connection.get("/?a=3").body == b"GET 3"
    assert c.get("/twice").body in (b"again", b"GET ")
