"""A name server for tests, over UDP and TCP on one port of 127.0.0.1.

`records` maps (name, type) to a list of values or to a string that says how to fail: "servfail",
"nxdomain", "silent". Values: of A and AAAA an address; of SRV (priority, weight, port, target). It
may be changed while it runs. Names that are not there are NXDOMAIN, types that are not there empty.
"""

import socket
import struct
import threading

TYPES = {1: "A", 28: "AAAA", 33: "SRV"}
FAMILIES = {"A": socket.AF_INET, "AAAA": socket.AF_INET6}


def labels(name):
    return b"".join(bytes([len(p)]) + p.encode() for p in name.split(".") if p) + b"\0"


class NameServer:
    def __init__(self, records, ttl=60, truncate=False):
        self.records = dict(records)
        self.ttl = ttl
        self.truncate = truncate  # over UDP only "ask again over TCP"
        self.asked = []  # (name, type, "udp" or "tcp")
        self.closing = False
        while True:
            self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            self.udp.bind(("127.0.0.1", 0))
            self.port = self.udp.getsockname()[1]
            self.tcp = socket.socket()
            try:
                self.tcp.bind(("127.0.0.1", self.port))
                break
            except OSError:
                self.udp.close()
                self.tcp.close()
        self.tcp.listen(16)
        self.address = f"127.0.0.1:{self.port}"
        for serve in (self._serve_udp, self._serve_tcp):
            threading.Thread(target=serve, daemon=True).start()

    def count(self, name, kind="A"):
        return len([a for a in self.asked if a[:2] == (name, kind)])

    def _serve_udp(self):
        while True:
            try:
                packet, peer = self.udp.recvfrom(4096)
                reply = self.reply(packet, "udp")
                if reply:
                    self.udp.sendto(reply, peer)
            except OSError:
                return

    def _serve_tcp(self):
        while True:
            try:
                connection, _ = self.tcp.accept()
            except OSError:
                return
            threading.Thread(target=self._answer_tcp, args=(connection,), daemon=True).start()

    def _answer_tcp(self, connection):
        with connection:
            connection.settimeout(20)
            try:
                while True:
                    head = connection.recv(2, socket.MSG_WAITALL)
                    if len(head) < 2:
                        return
                    packet = connection.recv(struct.unpack("!H", head)[0], socket.MSG_WAITALL)
                    reply = self.reply(packet, "tcp")
                    if reply:
                        connection.sendall(struct.pack("!H", len(reply)) + reply)
            except OSError:
                return

    def reply(self, packet, transport):
        at, parts = 12, []
        while packet[at]:
            parts.append(packet[at + 1:at + 1 + packet[at]].decode())
            at += packet[at] + 1
        name = ".".join(parts).lower()
        question = packet[12:at + 5]
        kind = TYPES.get(struct.unpack("!H", packet[at + 1:at + 3])[0], "?")
        self.asked.append((name, kind, transport))
        known = any(n == name for n, _ in self.records)
        values = self.records.get((name, kind), [] if known else "nxdomain")
        if values == "silent":
            return None
        code = {"servfail": 2, "nxdomain": 3}.get(values, 0) if isinstance(values, str) else 0
        values = [] if isinstance(values, str) else values
        truncated = self.truncate and transport == "udp" and values
        flags = 0x8180 | code | (0x0200 if truncated else 0)
        values = [] if truncated else values
        head = packet[:2] + struct.pack("!HHHHH", flags, 1, len(values), 0, 0)
        answers = b""
        for value in values:
            if kind == "SRV":
                data = struct.pack("!HHH", *value[:3]) + labels(value[3])
                number = 33
            else:
                data = socket.inet_pton(FAMILIES[kind], value)
                number = 1 if kind == "A" else 28
            answers += b"\xc0\x0c" + struct.pack("!HHIH", number, 1, self.ttl, len(data)) + data
        return head + question + answers

    def finish(self):
        self.closing = True
        self.udp.close()
        try:
            self.tcp.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.tcp.close()
