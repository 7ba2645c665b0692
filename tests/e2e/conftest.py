"""Fixtures of the end-to-end tests. What a fixture makes, it takes down when the test ends, and
whatever went wrong down there (a script's assertion, a sanitizer's report, an exit status) fails
the test."""

import pathlib
import shutil
import signal
import sys
import tempfile
import time

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))

from again import GRAVE  # noqa: E402
from lib.bind import Bind  # noqa: E402
from lib.caddis import BIN, PLAIN_BIN, Caddis  # noqa: E402
from lib.certs import Authority  # noqa: E402
from lib.origin import Origin, Scripted, hello  # noqa: E402
from lib.pebble import SITE, Pebble  # noqa: E402
from lib.ports import free_port  # noqa: E402
from lib.redis import Redis  # noqa: E402

TEST_TIMEOUT = 150  # seconds; a test that hangs is a failed test, not a hung run


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_call(item):
    def expired(*_):
        raise TimeoutError(f"{item.nodeid} took more than {TEST_TIMEOUT} s")

    old = signal.signal(signal.SIGALRM, expired)
    signal.alarm(TEST_TIMEOUT)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, old)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    if call.when == "call":
        item.failed = outcome.get_result().failed


class Cleanup:
    """Runs every step, then raises the first thing that one of them raised."""

    def __init__(self, request):
        self.request = request
        self.steps = []

    def add(self, step):
        self.steps.append(step)

    def run(self):
        first = None
        for step in reversed(self.steps):
            try:
                step()
            except Exception as e:  # noqa: BLE001: raised below
                first = first or e
        # When the test has failed already its own error is the one to read, but for what may be
        # the reason of it.
        grave = any(word in str(first) for word in GRAVE)
        if first and (grave or not getattr(self.request.node, "failed", False)):
            raise first


@pytest.fixture
def cleanup(request):
    c = Cleanup(request)
    yield c
    c.run()


@pytest.fixture
def caddis(request, cleanup):
    """caddis(caddyfile, **options): a running Caddis."""

    def make(caddyfile, **options):
        start = options.pop("start", True)
        c = Caddis(caddyfile, start=False, **options)

        def end():
            try:
                if c.process:
                    c.stop()
                    c.check_reports()
            finally:
                if getattr(request.node, "failed", False):
                    print(f"---- {c.file}\n{c.file.read_text()}\n---- log\n{c.log()[-20000:]}")
                c.clean()

        cleanup.add(end)
        if start:
            c.start()
        return c

    return make


@pytest.fixture
def plain(caddis):
    """The same with the binary that has no sanitizers."""
    return lambda caddyfile, **options: caddis(
        caddyfile, binary=PLAIN_BIN if PLAIN_BIN.exists() else BIN, **options
    )


@pytest.fixture
def origin(cleanup):
    """origin(handler): a running Origin."""

    def make(handler=hello, **options):
        o = Origin(handler, **options)
        cleanup.add(o.finish)
        return o

    return make


@pytest.fixture
def scripted(cleanup):
    """scripted(script): a running Scripted origin."""

    def make(script, **options):
        o = Scripted(script, **options)
        cleanup.add(o.finish)
        return o

    return make


@pytest.fixture
def folder(cleanup):
    """A short-named temporary folder (Unix socket paths are limited to 107 bytes)."""
    path = pathlib.Path(tempfile.mkdtemp(prefix="cd", dir="/tmp"))
    cleanup.add(lambda: shutil.rmtree(path, ignore_errors=True))
    return path


@pytest.fixture
def authority(folder):
    return Authority(folder)


@pytest.fixture
def pebble(request, cleanup):
    """pebble(http_port, tls_port, ...): a running Pebble with its mediator."""

    def make(http_port, tls_port, **options):
        path = pathlib.Path(tempfile.mkdtemp(prefix="cd", dir="/tmp"))
        p = Pebble(path, http_port, tls_port, **options)

        def end():
            p.finish()
            if getattr(request.node, "failed", False):
                log = (path / "pebble.log").read_text(errors="replace")
                print(f"---- Pebble\n{log[-8000:]}\n---- passed {p.mediator.passed}")
            shutil.rmtree(path, ignore_errors=True)

        cleanup.add(end)
        return p

    return make


@pytest.fixture
def world(caddis, pebble):
    """world(...): a CA and a caddis that asks it for SITE; returns both."""

    def make(site=SITE, start=True, globals="", ca=None, **options):
        http, https = free_port(), free_port()
        p = pebble(http, https, **(ca or {}))
        c = caddis(site, http=http, https=https, globals=p.globals + "\n" + globals, start=start,
                   **options)
        return p, c

    return make


@pytest.fixture
def redis(request, cleanup):
    """redis(*options): a running Redis."""

    def make(*options, **more):
        path = pathlib.Path(tempfile.mkdtemp(prefix="cd", dir="/tmp"))
        r = Redis(path, *options, **more)

        def end():
            r.finish()
            if getattr(request.node, "failed", False):
                print(f"---- Redis\n{(path / 'redis.log').read_text(errors='replace')[-4000:]}")
            shutil.rmtree(path, ignore_errors=True)

        cleanup.add(end)
        return r

    return make


@pytest.fixture
def bind(folder, cleanup):
    """bind(zone, ...): a running Bind."""

    def make(zone, **options):
        b = Bind(folder, zone, **options)
        cleanup.add(b.finish)
        return b

    return make


@pytest.fixture
def eventually():
    """eventually(check, timeout): waits until check() is true and returns its value."""

    def wait(check, timeout=20.0, what=None):
        end = time.monotonic() + timeout
        while True:
            value = check()
            if value:
                return value
            assert time.monotonic() < end, what or f"not within {timeout} s"
            time.sleep(0.03)

    return wait
