"""The store on disk: modes, damage, and a disk that does not take anything."""

import os
import shutil
import time

import pytest
from lib import certs
from lib.caddis import BIN, PLAIN_BIN
from lib.ports import free_port

A, B = "a.localhost", "b.localhost"
SITES = f"{A}, {B} {{\n\trespond hello\n}}"
NOBODY = 65534


def files(c, name):
    folder = next((c.store / "certificates").glob(f"*/{name}"))
    return folder / f"{name}.crt", folder / f"{name}.key"


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_modes_whatever_the_umask(caddis, umask):
    c = caddis(SITES, umask=umask)
    for name in (A, B):
        c.wait_certificate(name)
    seen = 0
    for path in [c.store, *c.store.rglob("*")]:
        mode = path.lstat().st_mode & 0o777
        if path.is_dir():
            assert mode == 0o700, f"{path} {mode:o}"
        else:
            seen += 1
            assert mode & 0o077 == 0, f"{path} {mode:o}"
            if path.suffix in (".key", ".crt", ".json"):
                assert mode == 0o600, f"{path} {mode:o}"
    assert seen >= 8


def test_default_place(caddis):
    """$XDG_DATA_HOME/caddis."""
    c = caddis(f"{{\n\tadmin off\n\thttp_port {free_port()}\n\thttps_port {{https}}\n}}\n{SITES}",
               raw_file=True)
    c.store = c.folder / "data/caddis"
    c.wait_certificate(A)
    assert files(c, A)[0].exists()


def test_no_temporary_files_are_left(caddis):
    c = caddis(SITES)
    for name in (A, B):
        c.wait_certificate(name)
    c.stop()
    left = [p.name for p in c.store.rglob("*")
            if p.is_file() and (p.name.startswith(".") or ".tmp" in p.name or p.name.endswith(".new"))]
    assert left == []


DAMAGE = {
    "empty certificate": ("crt", lambda data: b""),
    "cut certificate": ("crt", lambda data: data[: len(data) // 3]),
    "garbled certificate": ("crt", lambda data: data[:200] + b"!!!!" + data[204:]),
    "zeros": ("crt", lambda data: b"\0" * len(data)),
    "empty key": ("key", lambda data: b""),
    "cut key": ("key", lambda data: data[:60]),
    "not a file": ("crt", None),
    "huge": ("crt", lambda data: data + b"#" * (8 << 20)),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_damaged_entry_is_obtained_anew_and_others_are_untouched(caddis, name):
    which, damage = DAMAGE[name]
    c = caddis(SITES)
    first = {n: c.wait_certificate(n) for n in (A, B)}
    c.stop()
    for path in c.store.rglob("*.prev"):  # what would heal it without a new certificate
        path.unlink()
    path = files(c, A)[0 if which == "crt" else 1]
    data = path.read_bytes()
    if damage:
        path.write_bytes(damage(data))
    else:
        path.unlink()
        path.mkdir()
    c.start()
    second = {n: c.wait_certificate(n) for n in (A, B)}
    assert second[A] != first[A]
    assert second[B] == first[B]
    if damage and damage(data):
        aside = [p for p in path.parent.iterdir() if "damaged" in p.name]
        assert aside, "the damaged file was thrown away"
    c.wait_log(A)


def test_key_of_another_certificate_is_noticed(caddis):
    c = caddis(SITES)
    first = {n: c.wait_certificate(n) for n in (A, B)}
    c.stop()
    for path in c.store.rglob("*.prev"):
        path.unlink()
    shutil.copy(files(c, B)[1], files(c, A)[1])
    c.start()
    assert c.wait_certificate(A) != first[A]
    assert c.wait_certificate(B) == first[B]


def test_a_half_written_pair_falls_back_to_the_one_before(caddis):
    """The new key is there, its certificate is not: the pair before is served, unchanged."""
    c = caddis(SITES)
    first = c.wait_certificate(A)
    c.stop()
    crt, key = files(c, A)
    os.link(crt, f"{crt}.prev")
    os.link(key, f"{key}.prev")
    other = key.with_suffix(".tmp")
    shutil.copy(files(c, B)[1], other)
    other.rename(key)
    c.start()
    assert c.wait_certificate(A) == first


def test_damaged_local_ca_is_made_anew(caddis):
    c = caddis(SITES)
    c.wait_certificate(A)
    c.stop()
    (c.store / "pki/authorities/local/intermediate.key").write_bytes(b"garbage")
    shutil.rmtree(c.store / "certificates")
    c.start()
    c.wait_certificate(A)


def test_symbolic_links_in_the_store_are_not_followed(caddis, folder):
    c = caddis(SITES)
    c.wait_certificate(A)
    c.stop()
    crt, _ = files(c, A)
    target = folder / "elsewhere"
    target.write_bytes(crt.read_bytes())
    crt.unlink()
    crt.symlink_to(target)
    before = target.read_bytes()
    c.start()
    c.wait_certificate(A)
    assert target.read_bytes() == before


def test_unwritable_store_serves_what_is_there_and_orders_nothing(caddis, pebble, folder):
    """As a user who may read the store but not write to it."""
    os.chmod(folder, 0o755)
    binary = folder / "caddis"  # where that user can reach it
    shutil.copy(PLAIN_BIN if PLAIN_BIN.exists() else BIN, binary)
    binary.chmod(0o755)
    http, https = free_port(), free_port()
    p = pebble(http, https)
    os.chmod(p.folder, 0o755)
    have, want = "have.test {\n\trespond have\n}", "want.test {\n\trespond want\n}"
    options = dict(http=http, https=https, globals=p.globals, user=NOBODY, binary=binary,
                   store=folder / "store")
    (folder / "store").mkdir()
    os.chown(folder / "store", NOBODY, NOBODY)
    c = caddis(have, **options)
    der = c.wait_certificate("have.test", cadata=p.roots())
    c.stop()
    assert p.orders == 1
    for path in [c.store, *c.store.rglob("*")]:
        os.chown(path, 0, NOBODY)
        path.chmod(0o550 if path.is_dir() else 0o440)
    c.write(f"{have}\n{want}")
    c.start()
    with c.connect_tls("have.test", cadata=p.roots()) as connection:
        assert connection.sock.getpeercert(True) == der
        assert connection.get().body == b"have"
    c.wait_log(str(c.store))
    answer = c.get(host="want.test")
    assert answer.status == 503
    assert p.orders == 1


def test_full_disk(caddis, folder):
    """A store with no room: said plainly, nothing half-written, and cured when there is room."""
    mount = folder / "small"
    mount.mkdir()
    os.system(f"mount -t tmpfs -o size=64k tmpfs {mount} 2>/dev/null")
    if not os.path.ismount(mount):
        pytest.fail("this test mounts a tmpfs and so runs as root")
    try:
        filler = mount / "filler"
        with open(filler, "wb", buffering=0) as f:
            try:
                while f.write(b"x" * 4096):
                    pass
            except OSError:
                pass
        c = caddis(SITES, store=mount / "store", globals="renew_interval 1s")
        c.wait_log(str(mount))
        with c.connect_tls(A, verify=False) as connection:
            assert connection.get().status in (200, 503)
        empty = [p for p in mount.rglob("*") if p.is_file() and p.suffix in (".crt", ".key")
                 and p.stat().st_size == 0]
        assert empty == []
        filler.unlink()
        c.wait_certificate(A, timeout=60)
        c.stop()
    finally:
        os.system(f"umount -l {mount}")


def test_two_instances_share_the_local_ca(caddis, folder):
    pair = [caddis(SITES, store=folder / "store", start=False) for _ in range(2)]
    for c in pair:
        c.start(wait=False)
    for c in pair:
        c.wait_ready()
    ders = [c.wait_certificate(A) for c in pair]
    assert ders[0] == ders[1]


def test_killed_while_writing_leaves_a_consistent_pair(caddis):
    c = caddis(SITES, start=False, binary=PLAIN_BIN if PLAIN_BIN.exists() else BIN)
    for i in range(15):
        c.start(wait=False)
        time.sleep(0.01 + 0.012 * i)
        c.kill()
        shutil.rmtree(c.store / "certificates", ignore_errors=True)
    c.start()
    for name in (A, B):
        assert certs.names(c.wait_certificate(name)) == [name]
