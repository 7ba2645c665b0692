"""Runs the program under test.

One Caddis is one `caddis run` with a Caddyfile, a store and a control socket in a folder of its
own. It is ready when it has said READY=1 to $NOTIFY_SOCKET. stop() ends it with SIGTERM and fails
the test if it did not end cleanly, if a sanitizer reported anything, or if the server process died
and was started again without the test having asked for that (`expect_restart`).

CADDIS_BIN is the binary (default build-asan/caddis); CADDIS_PLAIN_BIN one without sanitizers, for
tests that measure time or memory or run under strace (default build-plain/caddis).
"""

import os
import pathlib
import shutil
import signal
import socket
import subprocess
import tempfile
import time

from . import raw
from .ports import free_port

ROOT = pathlib.Path(__file__).resolve().parents[3]
BIN = pathlib.Path(os.environ.get("CADDIS_BIN", ROOT / "build-asan/caddis")).absolute()
PLAIN_BIN = pathlib.Path(os.environ.get("CADDIS_PLAIN_BIN", ROOT / "build-plain/caddis")).absolute()
START_TIMEOUT = 20.0
STOP_TIMEOUT = 20.0


def environment(folder, extra=None):
    """An environment in which nothing of the caller's can leak into a test."""
    env = {
        "PATH": os.environ.get("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"),
        "LANG": "C.UTF-8",
        "HOME": str(folder),
        "XDG_DATA_HOME": str(folder / "data"),
        "XDG_CONFIG_HOME": str(folder / "config"),
        "XDG_RUNTIME_DIR": str(folder),
        "ASAN_OPTIONS": f"log_path={folder}/sanitizer:quarantine_size_mb=16:exitcode=99",
        "UBSAN_OPTIONS": f"log_path={folder}/sanitizer:print_stacktrace=1:halt_on_error=1",
        "LSAN_OPTIONS": f"log_path={folder}/sanitizer:exitcode=99",
        "TSAN_OPTIONS": f"log_path={folder}/sanitizer:exitcode=99:history_size=4"
                        f":suppressions={ROOT}/tests/tsan.supp",
    }
    env.update(extra or {})
    return env


def command(*args, folder=None, binary=None, env=None, timeout=60, **options):
    """Runs a subcommand to its end. Returns the CompletedProcess, with text output."""
    made = folder is None
    folder = pathlib.Path(folder or tempfile.mkdtemp(prefix="cd", dir="/tmp"))
    try:
        # Files, not pipes: what `start` leaves running may keep them open.
        with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
            done = subprocess.run(
                [str(binary or BIN), *map(str, args)],
                env=environment(folder, env),
                cwd=options.pop("cwd", folder),
                stdin=options.pop("stdin", subprocess.DEVNULL),
                stdout=out,
                stderr=err,
                timeout=timeout,
                **options,
            )
            out.seek(0)
            err.seek(0)
            done.stdout, done.stderr = out.read(), err.read()
        reports = [p.read_text(errors="replace") for p in folder.glob("sanitizer*")]
        assert not reports, "\n".join(reports)
        return done
    finally:
        if made:
            shutil.rmtree(folder, ignore_errors=True)


class Caddis:
    def __init__(self, caddyfile, **options):
        """caddyfile: the sites; {http} and {https} in it are replaced by the ports. Options:
        globals (str: more global options), raw_file (no global block is put in front), store
        (folder), storage (the option, instead of that folder), http, https (ports), env, args,
        binary, wrap (argv in front), nofile (limit of descriptors), umask, user (uid and gid), start (False: do not start)."""
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="cd", dir="/tmp"))
        self.http = options.get("http") or free_port()
        self.https = options.get("https") or free_port()
        self.store = pathlib.Path(options.get("store") or self.folder / "store")
        self.admin = self.folder / "admin.sock"
        self.options = options
        self.globals = options.get("globals", "")
        self.file = self.folder / "Caddyfile"
        self.log_file = self.folder / "log"
        self.process = None
        self.expect_restart = False
        self.stopped = True
        self._children = []
        if options.get("user"):
            os.chmod(self.folder, 0o777)
        self.write(caddyfile)
        if options.get("start", True):
            self.start()

    # -- configuration --

    def text(self, caddyfile):
        caddyfile = caddyfile.replace("{http}", str(self.http)).replace("{https}", str(self.https))
        if self.options.get("raw_file"):
            return caddyfile
        lines = [
            f"http_port {self.http}",
            f"https_port {self.https}",
            *self.options.get("storage", f"storage file_system {self.store}").splitlines(),
            f"admin unix/{self.admin}",
            "skip_install_trust",
        ]
        if "grace_period" not in self.globals:
            lines.append("grace_period 2s")
        lines += [line.strip() for line in self.globals.strip().splitlines()]
        return "{\n" + "".join(f"\t{line}\n" for line in lines if line) + "}\n" + caddyfile + "\n"

    def write(self, caddyfile):
        self.file.write_text(self.text(caddyfile))

    # -- running --

    def start(self, wait=True):
        options = self.options
        notify = self.folder / "notify"
        notify.unlink(missing_ok=True)
        self.notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.notify.bind(str(notify))
        os.chmod(notify, 0o666)
        self.notified = []
        binary = pathlib.Path(options.get("binary") or BIN)
        assert binary.exists(), f"{binary} is not built"

        args = ["prlimit", f"--nofile={options['nofile']}"] if options.get("nofile") else []
        args += [*options.get("wrap", []), str(binary), "run", "--config", str(self.file)]
        args += ["--adapter", "caddyfile", *options.get("args", [])]
        self.log_stream = open(self.log_file, "ab")
        self.started = time.monotonic()
        # Without preexec_fn: Python then forks without the handlers that libraries have hung there
        # (gRPC's never return in a process with threads of its own).
        user = {"user": options["user"], "group": options["user"], "extra_groups": []} \
            if options.get("user") else {}
        self.process = subprocess.Popen(
            args,
            env=environment(self.folder, {"NOTIFY_SOCKET": str(notify), **options.get("env", {})}),
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=self.log_stream,
            stderr=self.log_stream,
            start_new_session=True,
            umask=options.get("umask", 0o022),
            **user,
        )
        self.stopped = False
        if wait:
            self.wait_ready()
        return self

    def wait_notified(self, word, timeout=START_TIMEOUT):
        """Waits for a state sent to systemd: READY=1, RELOADING=1, STOPPING=1."""
        end = time.monotonic() + timeout
        while word not in self.notified:
            self.notify.settimeout(0.1)
            try:
                self.notified += self.notify.recv(65536).decode().split("\n")
                continue
            except socket.timeout:
                pass
            assert self.process.poll() is None, (
                f"ended with {self.process.returncode} before {word}:\n{self.log()}"
            )
            assert time.monotonic() < end, f"no {word} within {timeout} s:\n{self.log()}"

    def wait_ready(self):
        self.wait_notified("READY=1")
        self._children = self.children()

    @property
    def pid(self):
        return self.process.pid

    def children(self):
        """The processes below ours: the server, when there is a parent of its own."""
        try:
            text = pathlib.Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text()
        except OSError:
            return []
        return [int(p) for p in text.split()]

    def processes(self):
        return [self.pid, *self.children()]

    def memory(self):
        """Resident bytes that are our own (not shared files), of all processes."""
        total = 0
        for pid in self.processes():
            for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
                if line.startswith("RssAnon:"):
                    total += int(line.split()[1]) * 1024
        return total

    def descriptors(self):
        return sum(len(os.listdir(f"/proc/{pid}/fd")) for pid in self.processes())

    def signal(self, number):
        self.process.send_signal(number)

    def kill(self):
        """SIGKILL to every process at the same instant, as a power cut would."""
        os.killpg(self.pid, signal.SIGKILL)
        self.process.wait()
        self._ended()

    def wait(self, timeout=STOP_TIMEOUT):
        """Until it has ended by itself (or by a signal that the test sent); its exit status."""
        try:
            return self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still running after {timeout} s:\n{self.log()}") from None
        finally:
            self._ended()

    def stop(self, status=0, timeout=STOP_TIMEOUT):
        """SIGTERM; must end within timeout with this exit status and no sanitizer report."""
        if self.stopped:
            return
        died = (not self.expect_restart and self._children and self.process.poll() is None
                and self.children() != self._children)
        self.signal(signal.SIGTERM)
        got = self.wait(timeout)
        self.check_reports()
        assert not died, f"the server process died and was replaced:\n{self.log()}"
        assert got == status, f"ended with {got}:\n{self.log()}"

    def _ended(self):
        """Whatever happened, nothing of ours is left running."""
        if self.stopped:
            return
        self.stopped = True
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait()
        self.notify.close()
        self.log_stream.close()

    def check_reports(self):
        reports = [p.read_text(errors="replace") for p in self.folder.glob("sanitizer*")]
        assert not reports, "\n".join(reports)
        log = self.log()
        for word in ("AddressSanitizer", "runtime error:", "ThreadSanitizer", "Assertion"):
            assert word not in log, log

    def clean(self):
        shutil.rmtree(self.folder, ignore_errors=True)

    def log(self):
        return self.log_file.read_text(errors="replace") if self.log_file.exists() else ""

    def wait_log(self, word, timeout=20.0):
        end = time.monotonic() + timeout
        while word not in self.log():
            assert time.monotonic() < end, f"{word!r} not logged within {timeout} s:\n{self.log()}"
            time.sleep(0.05)

    def command(self, *args, **options):
        return command(
            *args, folder=self.folder, binary=self.options.get("binary"),
            env=self.options.get("env"), **options,
        )

    def reload(self, caddyfile=None, status=0):
        """`caddis reload`; returns the CompletedProcess."""
        if caddyfile is not None:
            self.write(caddyfile)
        done = self.command("reload", "--config", self.file, "--adapter", "caddyfile")
        assert done.returncode == status, f"{done.stdout}{done.stderr}\n{self.log()}"
        return done

    # -- talking to it --

    def connect(self, port=None, host="localhost", **options):
        return raw.connect(port or self.http, host, **options)

    def connect_tls(self, host="localhost", port=None, **options):
        """Verified against the store's local CA unless other trust options are given."""
        if not options.keys() & {"cafile", "cadata", "context", "verify"}:
            options["cafile"] = self.wait_root()
        options.pop("verify", None)
        return raw.connect_tls(port or self.https, host, **options)

    @property
    def root(self):
        return self.store / "pki/authorities/local/root.crt"

    def wait_root(self, timeout=20.0):
        end = time.monotonic() + timeout
        while not self.root.exists() or not self.root.read_text().rstrip().endswith("-"):
            assert time.monotonic() < end, f"no root certificate:\n{self.log()}"
            time.sleep(0.02)
        return self.root

    def get(self, target="/", host="localhost", port=None, fields=()):
        """One plain GET on a connection of its own."""
        with self.connect(port, host) as c:
            return c.get(target, [*fields, ("Connection", "close")])

    def wait_certificate(self, host="localhost", timeout=30.0, **options):
        """Until a verified handshake for host succeeds; returns the leaf in DER."""
        end = time.monotonic() + timeout
        while True:
            try:
                with self.connect_tls(host, **options) as c:
                    return c.sock.getpeercert(binary_form=True)
            except (OSError, AssertionError) as e:
                if time.monotonic() > end:
                    raise AssertionError(f"no certificate for {host}: {e}\n{self.log()}") from None
                time.sleep(0.05)
