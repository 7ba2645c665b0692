"""BIND as the primary of one zone that takes dynamic updates signed with a key."""

import base64
import os
import pathlib
import shutil
import socket
import subprocess
import time

from .ports import free_port

NAMED = shutil.which("named", path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")


class Bind:
    KEY = "caddis-key"

    def __init__(self, folder, zone, algorithm="hmac-sha256", records=()):
        """records: further lines of the zone file."""
        assert NAMED, "named is missing: install bind9"
        self.folder = pathlib.Path(folder) / "bind"
        self.folder.mkdir()
        self.zone, self.algorithm = zone, algorithm
        self.port = free_port()
        self.address = f"127.0.0.1:{self.port}"
        self.secret = base64.b64encode(os.urandom(32)).decode()
        (self.folder / "zone").write_text("\n".join([
            f"$ORIGIN {zone}.", "$TTL 1", "@ SOA ns hostmaster 1 3600 600 86400 1", "@ NS ns",
            "ns A 127.0.0.1", *records, ""]))
        (self.folder / "named.conf").write_text(f"""
            key "{self.KEY}" {{ algorithm {algorithm}; secret "{self.secret}"; }};
            options {{
                directory "{self.folder}"; pid-file "{self.folder}/pid";
                session-keyfile "{self.folder}/session.key";
                listen-on port {self.port} {{ 127.0.0.1; }}; listen-on-v6 {{ none; }};
                recursion no; dnssec-validation no; notify no;
            }};
            controls {{ }};
            zone "{zone}" {{
                type primary; file "{self.folder}/zone"; allow-update {{ key "{self.KEY}"; }};
            }};
        """)
        # From a folder of its own: a profile of AppArmor for /usr/sbin/named does not know ours.
        binary = self.folder / "named"
        shutil.copy(NAMED, binary)
        self.log = open(self.folder / "log", "ab")
        self.process = subprocess.Popen(
            [str(binary), "-g", "-n", "1", "-c", str(self.folder / "named.conf")],
            stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log, cwd=self.folder)
        end = time.monotonic() + 30
        while "running" not in (self.folder / "log").read_text(errors="replace"):
            assert self.process.poll() is None and time.monotonic() < end, \
                (self.folder / "log").read_text(errors="replace")
            time.sleep(0.05)

    def options(self, **other):
        """dns rfc2136's block."""
        options = {"key_name": self.KEY, "key_alg": self.algorithm, "key": self.secret,
                   "server": self.address, **other}
        return "{\n" + "\n".join(f"\t\t{k} {v}" for k, v in options.items()) + "\n\t}"

    def values(self, name):
        """The TXT records at name."""
        question = b"\x12\x34\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00"
        question += b"".join(bytes([len(p)]) + p.encode() for p in name.split(".")) + b"\0"
        question += b"\x00\x10\x00\x01"
        with socket.create_connection(("127.0.0.1", self.port), 10) as sock:
            sock.sendall(len(question).to_bytes(2, "big") + question)
            file = sock.makefile("rb")
            answer = file.read(int.from_bytes(file.read(2), "big"))
        found, at = [], len(question)
        for _ in range(int.from_bytes(answer[6:8], "big")):
            at += 2 + 8  # BIND points to the question's name
            n = int.from_bytes(answer[at:at + 2], "big")
            found.append(answer[at + 3:at + 2 + n].decode())
            at += 2 + n
        return found

    def finish(self):
        self.process.terminate()
        self.process.wait(30)
        self.log.close()
