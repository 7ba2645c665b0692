"""A store in a folder that several machines share, as far as one machine can show it: clocks that
are minutes apart, and a server that fails calls as NFS does (stale handles, input/output errors).
NFS itself is not mounted here."""

import os
import time

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from lib import certs
from lib.caddis import PLAIN_BIN
from lib.ports import free_port

NAME = "example.com"
SITE = NAME + " {\n\trespond hello\n}"
FAKETIME = {"LD_PRELOAD": "/usr/$LIB/faketime/libfaketime.so.1", "DONT_FAKE_MONOTONIC": "1"}


def pair_matches(store):
    crt = next(store.rglob(NAME + ".crt"))
    key = load_pem_private_key(crt.with_suffix(".key").read_bytes(), None)
    leaf = x509.load_pem_x509_certificate(crt.read_bytes())
    return leaf.public_key().public_numbers() == key.public_key().public_numbers()


def test_machines_whose_clocks_are_minutes_apart(caddis, pebble, folder):
    """And whose lock files seem to come from the future or long ago: one order between them."""
    ports = [(free_port(), free_port()) for _ in range(2)]
    p = pebble(*ports[0])
    # The second one's port is not where the CA validates: it may only use what the first made.
    machines = [
        caddis(SITE, http=h, https=s, globals=p.globals + "\nrenew_interval 1s",
               store=folder / "store", start=False, binary=PLAIN_BIN,
               env={**FAKETIME, "FAKETIME": shift})
        for (h, s), shift in zip(ports, ("+7m", "-9m"))]
    held = []

    def rule(request):
        if request.kind == "finalize" and not held:
            for lock in (folder / "store/locks").iterdir():
                for shift in (3600, -3600, 300):
                    os.utime(lock, (time.time() + shift,) * 2)
                held.append(lock.name)
            machines[1].start()
            machines[1].wait_log(NAME)

    p.mediator.rules.append(rule)
    machines[0].start()
    ders = [c.wait_certificate(NAME, cadata=p.roots(), timeout=60) for c in machines]
    assert ders[0] == ders[1] and p.orders == 1 and held
    # A machine that dies holds nothing up, whatever the time on its lock.
    machines[0].kill()
    done = machines[1].command("storage", "check", "--config", machines[1].file)
    assert done.returncode == 0, done.stdout + done.stderr
    assert pair_matches(folder / "store")


@pytest.mark.parametrize("calls, error", [
    ("renameat,renameat2", "ESTALE"), ("linkat", "EIO"), ("fsync,fdatasync", "ESTALE")])
def test_calls_that_fail_now_and_then(caddis, pebble, eventually, calls, error):
    """Two of the first calls of each thread fail. The certificate comes with one order, what is on disk is one pair,
    and what was said names the file."""
    ports = free_port(), free_port()
    p = pebble(*ports)
    c = caddis(SITE, http=ports[0], https=ports[1], globals=p.globals + "\nrenew_interval 1s",
               binary=PLAIN_BIN, start=False,
               wrap=["strace", "-f", "-qq", "-o", "/dev/null", "-e", f"trace={calls}", "-e",
                     f"inject={calls}:error={error}:when=2..5+3"])
    c.start()
    der = c.wait_certificate(NAME, cadata=p.roots(), timeout=90)
    assert certs.names(der) == [NAME]
    eventually(lambda: list((c.store / "certificates").rglob(NAME + ".crt")), timeout=60)
    eventually(lambda: pair_matches(c.store / "certificates"), timeout=60)
    assert p.orders <= 2
    c.kill()  # what runs first is strace
    c.options["wrap"] = []
    c.start()
    c.wait_certificate(NAME, cadata=p.roots())
    assert p.orders <= 2
