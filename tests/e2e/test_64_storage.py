"""caddis storage: export, import, check; Caddy's folder taken over; and the promise of the store,
tried by killing at every system call that changes it."""

import io
import pathlib
import shutil
import subprocess
import tarfile

import pytest
from lib import certs
from lib.caddis import command
from lib.ports import free_port

A, B = "a.localhost", "b.localhost"
SITES = f"{A}, {B} {{\n\trespond hello\n}}"


def contents(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def kept(folder):
    """What an export carries."""
    return {k: v for k, v in contents(folder).items()
            if not k.startswith("locks/") and not k.endswith((".prev", ".new"))}


def config(folder, store):
    path = folder / "Caddyfile"
    path.write_text(f"{{\n\tstorage file_system {store}\n}}\n")
    return path


def test_export_and_import(caddis, folder):
    c = caddis(SITES)
    ders = {n: c.wait_certificate(n) for n in (A, B)}
    done = c.command("storage", "export", "--config", c.file, "-o", c.folder / "all.tar")
    assert done.returncode == 0, done.stderr
    c.stop()
    archive = c.folder / "all.tar"
    assert archive.stat().st_mode & 0o777 == 0o600
    with tarfile.open(archive) as tar:
        got = {m.name: tar.extractfile(m).read() for m in tar.getmembers()}
        assert all(m.mode == 0o600 for m in tar.getmembers())
    assert got == kept(c.store)
    shutil.rmtree(c.store)
    done = c.command("storage", "import", "--config", c.file, "-i", archive)
    assert done.returncode == 0, done.stderr
    assert kept(c.store) == got
    c.start()
    assert {n: c.wait_certificate(n) for n in (A, B)} == ders


def test_import_of_what_it_should_not_take(folder):
    store = folder / "store"
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as tar:
        for name, value in [("../outside", b"x"), ("/etc/outside", b"x"), ("a//b", b"x"),
                            ("certificates/ca/x.test/x.test.crt", b"alone"),
                            ("locks/x.caddis.lock", b""), ("big", b"x" * (2 << 20)),
                            ("acme/ca/users/me/me.json", b"{}")]:
            info = tarfile.TarInfo(name)
            info.size = len(value)
            tar.addfile(info, io.BytesIO(value))
        link = tarfile.TarInfo("link")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    archive = folder / "bad.tar"
    archive.write_bytes(data.getvalue())
    done = command("storage", "import", "--config", config(folder, store), "-i", archive,
                   folder=folder)
    assert done.returncode == 1
    assert done.stderr.count("left out:") == 6, done.stderr
    assert list(kept(store)) == ["acme/ca/users/me/me.json"]
    archive.write_bytes(data.getvalue()[:700])
    done = command("storage", "import", "--config", config(folder, store), "-i", archive,
                   folder=folder)
    assert done.returncode == 1 and "archive" in done.stderr
    done = command("storage", "export", "--config", folder / "nothing", "-o", "-", folder=folder)
    assert done.returncode == 1 and "nothing" in done.stderr


def test_what_caddy_has_is_offered_and_taken_over(caddis, folder):
    """A folder in Caddy's layout: told at start, copied when asked for, never written to."""
    c = caddis(SITES)
    ders = {n: c.wait_certificate(n) for n in (A, B)}
    c.stop()
    caddys = c.folder / "data/caddy"
    caddys.parent.mkdir()
    for key, value in kept(c.store).items():
        if not key.startswith("caddis/"):
            path = caddys / key
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(value)
    (caddys / "last_clean.json").write_text("{}")
    before = contents(caddys)
    shutil.rmtree(c.store)
    c.start()
    c.wait_log("caddis storage import --from-caddy")
    c.stop()
    shutil.rmtree(c.store)
    done = c.command("storage", "import", "--from-caddy", "--config", c.file)
    assert done.returncode == 0, done.stderr
    assert contents(caddys) == before
    assert not (c.store / "last_clean.json").exists()
    c.start()
    assert {n: c.wait_certificate(n) for n in (A, B)} == ders
    # Again: what is there stays.
    c.stop()
    mine = kept(c.store)
    assert c.command("storage", "import", "--from-caddy", "--config", c.file).returncode == 0
    assert kept(c.store) == mine


def test_check_tells_the_fate_of_every_entry(caddis, authority):
    c = caddis(SITES)
    for name in (A, B):
        c.wait_certificate(name)
    c.stop()
    base = c.store / "certificates/local"

    def put(name, crt, key):
        (base / name).mkdir(mode=0o700)
        (base / name / f"{name}.crt").write_bytes(crt)
        (base / name / f"{name}.key").write_bytes(key)

    def check():
        done = c.command("storage", "check", "--config", c.file)
        return done, dict(reversed(line.split(":")[0].split(None, 1))
                          for line in done.stdout.splitlines()[:-1])

    done, fates = check()
    assert done.returncode == 0, done.stdout
    assert fates[f"certificates/local/{A}/{A}.crt"] == "ok"
    a = [(base / A / f"{A}.{s}").read_bytes() for s in ("crt", "key")]
    b = [(base / B / f"{B}.{s}").read_bytes() for s in ("crt", "key")]
    put("mismatch.test", a[0], b[1])
    put("foreign.test", *a)
    put("cut.test", a[0][:300], a[1])
    put("huge.test", a[0] + b"#" * (2 << 20), a[1])
    put("link.test", *a)
    (base / "link.test/link.test.key").unlink()
    (base / "link.test/link.test.key").symlink_to(base / A / f"{A}.key")
    (c.store / "caddis/ticket_keys").write_text("junk")
    (c.store / "somebody.txt").write_text("else's")
    before = contents(c.store)
    done, fates = check()
    assert done.returncode == 1
    expected = {"mismatch.test": "mismatch", "foreign.test": "damaged", "cut.test": "damaged",
                "huge.test": "damaged", "link.test": "damaged"}
    for name, fate in expected.items():
        assert fates[f"certificates/local/{name}/{name}.crt"] == fate, done.stdout
    assert fates["caddis/ticket_keys"] == "damaged"
    assert fates["somebody.txt"] == "foreign"
    assert contents(c.store) == before
