"""A php-fpm of a test's own: Debian's, with its own configuration and socket."""

import glob
import socket
import subprocess
import time


class Php:
    def __init__(self, folder, *lines):
        """lines: more of the pool's configuration. It listens on a Unix socket in folder."""
        self.folder = folder
        self.socket = folder / "php.sock"
        binaries = sorted(glob.glob("/usr/sbin/php-fpm*"))
        assert binaries, "php-fpm is missing: cmd/packages test"
        config = folder / "fpm.conf"
        config.write_text("\n".join([
            "[global]", f"error_log = {folder}/fpm.log", "daemonize = no", "[www]",
            f"listen = {self.socket}", "listen.mode = 0666", "user = root", "group = root",
            "pm = static", "pm.max_children = 2", *lines, ""]))
        self.process = subprocess.Popen([binaries[-1], "-n", "-R", "-F", "-y", str(config)],
                                        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                        stderr=subprocess.DEVNULL)
        end = time.monotonic() + 30
        while True:
            try:
                with socket.socket(socket.AF_UNIX) as s:
                    s.connect(str(self.socket))
                return
            except OSError:
                assert self.process.poll() is None and time.monotonic() < end, self.log()
                time.sleep(0.02)

    @property
    def address(self):
        return f"unix/{self.socket}"

    def log(self):
        path = self.folder / "fpm.log"
        return path.read_text(errors="replace") if path.exists() else "no log"

    def finish(self):
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
