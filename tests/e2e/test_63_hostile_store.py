"""A store whose entries are damaged, swapped, replaced by other things and taken away while caddis
runs on it: what is served goes on, nothing breaks, orders stay few, and what is left heals."""

import os
import random
import shutil
import time

from lib.ports import free_port

SITES = "example.com {\n\trespond hello\n}\na.localhost, b.localhost {\n\trespond hello\n}"


def vandalise(store, chance):
    """One entry, in one of many ways."""
    entries = [p for p in store.rglob("*") if not p.is_dir() or p.is_symlink()]
    files = [p for p in entries if p.is_file() and not p.is_symlink()]
    if not files:
        return
    victim, other = chance.choice(entries), chance.choice(files)
    try:
        data = victim.read_bytes() if victim in files else b""
    except OSError:
        data = b""
    new = victim.with_name(".tmp-vandal")  # a name that nobody lists

    def put(content):
        new.write_bytes(content)
        new.rename(victim)

    def instead(make):
        if victim.is_dir() and not victim.is_symlink():
            victim.rmdir()
        else:
            victim.unlink()
        make()

    ways = [
        lambda: put(b""), lambda: put(data[: len(data) // 2]), lambda: put(os.urandom(300)),
        lambda: put(b"{" * 5000), lambda: put(data + b"x" * (2 << 20)), lambda: put(b"\0" * 100),
        lambda: put(other.read_bytes()), lambda: put(data.replace(b"A", b"B", 7)),
        lambda: put(data.replace(b"1", b"9")), lambda: put(b"null"),
        lambda: victim in files and victim.write_bytes(data[:40]), lambda: victim.unlink(),
        lambda: instead(lambda: victim.symlink_to(other)),
        lambda: instead(lambda: victim.symlink_to("/dev/zero")), lambda: instead(victim.mkdir),
        lambda: instead(lambda: os.mkfifo(victim)),
        lambda: os.utime(victim, (0, 2 ** 33), follow_symlinks=False),
        lambda: shutil.rmtree(victim.parent) if victim.parent != store else None,
    ]
    chance.choice(ways)()


def test_entries_change_while_it_runs(caddis, pebble):
    seed = int(os.environ.get("CADDIS_HOSTILE_SEED", "1"))
    chance = random.Random(seed)
    ports = free_port(), free_port()
    p = pebble(*ports)
    c = caddis(SITES, http=ports[0], https=ports[1], globals=p.globals + "\nrenew_interval 1s")
    roots = p.roots()
    c.wait_certificate("example.com", cadata=roots, timeout=60)
    for name in "a.localhost", "b.localhost":
        c.wait_certificate(name)
    local = c.root.read_text()
    end = time.monotonic() + 12
    while time.monotonic() < end:
        for _ in range(8):
            try:
                vandalise(c.store, chance)
            except OSError:
                pass  # caddis was quicker
            time.sleep(0.02)  # so that caddis is met at different points
        with c.connect_tls("example.com", cadata=roots) as connection:
            assert connection.get().body == b"hello"
    assert p.orders <= 6, p.orders
    # Its end and its next start; then everybody has a certificate, under a root that is told.
    c.stop()
    shutil.rmtree(c.store / "caddis", ignore_errors=True)
    done = c.command("storage", "check", "--config", c.file)
    assert done.returncode in (0, 1) and "Sanitizer" not in done.stderr
    before = p.orders
    c.start()
    c.wait_certificate("example.com", cadata=roots, timeout=60)
    deadline = time.monotonic() + 60
    for name in "a.localhost", "b.localhost":
        while True:
            try:
                now = c.root.read_text() if c.root.is_file() else local
                with c.connect_tls(name, cadata=now):
                    break
            except (OSError, AssertionError):
                assert time.monotonic() < deadline, c.log()
                time.sleep(0.2)
    assert p.orders <= before + 2
