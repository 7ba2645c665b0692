"""BIND: the primary of one zone that takes dynamic updates signed with a key (Bind), and a small
world of name servers below a root of its own (Delegated)."""

import base64
import os
import pathlib
import shutil
import socket
import subprocess
import time

from .ports import free_port

NAMED = shutil.which("named", path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")


class Named:
    """One process of named. options: lines of its options block; conf: what stands beside it."""

    def __init__(self, folder, address, port, options, conf):
        assert NAMED, "named is missing: install bind9"
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(exist_ok=True)
        self.host, self.port = address, port
        (self.folder / "named.conf").write_text(f"""
            options {{
                directory "{self.folder}"; pid-file "{self.folder}/pid";
                session-keyfile "{self.folder}/session.key";
                listen-on port {port} {{ {address}; }}; listen-on-v6 {{ none; }};
                dnssec-validation no; notify no;
                {options}
            }};
            controls {{ }};
            {conf}
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

    def values(self, name):
        """The TXT records at name."""
        question = b"\x12\x34\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00"
        question += b"".join(bytes([len(p)]) + p.encode() for p in name.split(".")) + b"\0"
        question += b"\x00\x10\x00\x01"
        with socket.create_connection((self.host, self.port), 10) as sock:
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


class Bind(Named):
    KEY = "caddis-key"

    def __init__(self, folder, zone, algorithm="hmac-sha256", records=(), address="127.0.0.1",
                 port=None, options=""):
        """records: further lines of the zone file."""
        self.zone, self.algorithm = zone, algorithm
        self.secret = base64.b64encode(os.urandom(32)).decode()
        folder = pathlib.Path(folder) / f"bind-{zone}"
        folder.mkdir()
        port = port or free_port()
        self.address = f"{address}:{port}"
        (folder / "zone").write_text("\n".join([
            f"$ORIGIN {zone}.", "$TTL 1", "@ SOA ns hostmaster 1 2 2 86400 1", "@ NS ns",
            f"ns A {address}", *records, ""]))
        super().__init__(folder, address, port, "recursion no;" + options, f"""
            key "{self.KEY}" {{ algorithm {algorithm}; secret "{self.secret}"; }};
            zone "{zone}" {{
                type primary; file "{folder}/zone"; allow-update {{ key "{self.KEY}"; }};
            }};
        """)

    def options(self, **other):
        """dns rfc2136's block."""
        options = {"key_name": self.KEY, "key_alg": self.algorithm, "key": self.secret,
                   "server": self.address, **other}
        return "{\n" + "\n".join(f"\t\t{k} {v}" for k, v in options.items()) + "\n\t}"


class Delegated:
    """A root, `parent` below it and `child` below that, each with servers of their own at port 53 of
    addresses of the loopback net (needs root): two of the child, of which `second` copies `first` and lags some
    seconds behind. `resolver` is what a machine would ask; wrap makes a program ask it."""

    def __init__(self, folder, net, parent, child, records=()):
        """net: "127.9.8", a net that is nobody else's. records: lines of the parent's zone."""
        self.folder = pathlib.Path(folder)
        self.made = []
        self.at = at = [f"{net}.{i}" for i in range(1, 5)]
        for address in at:  # named listens at the addresses of interfaces only
            subprocess.run(["ip", "address", "add", f"{address}/32", "dev", "lo"], check=True)
        self.first = self._keep(Bind(folder, child, address=at[2], port=53,
                                     records=["@ NS ns2", f"ns2 A {at[3]}"],
                                     options=f"allow-transfer {{ {at[3]}; }};"))
        self.second = self._keep(Named(self.folder / "second", at[3], 53, f"""
            recursion no; transfer-source {at[3]}; min-refresh-time 4; max-refresh-time 4;
            min-retry-time 4; max-retry-time 4;""", f"""
            zone "{child}" {{ type secondary; primaries {{ {at[2]}; }}; file "copy";
                             masterfile-format text; }};"""))
        label = child[: -len(parent) - 1]
        self.parent = self._keep(Bind(folder, parent, address=at[1], port=53, records=[
            f"{label} NS ns.{label}", f"ns.{label} A {at[2]}",
            f"{label} NS ns2.{label}", f"ns2.{label} A {at[3]}", *records]))
        (self.folder / "root").mkdir()
        (self.folder / "root/zone").write_text("\n".join([
            "$TTL 1", ". SOA a. b. 1 3600 600 86400 1", f". NS root.", f"root. A {at[0]}",
            f"{parent}. NS ns.{parent}.", f"ns.{parent}. A {at[1]}", ""]))
        self.resolver = self._keep(Named(self.folder / "root", at[0], 53, f"""
            recursion yes; allow-recursion {{ any; }}; max-ncache-ttl 0; max-cache-ttl 1;
            query-source address {at[0]}; empty-zones-enable no; qname-minimization off;""",
            'zone "." { type primary; file "zone"; };'))
        (self.folder / "resolv.conf").write_text(f"nameserver {at[0]}\n")

    def _keep(self, server):
        self.made.append(server)
        return server

    @property
    def wrap(self):
        """argv in front: its own /etc/resolv.conf (needs root)."""
        return ["unshare", "-m", "sh", "-c",
                f'mount --bind {self.folder}/resolv.conf /etc/resolv.conf && exec "$@"', "sh"]

    def finish(self):
        for server in self.made:
            server.finish()
        for address in self.at:
            subprocess.run(["ip", "address", "del", f"{address}/32", "dev", "lo"], check=True)
