"""Free TCP ports on loopback.

Ports are handed out once a run, from a range of each test worker's own below the kernel's ephemeral
ports, so that neither another worker nor an outgoing connection takes one between the look and
the use.
"""

import os
import socket

_WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:] or 0)
_FIRST = 10000 + (_WORKER % 10) * 2200
_LAST = _FIRST + 2199
_next = _FIRST


def _free(port):
    for family, address in ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")):
        try:
            with socket.socket(family, socket.SOCK_STREAM) as probe:
                if family == socket.AF_INET6:
                    probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind((address, port))
        except OSError as e:
            if family == socket.AF_INET6 and e.errno in (97, 99):  # no IPv6 here
                continue
            return False
    return True


def free_port():
    """A port that nobody listens on, and that no other call returns (until all were used)."""
    global _next
    for _ in range(_LAST - _FIRST + 1):
        port = _next
        _next = _next + 1 if _next < _LAST else _FIRST
        if _free(port):
            return port
    raise RuntimeError("no free port")
