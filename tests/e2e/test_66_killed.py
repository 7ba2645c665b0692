"""The promise of the store, tried by killing the server at each system call that changes it while a
certificate is saved."""

import pathlib
import subprocess

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from lib import certs
from lib.pebble import once
from lib.ports import free_port


# The changing calls between the download of a certificate and the end of its saving.
SAVING = "renameat,renameat2,linkat,unlinkat"


@pytest.mark.parametrize("first", [1, 2, 3])
def test_killed_at_every_change_while_saving(plain, pebble, eventually, first):
    """The server dies before the n-th call that changes the store, having downloaded a certificate;
    the next one finds a pair or downloads again: never two orders more."""
    http, https = free_port(), free_port()
    p = pebble(http, https)
    for n in range(first, 13, 3):
        name = f"n{n}.test"
        c = plain(f"{name} {{\n\trespond hello\n}}", http=http, https=https, globals=p.globals,
                  start=False)
        before = p.orders
        tracers = []

        def trace(response):
            # From here on; the parent starts another server, which nobody traces.
            tracers.append(subprocess.Popen(
                ["strace", "-f", "-q", "-o", "/dev/null", "-e", f"trace={SAVING}",
                 "-e", f"inject={SAVING}:signal=KILL:when={n}", "-p", str(c.children()[0])],
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
            tasks = pathlib.Path(f"/proc/{c.children()[0]}/task")
            eventually(lambda: all("TracerPid:\t0" not in (t / "status").read_text()
                                   for t in tasks.iterdir()), 30)
            return response

        p.mediator.rules[:] = [once("certificate", lambda: trace)]
        c.expect_restart = True
        c.start()
        first_server = c.children()
        der = c.wait_certificate(name, cadata=p.roots(), timeout=60)
        assert certs.names(der) == [name]
        assert p.orders - before <= 2, f"killed at {n}"
        assert n > 3 or c.children() != first_server, "nobody was killed"
        for tracer in tracers:
            tracer.terminate()
            tracer.wait(20)
        c.stop()
        crt, key = (next((c.store / "certificates").glob(f"*/{name}/{name}.{s}"))
                    for s in ("crt", "key"))
        public = load_pem_private_key(key.read_bytes(), None).public_key()
        leaf = x509.load_pem_x509_certificate(crt.read_bytes())
        assert leaf.public_key().public_numbers() == public.public_numbers()
