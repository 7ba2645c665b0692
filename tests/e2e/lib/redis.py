"""A Redis server of a test's own: Debian's redis-server, keeping its data over a restart."""

import shutil
import socket
import subprocess
import time

from .ports import free_port


class Redis:
    def __init__(self, folder, *options, tls=None):
        """options: further words of its command line. tls: (certificate, key), for TLS only."""
        self.folder = folder
        self.port = free_port()
        self.process = None
        self.options = list(options)
        self.tls = tls
        assert shutil.which("redis-server"), "redis-server is missing: cmd/packages test"
        self.log = open(folder / "redis.log", "ab")
        self.start()

    @property
    def address(self):
        return f"127.0.0.1:{self.port}"

    def start(self):
        args = ["redis-server", "--bind", "127.0.0.1", "--dir", str(self.folder), "--save", "",
                "--appendonly", "yes", "--appendfsync", "always"]
        if self.tls:
            args += ["--port", "0", "--tls-port", str(self.port), "--tls-cert-file", str(self.tls[0]),
                     "--tls-key-file", str(self.tls[1]), "--tls-auth-clients", "no"]
        else:
            args += ["--port", str(self.port)]
        self.process = subprocess.Popen(args + self.options, stdin=subprocess.DEVNULL,
                                        stdout=self.log, stderr=self.log)
        end = time.monotonic() + 20
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError:
                assert self.process.poll() is None and time.monotonic() < end, "no redis-server"
                time.sleep(0.02)

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(20)

    def finish(self):
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.log.close()

    def cli(self, *words, password=None):
        """What redis-cli prints, as bytes."""
        args = ["redis-cli", "-p", str(self.port), "--raw"]
        if password:
            args += ["--no-auth-warning", "-a", password]
        return subprocess.run([*args, *words], capture_output=True, timeout=20, check=True).stdout

    def keys(self, pattern="*"):
        return sorted(self.cli("keys", pattern).decode().split())
