"""The program as processes: parent and server, signals, privileges, the control socket, systemd's
notifications."""

import fcntl
import os
import pathlib
import pwd
import shutil
import signal
import socket
import subprocess
import threading
import time

import pytest
from lib.caddis import BIN, command
from lib.ports import free_port
from lib.raw import Closed


def say(word):
    return f"http://localhost {{\n\trespond {word}\n}}"


def control(c, line, timeout=10):
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(timeout)
        s.connect(str(c.admin))
        s.sendall(line)
        answer = b""
        while data := s.recv(65536):
            answer += data
    return answer


def status_of(pid):
    lines = pathlib.Path(f"/proc/{pid}/status").read_text().splitlines()
    return {line.split(":")[0]: line.split(":")[1].split() for line in lines if ":" in line}


# ---- a server that dies ----


def test_a_crash_costs_no_new_connection(caddis, eventually):
    """The parent keeps the sockets: whoever connects meanwhile waits and is served."""
    c = caddis(say("one"), env={"ASAN_OPTIONS": "handle_segv=0"})
    c.expect_restart = True
    for _ in range(3):
        old = c.children()
        os.kill(old[0], signal.SIGSEGV)
        eventually(lambda: c.children() != old)
        for _ in range(3):
            assert c.get().body == b"one"
        eventually(lambda: c.children() and c.children() != old)


def test_a_crash_loop_backs_off(caddis, eventually):
    c = caddis(say("one"))
    c.expect_restart = True
    deaths = 0
    end = time.monotonic() + 6
    while time.monotonic() < end:
        for pid in c.children():
            try:
                os.kill(pid, signal.SIGKILL)
                deaths += 1
            except ProcessLookupError:
                pass
        time.sleep(0.02)
    assert 3 <= deaths <= 9
    eventually(lambda: c.get().body == b"one" if c.children() else False, 15)


def test_sigterm_while_waiting_to_restart_ends(caddis, eventually):
    c = caddis(say("one"))
    c.expect_restart = True
    for _ in range(4):
        pid = eventually(c.children)[0]
        os.kill(pid, signal.SIGKILL)
        eventually(lambda: pid not in c.children())
    c.signal(signal.SIGTERM)
    assert c.wait(2) == 0


def test_the_next_server_runs_what_the_dead_one_ran(caddis, eventually):
    """After `caddis reload --config OTHER`, not the file that the command line names."""
    c = caddis(say("one"))
    other = c.folder / "Other"
    other.write_text(c.text(say("two")))
    assert c.command("reload", "--config", other).returncode == 0
    assert c.get().body == b"two"
    c.expect_restart = True
    os.kill(c.children()[0], signal.SIGKILL)
    eventually(lambda: "Other" in c.log().split("starting it again")[-1])
    assert c.get().body == b"two"


def test_addresses_that_the_next_server_does_not_want_are_closed(caddis, eventually):
    port = free_port()
    c = caddis(say("one") + f"\nhttp://localhost:{port} {{\n\trespond more\n}}")
    assert c.get(port=port).body == b"more"
    c.expect_restart = True
    c.write(say("one"))
    os.kill(c.children()[0], signal.SIGKILL)
    eventually(lambda: '"serving"' in c.log().split("starting it again")[-1])

    def refused():
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except ConnectionRefusedError:
            return True

    eventually(refused, 5)
    assert c.get().body == b"one"


# ---- signals ----


def test_sigterm_during_start(caddis):
    names = ", ".join(f"n{i}.localhost" for i in range(40))
    for delay in (0, 0.005, 0.02, 0.05, 0.1, 0.2):
        c = caddis(names + " {\n\trespond x\n}", start=False)
        c.start(wait=False)
        time.sleep(delay)
        c.signal(signal.SIGTERM)
        assert c.wait(10) in (0, -signal.SIGTERM)


def test_a_storm_of_sighups_loses_no_sigterm(caddis):
    c = caddis(say("one"))
    for _ in range(2000):
        c.signal(signal.SIGHUP)
    for _ in range(50):
        c.signal(signal.SIGUSR1)
        time.sleep(0.002)
    assert c.get().body == b"one"
    for _ in range(100):
        c.signal(signal.SIGHUP)
    c.signal(signal.SIGTERM)
    assert c.wait(8) == 0


def test_what_a_storm_ends_with_is_what_runs(caddis, eventually):
    c = caddis(say("one"))
    for i in range(100):
        c.write(say(f"word{i}"))
        c.signal(signal.SIGHUP)
    eventually(lambda: c.get().body == b"word99", 10)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGQUIT])
@pytest.mark.parametrize("single", [False, True])
def test_second_signal_ends_at_once(caddis, scripted, eventually, number, single):
    held = threading.Event()

    def script(connection):
        connection.read_request()
        held.wait(30)

    o = scripted(script)
    c = caddis(f"http://localhost {{\n\treverse_proxy 127.0.0.1:{o.port}\n}}",
               globals="grace_period 25s", args=["--single"] if single else [])
    try:
        with c.connect() as client:
            client.send(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            eventually(lambda: o.connections)
            c.signal(number)
            c.wait_log("stopping")
            time.sleep(0.3)
            c.signal(number)
            assert c.wait(3) == 2
    finally:
        held.set()


def test_single_drains_on_sigint(caddis):
    c = caddis(say("one"), args=["--single"])
    assert c.children() == []
    c.signal(signal.SIGHUP)
    c.wait_log("configuration reloaded")
    c.signal(signal.SIGINT)
    assert c.wait(5) == 0


# ---- the control socket ----


@pytest.mark.parametrize("line", [b"\n", b"\0\0\0\n", b"reload\n", b"reload \n", b"nonsense\n",
                                  b"GET / HTTP/1.1\r\n\r\n", b"\xff" * 7000 + b"\n",
                                  b"reload /dev/null\0x\n", b"reload /nowhere\n",
                                  b"reload /tmp\n", b"reload /dev/zero\n"])
def test_garbage_on_the_control_socket(caddis, line):
    c = caddis(say("one"))
    assert not control(c, line).startswith(b"ok\n")
    assert c.get().body == b"one"


def test_endless_and_slow_lines_on_the_control_socket(caddis):
    c = caddis(say("one"))
    with socket.socket(socket.AF_UNIX) as s:
        s.connect(str(c.admin))
        with pytest.raises(OSError):
            for _ in range(100):
                s.sendall(b"x" * 65536)
    with socket.socket(socket.AF_UNIX) as s:
        s.connect(str(c.admin))
        started = time.monotonic()
        with pytest.raises(OSError):  # a byte now and then does not hold it up for long
            while time.monotonic() - started < 12:
                s.sendall(b"x")
                time.sleep(0.5)
        assert time.monotonic() - started < 8
    assert c.reload(say("two"))
    assert c.get().body == b"two"


def test_clients_that_say_nothing_hold_nobody_up(caddis):
    c = caddis(say("one"))
    silent = [socket.socket(socket.AF_UNIX) for _ in range(12)]
    for s in silent:
        s.connect(str(c.admin))
        s.sendall(b"relo")
    # One after the other these would take 3 s each, and a request 10 s at the most.
    assert control(c, b"ping\n").startswith(b"ok\n")
    assert c.reload(say("two")) and c.get().body == b"two"
    for s in silent:
        s.close()


def test_a_client_that_does_not_read_does_not_hold_the_end_up(caddis):
    c = caddis(say("one"))
    with socket.socket(socket.AF_UNIX) as s:
        s.connect(str(c.admin))
        c.signal(signal.SIGTERM)
        assert c.wait(8) == 0


def test_a_control_path_that_is_too_long_is_told(caddis):
    long = "/tmp/" + "x" * 150
    c = caddis(say("one"), start=False)
    c.file.write_text(c.text(say("one")).replace(str(c.admin), long))
    c.start(wait=False)
    assert c.wait(10) == 1
    assert "Caddyfile:5:8: error: admin" in c.log()
    # Also when nobody wrote it: then it is served without.
    c = caddis(say("one"), start=False, env={"XDG_RUNTIME_DIR": long}, raw_file=True,
               user=65534 if os.geteuid() == 0 else None, binary=reachable(c.folder))
    os.chmod(c.folder, 0o777)
    c.file.write_text(f"{{\n\thttp_port {c.http}\n\tstorage file_system {c.store}\n}}\n{say('one')}\n")
    c.start()
    c.wait_log("too long", 10)
    assert c.get().body == b"one"


def reachable(folder):
    """A copy of the program where any user can run it."""
    copy = folder / "caddis"
    shutil.copy(BIN, copy)
    os.chmod(folder, 0o755)
    copy.chmod(0o755)
    return copy


def test_a_second_caddis_leaves_the_firsts_socket_and_pidfile_alone(caddis, folder):
    pid = folder / "pid"
    a = caddis(say("one"), args=["--pidfile", str(pid)])
    b = caddis(say("two"), start=False, http=a.http, args=["--pidfile", str(pid)])
    b.admin = a.admin
    b.write(say("two"))
    b.start(wait=False)
    assert b.wait(10) == 1
    assert pid.read_text().strip() == str(a.pid)
    c = caddis(say("three"), start=False)
    c.admin = a.admin
    c.write(say("three"))
    c.start()
    c.wait_log("answers already")
    assert c.get().body == b"three"
    c.stop()
    assert a.reload(say("four")) and a.get().body == b"four"
    a.stop()
    assert not pid.exists()


def test_a_pidfile_that_cannot_be_written_is_an_error(folder):
    (folder / "Caddyfile").write_text(f"{{\n\tadmin off\n\tstorage file_system {folder}/s\n}}\n"
                                      f"http://localhost:{free_port()}\n")
    done = command("run", "--pidfile", folder / "no/such", "--config", folder / "Caddyfile",
                   folder=folder, timeout=20)
    assert done.returncode == 1 and "no/such" in done.stderr


BAD_FILES = {
    "missing": lambda p: None,
    "folder": lambda p: p.mkdir(),
    "pipe": lambda p: os.mkfifo(p),
    "binary": lambda p: p.write_bytes(bytes(range(256)) * 64),
    "huge": lambda p: p.write_bytes(b"# x\n" * (8 << 20)),
    "empty": lambda p: p.write_bytes(b""),
    "nested": lambda p: p.write_bytes(b"http://localhost {\n" + b"handle {\n" * 100000),
}


@pytest.mark.parametrize("kind", BAD_FILES)
def test_reload_of_a_bad_file_is_refused_soon(caddis, kind):
    c = caddis(say("one"))
    bad = c.folder / "bad"
    BAD_FILES[kind](bad)
    started = time.monotonic()
    done = c.command("reload", "--config", bad, "--address", f"unix/{c.admin}", timeout=30)
    assert done.returncode == 1 and ("error:" in done.stderr or "bad" in done.stderr)
    assert time.monotonic() - started < 10
    assert c.get().body == b"one"


def test_stop_twice_and_reload_afterwards(caddis):
    c = caddis(say("one"))
    first = c.command("stop", "--config", c.file)
    second = c.command("stop", "--config", c.file)
    third = c.command("reload", "--config", c.file)
    assert first.returncode == 0 and second.returncode == 1 and third.returncode == 1
    assert c.wait() == 0


def test_starts_and_stops_at_once(folder):
    port = free_port()
    (folder / "Caddyfile").write_text(
        f"{{\n\tadmin unix/{folder}/admin.sock\n\tstorage file_system {folder}/store\n}}\n"
        f"http://localhost:{port} {{\n\trespond started\n}}\n")
    config = ("--config", folder / "Caddyfile")
    results = []
    threads = [threading.Thread(target=lambda: results.append(
        command("start", *config, folder=folder).returncode)) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    try:
        assert results.count(0) == 1, results
        assert command("reload", *config, folder=folder).returncode == 0
    finally:
        stopped = [command("stop", *config, folder=folder).returncode for _ in range(2)]
    assert stopped[0] == 0


def test_standard_input_is_not_read_twice(caddis):
    c = caddis(say("one"), start=False)
    text = c.text(say("one"))
    process = subprocess.Popen([str(BIN), "run", "--config", "-"], stdin=subprocess.PIPE,
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                               start_new_session=True)
    try:
        process.stdin.write(text.encode())
        process.stdin.close()
        end = time.monotonic() + 10
        while True:
            try:
                assert c.get().body == b"one"
                break
            except (OSError, Closed):
                assert time.monotonic() < end
                time.sleep(0.05)
        process.send_signal(signal.SIGHUP)
        time.sleep(0.5)
        assert c.get().body == b"one"
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0


# ---- systemd ----


def test_notify_to_an_abstract_socket(caddis):
    name = f"caddis-test-{os.getpid()}-{free_port()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
        s.bind("\0" + name)
        s.settimeout(15)
        c = caddis(say("one"), start=False, env={"NOTIFY_SOCKET": "@" + name})
        c.start(wait=False)
        assert s.recv(4096) == b"READY=1"
        c.signal(signal.SIGHUP)
        reloading = s.recv(4096).split(b"\n")
        assert reloading[0] == b"RELOADING=1"
        assert reloading[1].startswith(b"MONOTONIC_USEC=")
        assert abs(int(reloading[1].split(b"=")[1]) - time.monotonic() * 1e6) < 30e6
        assert s.recv(4096) == b"READY=1"
        c.signal(signal.SIGTERM)
        assert s.recv(4096) == b"STOPPING=1"
        assert c.wait() == 0


@pytest.mark.parametrize("value", ["", "relative", "/nowhere/at/all", "/" + "x" * 300, "@"])
def test_notify_sockets_that_are_none(caddis, value):
    c = caddis(say("one"), start=False, env={"NOTIFY_SOCKET": value})
    c.start(wait=False)
    c.wait_log('"serving"')
    assert c.get().body == b"one"


def test_the_unit_is_well_formed(folder):
    if not shutil.which("systemd-analyze"):
        pytest.fail("systemd-analyze is missing: apt-get install systemd")
    unit = pathlib.Path(__file__).resolve().parents[2] / "cmd/caddis.service"
    copy = folder / "caddis.service"
    copy.write_text(unit.read_text().replace("/usr/bin/caddis", "/bin/true"))
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", str(copy)],
                          capture_output=True, text=True, timeout=60)
    assert "caddis.service" not in done.stderr, done.stderr


# ---- another user ----


@pytest.fixture
def as_nobody(caddis, folder):
    """as_nobody(caddyfile): run by root with --user nobody; /run and /var/lib are its own."""
    if os.geteuid() != 0:
        pytest.fail("this test gives up root and so begins as root")
    binary = reachable(folder)
    private = ["unshare", "--mount", "sh", "-c",
               'mount -t tmpfs -o mode=755 x /run && mount -t tmpfs -o mode=755 x /var/lib && exec "$@"',
               "sh"]

    def make(caddyfile, **options):
        # Where the sanitizers of a server that is not root may write.
        c = caddis("", start=False, raw_file=True, binary=binary, wrap=private,
                   args=["--user", "nobody", *options.pop("args", [])],
                   env={"XDG_RUNTIME_DIR": "", "XDG_DATA_HOME": "", "HOME": "/root"}, **options)
        os.chmod(c.folder, 0o777)
        c.file.write_text(f"{{\n\thttp_port {c.http}\n\thttps_port {c.https}\n}}\n{caddyfile}\n")
        c.start()
        c.store = pathlib.Path(f"/proc/{c.pid}/root/var/lib/caddis")
        return c

    return make


def inside(c, *args):
    return subprocess.run(["nsenter", "-t", str(c.pid), "-m", str(c.options["binary"]), *map(str, args)],
                          capture_output=True, text=True, timeout=30,
                          env={"PATH": os.environ["PATH"], "ASAN_OPTIONS": "detect_leaks=0"})


def test_user_gives_up_root_for_good(as_nobody):
    c = as_nobody("localhost {\n\trespond hello\n}")
    nobody = pwd.getpwnam("nobody")
    server = status_of(c.children()[0])
    assert set(server["Uid"]) == {str(nobody.pw_uid)}
    assert set(server["Gid"]) == {str(nobody.pw_gid)}
    assert set(server["Groups"]) <= {str(nobody.pw_gid)}
    for which in ("CapPrm", "CapEff", "CapInh", "CapAmb"):
        assert int(server[which][0], 16) == 0
    assert server["NoNewPrivs"] == ["1"]
    assert set(status_of(c.pid)["Uid"]) == {"0"}
    c.wait_certificate("localhost")
    for path in [c.store, *c.store.rglob("*")]:
        assert path.lstat().st_uid == nobody.pw_uid, path


def test_user_can_still_bind_low_ports_on_a_reload(as_nobody):
    c = as_nobody("http://localhost {\n\trespond hello\n}")
    port = next(p for p in range(1023, 600, -1) if not in_use(p))
    c.file.write_text(c.file.read_text() + f"\nhttp://localhost:{port} {{\n\trespond low\n}}\n")
    c.signal(signal.SIGHUP)
    c.wait_log("configuration reloaded")
    assert c.get(port=port).body == b"low"


def in_use(port):
    with socket.socket() as s:
        try:
            s.bind(("", port))
        except OSError:
            return True
    return False


def test_root_reaches_the_control_socket_of_another_user(as_nobody):
    c = as_nobody("http://localhost {\n\trespond hello\n}")
    c.file.write_text(c.file.read_text().replace("hello", "changed"))
    done = inside(c, "reload", "--config", c.file)
    assert done.returncode == 0, done.stderr + c.log()
    assert c.get().body == b"changed"
    done = inside(c, "stop")
    assert done.returncode == 0, done.stderr
    assert c.wait() == 0


def test_a_crash_with_another_user_restarts_as_that_user(as_nobody, eventually):
    c = as_nobody("http://localhost {\n\trespond hello\n}")
    c.expect_restart = True
    os.kill(c.children()[0], signal.SIGKILL)
    eventually(lambda: '"serving"' in c.log().split("starting it again")[-1])
    assert c.get().body == b"hello"
    assert set(status_of(c.children()[0])["Uid"]) == {str(pwd.getpwnam("nobody").pw_uid)}
    c.signal(signal.SIGTERM)
    assert c.wait() == 0


# ---- odd environments ----


def test_without_home_plain_sites_are_served(folder):
    """As somebody for whom there is no place to keep anything."""
    binary = reachable(folder)
    port = free_port()
    (folder / "Caddyfile").write_text(f"http://localhost:{port} {{\n\trespond hello\n}}\n")
    process = subprocess.Popen([str(binary), "run", "--config", str(folder / "Caddyfile")],
                               env={"PATH": os.environ["PATH"]}, stdin=subprocess.DEVNULL,
                               stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
                               user=65534, group=65534, extra_groups=[], cwd="/")
    try:
        end = time.monotonic() + 10
        while True:
            assert process.poll() is None, process.stderr.read()
            try:
                with socket.create_connection(("127.0.0.1", port), 5) as s:
                    s.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
                    assert b"hello" in s.recv(4096)
                    break
            except ConnectionRefusedError:
                assert time.monotonic() < end
                time.sleep(0.05)
    finally:
        process.terminate()
        process.wait(10)


ENVFILES = {
    "quotes": ("A=\"x y\"\nB='it''s'\n", None),
    "comment after": ("A=x # not this\n", "x"),
    "hash inside": ("A=x#y\n", "x#y"),
    "spaces": ("  A = x  \n", "x"),
    "windows": ("A=x\r\nB=y\r\n", "x"),
    "two lines in quotes": ('A="x\ny"\nB=2\n', "x\ny"),
    "no newline at the end": ("A=x", "x"),
    "empty value": ("A=\nB=2", ""),
    "equals inside": ("A=b=c\n", "b=c"),
}


@pytest.mark.parametrize("kind", ENVFILES)
def test_envfiles(folder, kind):
    text, value = ENVFILES[kind]
    (folder / "env").write_bytes(text.encode())
    (folder / "Caddyfile").write_text("localhost {\n\tno-such-thing\n}\n")
    done = command("run", "--environ", "--envfile", folder / "env", "--config",
                   folder / "Caddyfile", folder=folder)
    if value is not None:
        assert f"\nA={value}\n" in done.stdout, done.stdout + done.stderr


@pytest.mark.parametrize("data", [b"novalue\n", b"=x\n", b"A=\"open\n", b"A=\0x\nB\n",
                                  b"A" * (2 << 20), None])
def test_bad_envfiles_are_errors(folder, data):
    path = folder / "env"
    path.mkdir() if data is None else path.write_bytes(data)
    (folder / "Caddyfile").write_text("http://localhost\n")
    done = command("run", "--envfile", path, "--config", folder / "Caddyfile", folder=folder,
                   timeout=20)
    assert done.returncode == 1 and "env" in done.stderr


# ---- the system's trust ----


TRUST_FOLDER = "/usr/local/share/ca-certificates"


def test_trust_takes_the_root_of_the_caddis_that_runs(as_nobody):
    """Not one of a store of root's own. The system's store is a copy that goes with the test."""
    c = as_nobody("localhost {\n\trespond hello\n}")
    c.wait_certificate("localhost")
    root = c.root.read_bytes()
    trusted = pathlib.Path(f"/proc/{c.pid}/root{TRUST_FOLDER}")
    hide = (f"mkdir -p {TRUST_FOLDER} && mount -t tmpfs x {TRUST_FOLDER} && mount -t tmpfs x /etc/ssl/certs"
            " && mount -t tmpfs x /root")
    subprocess.run(["nsenter", "-t", str(c.pid), "-m", "sh", "-c", hide], check=True)
    done = inside(c, "trust")
    assert done.returncode == 0, done.stderr
    assert [f.read_bytes() for f in trusted.glob("*.crt")] == [root]
    assert not pathlib.Path(f"/proc/{c.pid}/root/root/.local").exists()
    done = inside(c, "untrust")
    assert done.returncode == 0, done.stderr
    assert list(trusted.glob("*.crt")) == []
    assert inside(c, "untrust").returncode == 0
    assert not list(pathlib.Path(TRUST_FOLDER).glob("caddis*"))


# ---- odd surroundings ----


@pytest.mark.parametrize("closed", [">&- 2>&-", "<&- >&- 2>&-", "2>&-"])
def test_closed_standard_descriptors_stay_nobodys(caddis, closed):
    """What is opened later must not get the numbers that log lines go to."""
    c = caddis(say("one"), wrap=["sh", "-c", f'exec "$@" {closed}', "sh"])
    assert c.get().body == b"one"
    for pid in c.processes():
        assert os.readlink(f"/proc/{pid}/fd/2") == "/dev/null"
    c.reload(say("two"))
    assert c.get().body == b"two"


def test_too_few_descriptors_to_listen_are_told(plain):
    """Descriptors are short in the server process, not where the sockets are made."""
    c = plain(say("one"), start=False, args=["--workers", "1"])
    said = set()
    for nofile in range(10, 30):
        c.options["nofile"] = nofile
        c.start(wait=False)
        try:
            c.wait_ready()
            c.stop()
            break
        except AssertionError:
            c.wait()
        log = c.log()
        c.log_file.unlink()
        assert "oo many open files" in log, (nofile, log)
        assert "error: \n" not in log and "http_port names another" not in log, (nofile, log)
        said.add("no descriptor is free for a listening socket" in log)
    assert True in said


def test_a_stderr_that_nobody_reads_holds_nothing_up(caddis, folder, eventually):
    """What a refused reload has to say waits for the reader; the control thread does not. Nor does
    the parent when it has to start another server."""
    os.mkfifo(folder / "err")
    pipe = os.open(folder / "err", os.O_RDWR | os.O_NONBLOCK)
    fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, 4096)
    c = caddis(say("one"), wrap=["sh", "-c", f'exec "$@" 2>{folder}/err', "sh"])
    try:
        with pytest.raises(BlockingIOError):
            while True:
                os.write(pipe, b"x")
        c.write("nonsense {\n\tnonsense\n}\n")
        c.notified.clear()
        c.signal(signal.SIGHUP)
        c.wait_notified("READY=1")  # it has been refused
        assert c.get().body == b"one"
        c.reload(say("two") + "\nhttp://empty.test {\n}")  # which is worth a warning at the start
        assert c.get().body == b"two"
        c.expect_restart = True
        old = c.children()
        os.kill(old[0], signal.SIGKILL)
        eventually(lambda: c.children() not in ([], old))
        assert c.get().body == b"two"
        c.stop()
    finally:
        os.close(pipe)
