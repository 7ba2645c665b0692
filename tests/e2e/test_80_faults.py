"""Running out of things, and system calls that fail: answered, and recovered from."""

import os
import socket
import time

import pytest
from lib.origin import Response
from lib.raw import Closed

SAY = "http://localhost {\n\trespond hello\n}"


def ask(c, timeout=10.0):
    """One request; True if it was answered with 200."""
    try:
        with c.connect(timeout=timeout) as connection:
            return connection.get("/", [("Connection", "close")]).status == 200
    except (OSError, AssertionError):
        return False


def test_out_of_descriptors(plain, eventually):
    """Clients take all there are; when they go, everything is as before."""
    c = plain(SAY, nofile=96, args=["--workers", "2"])
    before = c.descriptors()
    for _ in range(3):
        clients = []
        for _ in range(200):
            try:
                clients.append(c.connect(timeout=2))
            except OSError:
                break
        time.sleep(0.3)
        assert c.process.poll() is None
        for client in clients:
            client.close()
        eventually(lambda: ask(c, 2), 15, "not served after descriptors were free again")
    eventually(lambda: c.descriptors() <= before + 4, 15, "descriptors were lost")


def test_out_of_descriptors_for_origins(plain, origin, eventually):
    """Clients fill the table, so that no origin can be dialled: 502 or 503, never a hang."""
    o = origin()
    c = plain(f"http://localhost {{\n\treverse_proxy {o.address}\n}}", nofile=64,
              args=["--workers", "1"])
    clients = []
    for _ in range(100):
        try:
            clients.append(c.connect(timeout=3))
        except OSError:
            break
    statuses = []
    for client in clients[:20]:
        try:
            statuses.append(client.get().status)
        except (AssertionError, OSError):
            statuses.append(None)
    assert set(statuses) <= {200, 502, 503, None}, statuses
    for client in clients:
        client.close()
    eventually(lambda: ask(c, 2), 15)


def test_it_does_not_spin_when_out_of_descriptors(plain):
    c = plain(SAY, nofile=64, args=["--workers", "1"])
    clients = []
    for _ in range(150):
        try:
            clients.append(c.connect(timeout=1))
        except OSError:
            break

    def ticks():
        total = 0
        for pid in c.processes():
            with open(f"/proc/{pid}/stat") as f:
                fields = f.read().rpartition(")")[2].split()
            total += int(fields[11]) + int(fields[12])
        return total

    before = ticks()
    time.sleep(1.5)
    spent = (ticks() - before) / os.sysconf("SC_CLK_TCK")
    for client in clients:
        client.close()
    assert spent < 0.5, f"{spent} s of CPU time in 1.5 s of doing nothing"


STRACE = ["strace", "-D", "-f", "-q", "-o", "/dev/null", "-e", "trace=accept,accept4"]


@pytest.mark.parametrize("errno", ["ECONNABORTED", "EPERM", "EINTR", "EPROTO", "ENETDOWN", "EINVAL",
                                   "EIO", "EOPNOTSUPP", "ETIMEDOUT"])
def test_accept_never_stops_for_good(plain, errno):
    """Every second accept fails, whatever with; every client is served all the same."""
    c = plain(SAY, wrap=[*STRACE, "-e", f"inject=accept,accept4:error={errno}:when=1+2"],
              env={"ASAN_OPTIONS": "detect_leaks=0"})
    assert all(ask(c) for _ in range(8))


@pytest.mark.parametrize("errno", ["EMFILE", "ENFILE", "ENOBUFS", "ENOMEM"])
def test_accept_recovers_from_want(plain, eventually, errno):
    """Clients may be turned away while there is nothing to serve them with; not afterwards."""
    c = plain(SAY, wrap=[*STRACE, "-e", f"inject=accept,accept4:error={errno}:when=1..20"],
              env={"ASAN_OPTIONS": "detect_leaks=0"}, args=["--workers", "1"])
    eventually(lambda: ask(c, 2), 30)
    for _ in range(20):  # the rest of the failing calls
        ask(c, 2)
    assert all(ask(c) for _ in range(8))


@pytest.mark.parametrize("call,errno", [
    ("epoll_wait,epoll_pwait", "EINTR"), ("read,readv,recvfrom,recvmsg", "EINTR"),
    ("write,writev,sendto,sendmsg", "EINTR"),
])
def test_interrupted_calls(plain, origin, call, errno):
    o = origin(lambda r: Response(body=r.body))
    c = plain(f"http://localhost {{\n\treverse_proxy {o.address}\n}}",
              wrap=["strace", "-D", "-f", "-q", "-o", "/dev/null", "-e", f"trace={call}", "-e",
                    f"inject={call}:error={errno}:when=200+5"],
              env={"ASAN_OPTIONS": "detect_leaks=0"})
    for _ in range(10):
        with c.connect() as connection:
            assert connection.request("POST", "/", body=b"x" * 50000).body == b"x" * 50000


def test_socket_calls_that_fail_cost_one_request(plain, origin):
    o = origin(lambda r: Response(body="x", close=True))
    c = plain(f"http://localhost {{\n\treverse_proxy {o.address}\n}}",
              wrap=["strace", "-D", "-f", "-q", "-o", "/dev/null", "-e", "trace=connect", "-e",
                    "inject=connect:error=EADDRNOTAVAIL:when=3+3"],
              env={"ASAN_OPTIONS": "detect_leaks=0"})
    statuses = [c.get().status for _ in range(12)]
    assert set(statuses) <= {200, 502, 503} and statuses.count(200) >= 6, statuses


def test_clients_that_vanish(caddis, origin, eventually):
    """At each point of a request; nothing may be left behind."""
    o = origin(lambda r: Response(body=b"x" * 300000))
    c = caddis(f"http://localhost {{\n\treverse_proxy {o.address}\n}}", args=["--workers", "1"])
    assert ask(c)
    o.closing = True  # from now on it sees requests that are cut off, as it must
    before = c.descriptors()
    whole = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n0123456789"
    for n in (0, 1, 20, 40, len(whole) - 10, len(whole) - 5, len(whole)):
        for how in ("close", "reset"):
            connection = c.connect()
            try:
                connection.send(whole[:n])
                if n == len(whole):
                    connection.recv_until(b"\r\n\r\n")
            except Closed:
                pass
            getattr(connection, how)()
    assert ask(c)
    eventually(lambda: c.descriptors() <= before + 3, 15, "descriptors were lost")


def test_thousand_idle_connections_cost_little(plain):
    c = plain(SAY, args=["--workers", "1"])
    warm = [c.connect() for _ in range(50)]
    for connection in warm:
        connection.get()
    before = c.memory()
    clients = [c.connect() for _ in range(1000)]
    for client in clients:
        assert client.get().body == b"hello"
    time.sleep(0.3)
    assert (c.memory() - before) / 1000 < 4096
    for client in [*clients, *warm]:
        client.close()


def test_full_backlog_is_served_in_the_end(caddis):
    c = caddis(SAY)
    clients = []
    for _ in range(300):
        s = socket.socket()
        s.setblocking(False)
        try:
            s.connect(("127.0.0.1", c.http))
        except BlockingIOError:
            pass
        clients.append(s)
    time.sleep(0.2)
    for s in clients:
        s.setblocking(True)
        s.settimeout(10)
        s.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    for s in clients:
        assert s.recv(100).startswith(b"HTTP/1.1 200")
        s.close()


def test_log_that_cannot_be_written(caddis):
    """A full disk under the access log does not stop requests."""
    c = caddis("http://localhost {\n\tlog {\n\t\toutput file /dev/full\n\t}\n\trespond hello\n}")
    for _ in range(20):
        assert ask(c)
