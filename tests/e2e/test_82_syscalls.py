"""System calls that fail, one kind after the other, while requests of every sort are under way:
strace is put upon the server process and lets every third or so call of a kind fail. Requests may
fail meanwhile. Afterwards the same process must serve everything as before, with no descriptor lost.

One caddis serves all cases; the first that kills it fails, and the next gets a new one.
"""

import contextlib
import os
import pathlib
import re
import signal
import subprocess
import threading
import time

import pytest
from lib.caddis import BIN, PLAIN_BIN, Caddis
from lib.frames import Frames
from lib.origin import Origin, Response
from lib.ports import free_port

# Every other reload brings a listener and a name that needs a certificate, or takes them away.
MORE = """
http://localhost:%d {
	respond more
}
https://n%d.localhost {
	respond more
}"""
# As little as possible is kept by malloc, so that memory comes from the system again and again.
TUNABLES = ("glibc.malloc.mmap_threshold=4096:glibc.malloc.trim_threshold=4096:"
            "glibc.malloc.top_pad=0:glibc.malloc.mmap_max=1000000")
SITE = """localhost, http://localhost {
	log {
		output file %s/access.log
	}
	reverse_proxy %s {
		lb_try_duration 100ms
		transport http {
			dial_timeout 2s
			keepalive 1s
		}
	}
}"""
SOME = "2+3"  # the second call and every third behind it

# Calls, errno, which of them (strace's `when`). Left out is what the kernel never does: brk and the
# waking futex do not fail, and what glibc does then is its own affair; nor does the other end of
# the socket between the two processes vanish (sendmsg with EPIPE) while both live.
CASES = [
    ("accept4", "EMFILE", SOME), ("accept4", "ENOMEM", SOME), ("accept4", "ECONNABORTED", SOME),
    ("socket", "EMFILE", SOME), ("socket", "ENOBUFS", SOME),
    ("connect", "EADDRNOTAVAIL", SOME), ("connect", "ENETUNREACH", SOME), ("connect", "EAGAIN", SOME),
    ("epoll_ctl", "ENOMEM", SOME), ("epoll_ctl", "ENOSPC", SOME),
    ("epoll_wait,epoll_pwait", "EINTR", SOME),
    ("mmap,mremap", "ENOMEM", "1+2"), ("mprotect,madvise,munmap", "ENOMEM", SOME),
    ("write,writev,sendmsg,sendto", "EINTR", SOME),
    ("writev,sendmsg,sendto", "ENOBUFS", SOME), ("writev,sendmsg,sendto", "ENOMEM", SOME),
    ("writev,sendmsg,sendto", "EAGAIN", SOME), ("writev,sendto", "EPIPE", SOME),
    ("read,readv,recvfrom,recvmsg", "EINTR", SOME), ("recvfrom,recvmsg,readv", "ENOMEM", SOME),
    ("recvfrom,recvmsg,readv", "EAGAIN", SOME), ("recvfrom,readv", "ECONNRESET", SOME),
    ("openat,open", "EMFILE", SOME), ("openat,open", "ENOMEM", SOME), ("openat,open", "EIO", SOME),
        ("eventfd2,eventfd", "EMFILE", "1+2"),
    ("fsync,fdatasync", "EIO", "1+2"), ("fsync,fdatasync", "ENOSPC", "1+2"),
    ("rename,renameat,renameat2,link,linkat", "ENOSPC", "1+2"),
    ("mkdir,mkdirat,unlink,unlinkat", "EIO", "1+2"),
    ("setsockopt,getsockopt", "ENOBUFS", SOME), ("getsockname,getpeername", "ENOBUFS", SOME),
    ("fcntl", "EINVAL", SOME),
    ("stat,lstat,fstat,newfstatat,statx", "EIO", SOME),
]
# These come now and then (a reload that needs a certificate), so none may be among them.
RARE = {"eventfd2", "fsync", "rename", "mkdir", "stat"}
LOG_ERRNOS = ["ENOSPC", "EIO", "EAGAIN"]


def answer(request):
    if request.target == "/large":
        return Response(body=b"x" * 600_000)
    return Response(body=request.body or b"hello", close=request.target == "/close")


class Server:
    """caddis, its origin, and an origin that keeps what was upgraded and echoes."""

    def __init__(self):
        self.origin = Origin(answer)
        self.origin.closing = True  # it sees requests that are cut off
        binary = PLAIN_BIN if PLAIN_BIN.exists() else BIN
        self.c = Caddis("", start=False, binary=binary, globals="local_certs",
                        args=["--workers", "2"], env={"ASAN_OPTIONS": "detect_leaks=0",
                                                        "GLIBC_TUNABLES": TUNABLES})
        self.more_port = free_port()
        self.reloads = 0
        self.site = SITE % (self.c.folder, self.origin.address)
        self.c.write(self.site)
        self.c.start()
        self.c.wait_certificate()
        self.root = self.c.root.read_text()
        self.pid = (self.c.children() or [self.c.pid])[-1]
        self.all()  # what the first requests open for good is not counted as lost

    def alive(self):
        return self.c.process.poll() is None and self.pid in self.c.processes()

    def end(self):
        try:
            self.c.stop()
        finally:
            self.c.clean()
            self.origin.finish()

    # Every sort of request; each raises where it is not answered as it must be.

    def small(self, timeout):
        with self.c.connect(timeout=timeout) as connection:
            for path in ("/", "/close", "/close", "/"):
                assert connection.get(path).body == b"hello"

    def upload(self, timeout):
        with self.c.connect(timeout=timeout) as connection:
            assert connection.request("POST", body=b"u" * 300_000).body == b"u" * 300_000

    def download(self, timeout):
        with self.c.connect(timeout=timeout) as connection:
            assert len(connection.get("/large").body) == 600_000

    def tls(self, timeout):
        with self.c.connect_tls(timeout=timeout, cadata=self.root) as connection:
            assert connection.get().body == b"hello"

    def http2(self, timeout):
        with self.c.connect_tls(timeout=timeout, cadata=self.root, alpn=("h2",)) as connection:
            f = Frames(connection, scheme="https")
            assert f.get().body == b"hello" and len(f.get("/large").body) == 600_000

    def reload(self, _):
        self.reloads += 1
        self.c.write(self.site + (MORE % (self.more_port, self.reloads) if self.reloads % 2 else ""))
        done = self.c.command("reload", "--config", self.c.file, timeout=30)
        assert done.returncode == 0, done.stderr

    def all(self, timeout=15):
        self.reloads |= 1  # so that this one goes back to the site alone
        for sort in (self.reload, self.small, self.upload, self.download, self.tls, self.http2):
            sort(timeout)


@pytest.fixture(scope="module")
def shared():
    servers = []

    def get():
        if not servers or not servers[-1].alive():
            servers.append(Server())
        return servers[-1]

    yield get
    for s in servers:
        if s.alive():
            s.end()
        else:
            s.c._ended()
            s.c.clean()


@contextlib.contextmanager
def injected(server, *filters):
    """strace on all threads of the server while the block runs; yields the file of its trace."""
    trace = server.c.folder / "trace"
    trace.unlink(missing_ok=True)
    tracer = subprocess.Popen(["strace", "-f", "-q", "-o", str(trace), *filters, "-p",
                               str(server.pid)], stderr=subprocess.PIPE, text=True)
    try:
        end = time.monotonic() + 20
        tasks = pathlib.Path(f"/proc/{server.pid}/task")
        while any(re.search(r"TracerPid:\s0\b", (t / "status").read_text())
                  for t in tasks.iterdir()):
            assert tracer.poll() is None, tracer.stderr.read()
            assert time.monotonic() < end, "strace did not attach"
            time.sleep(0.01)
        yield trace
    finally:
        tracer.send_signal(signal.SIGINT)
        tracer.wait(20)
        tracer.stderr.close()


def load(server):
    """All sorts at once, twice; whether they succeed does not matter here."""
    def run(sort):
        for _ in range(2):
            with contextlib.suppress(OSError, AssertionError, ValueError, KeyError, IndexError,
                                     subprocess.TimeoutExpired):
                sort(0.5)

    sorts = (server.small, server.upload, server.download, server.tls, server.http2, server.reload)
    threads = [threading.Thread(target=run, args=(s,)) for s in sorts]
    for t in threads:
        t.start()
    for t in threads:
        t.join(60)
        assert not t.is_alive()


def check_afterwards(server, before, eventually):
    assert server.alive(), server.c.log()[-3000:]

    def served():
        try:
            server.all()
        except (OSError, AssertionError):
            assert server.alive(), server.c.log()[-3000:]
            return False
        return True

    eventually(served, 40, "not served afterwards")
    eventually(lambda: server.c.descriptors() <= before + 4, 30, "descriptors were lost")


@pytest.mark.parametrize("calls,errno,when", CASES, ids=[f"{c.split(',')[0]}-{e}" for c, e, _ in CASES])
def test_call_that_fails(shared, eventually, calls, errno, when):
    server = shared()
    before = server.c.descriptors()
    # A call that this machine does not have (open on arm64) is left out.
    names = ",".join("?" + name for name in calls.split(","))
    with injected(server, "-e", f"trace={names}", "-e",
                  f"inject={names}:error={errno}:when={when}") as trace:
        load(server)
    assert "(INJECTED)" in trace.read_text() or calls.split(",")[0] in RARE
    check_afterwards(server, before, eventually)


@pytest.mark.parametrize("errno", LOG_ERRNOS)
def test_log_that_cannot_be_written_for_a_while(shared, eventually, errno):
    """A full disk under the access log: requests go on, and so does the log when there is room."""
    server = shared()
    before = server.c.descriptors()
    path = server.c.folder / "access.log"
    with injected(server, "-P", str(path), "-e", "trace=write,writev", "-e",
                  f"inject=write,writev:error={errno}"):
        server.small(10)
        server.tls(10)
    check_afterwards(server, before, eventually)
    mark = f"/after-{errno}"
    assert server.c.get(mark).status == 200
    eventually(lambda: mark in path.read_text(), 20)


def test_stopped_and_continued(shared, eventually):
    """What waits in the kernel is interrupted; nothing else may come of it."""
    server = shared()
    before = server.c.descriptors()
    done = threading.Event()

    def disturb():
        while not done.wait(0.005):
            os.kill(server.pid, signal.SIGSTOP)
            os.kill(server.pid, signal.SIGCONT)

    thread = threading.Thread(target=disturb)
    thread.start()
    try:
        server.all(60)
    finally:
        done.set()
        thread.join()
    check_afterwards(server, before, eventually)


@pytest.mark.parametrize("calls,errno", [
    ("clone3,clone", "EAGAIN"), ("eventfd2,eventfd", "EMFILE"), ("epoll_create1", "EMFILE"),
    ("socketpair", "EMFILE"), ("bind", "EADDRINUSE"), ("listen", "EADDRINUSE"),
    ("socket", "ENFILE"), ("pipe2", "EMFILE"), ("fsync,fdatasync", "EIO"), ("signalfd4", "EMFILE"),
])
def test_start_without(caddis, calls, errno):
    """What cannot be had at the start: it serves, or it ends with a reason; it does not hang and
    does not crash."""
    names = ",".join("?" + name for name in calls.split(","))
    c = caddis("http://localhost {\n\trespond hello\n}", start=False,
               binary=PLAIN_BIN if PLAIN_BIN.exists() else BIN,
               wrap=["strace", "-D", "-f", "-q", "-o", "/dev/null", "-e", f"trace={names}", "-e",
                     f"inject={names}:error={errno}"], env={"ASAN_OPTIONS": "detect_leaks=0"})
    c.start(wait=False)
    try:
        c.wait_notified("READY=1")
        assert c.get().body == b"hello"
    except AssertionError:
        assert c.wait(20) == 1, c.log()
        assert "caddis:" in c.log() or "error:" in c.log(), c.log()
