"""What the bench measures while a proxy runs: requests, latency, what connections hold.

In: a running Proxy, a row of ROWS, seconds. Out: measure()'s numbers, by the row's kind:

    wrk, h2load, handshake, messages    (CPU seconds for one request, requests a second)
    latency                             seconds: the 50th, 99th and 99.9th percentile
    start, idle, held                   (bytes, None): of a fresh process; for each of IDLE
                                        connections that have made a request; for all that held.py
                                        holds. What the kernel's socket buffers hold is not in it.
"""

import re
import subprocess
import sys
import time

from proxies import BUILD, HELD, LOAD_CORE, LOGGED, PLAIN, TLS, client_env, run

IDLE = 2000

COST = {
    "1 KB, HTTP": ("wrk", PLAIN, "/1k", 64),
    "1 KB, HTTPS": ("wrk", TLS, "/1k", 64),
    "1 KB, HTTP/2": ("h2load", "/1k", 16, 16),
    "1 KB, HTTPS, access log": ("wrk", LOGGED, "/1k", 64),
    "10 MB, HTTP": ("wrk", PLAIN, "/10m", 4),
    "10 MB, HTTPS": ("wrk", TLS, "/10m", 4),
    "10 MB, HTTP/2": ("h2load", "/10m", 4, 1),
    "new connection, full handshake": ("handshake",),
    "WebSocket message there and back, TLS": ("messages",),
}
WORKERS = {"1 KB, HTTP": COST["1 KB, HTTP"], "1 KB, HTTPS": COST["1 KB, HTTPS"],
           "1 KB, HTTP/2": COST["1 KB, HTTP/2"]}
LATENCY = {
    "HTTPS": ("latency", "http/1.1", "/1k", 20, 100),
    "HTTP/2": ("latency", "h2", "/1k", 20, 100),
}
MEMORY = {
    "at the start": ("start",),
    "idle connection, HTTP": ("idle", "plain", PLAIN),
    "idle connection, HTTPS": ("idle", "tls", TLS),
    "idle connection, HTTP/2": ("idle", "h2", TLS),
    "idle WebSocket, TLS": ("idle", "ws", TLS),
    "8 stalled downloads, HTTPS": ("held", "downloads h1"),
    "8 stalled downloads, HTTP/2": ("held", "downloads h2"),
    "8 stalled uploads, HTTPS": ("held", "uploads h1"),
    "8 stalled uploads, HTTP/2": ("held", "uploads h2"),
}
# Left out of a quick run.
LONG = {"1 KB, HTTP, ", "1 KB, HTTP/2, ", "stalled"}


def floor_has(name, what):
    """It speaks no HTTP: not HTTP/2, it knows one origin, and writes no log."""
    kind, *rest = what
    return kind not in ("h2load", "messages", "held") and not {"h2", "ws", LOGGED} & set(rest)


def client(*args, **options):
    return run("taskset", "-c", LOAD_CORE, *args, stdout=subprocess.PIPE, text=True,
               env=client_env(), **options).stdout


def wrk(port, target, connections, seconds):
    scheme = "http" if port == PLAIN else "https"
    out = client("wrk", "-t", 1, "-c", connections, "-d", f"{seconds}s", "--timeout", "20s",
                 f"{scheme}://localhost:{port}{target}")
    found = re.search(r"(\d+) requests in ([\d.]+)(ms|s|m)", out)
    errors = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", out)
    if not found or "Non-2xx" in out or (errors and any(map(int, errors.groups()))):
        sys.exit(f"bench: errors under load:\n{out}")
    return int(found[1]), float(found[2]) * {"ms": 0.001, "s": 1, "m": 60}[found[3]]


def h2load(target, connections, streams, seconds):
    out = client("h2load", "-t", 1, "-c", connections, "-m", streams, "-D", seconds,
                 f"https://localhost:{TLS}{target}")
    return answered(out), seconds


def count_requests(count, port, *options):
    """COUNT requests for 1 KB, by h2load."""
    scheme = "http" if port == PLAIN else "https"
    out = client("h2load", "-t", 1, "-n", count, *options, f"{scheme}://localhost:{port}/1k")
    if answered(out) != count:
        sys.exit(f"bench: errors under load:\n{out}")


def answered(out):
    found = re.search(r"(\d+) succeeded, (\d+) failed", out)
    good = int(found[1]) if found else 0
    if not good or int(found[2]):
        sys.exit(f"bench: errors under load:\n{out}")
    return good


def latency(protocol, target, connections, rate, seconds):
    log = BUILD / "latency.log"
    log.unlink(missing_ok=True)
    client("h2load", "-t", 1, "-c", connections, "-m", 1, "--rps", rate, "-D", seconds,
           f"--npn-list={protocol}", f"--log-file={log}", f"https://localhost:{TLS}{target}")
    took = sorted(int(x.split()[2]) for x in log.read_text().splitlines() if x.split()[1] == "200")
    if not took:
        sys.exit("bench: nothing was answered at a fixed rate")
    return tuple(took[min(len(took) - 1, int(len(took) * q))] / 1e6 for q in (0.5, 0.99, 0.999))


def handshakes(seconds):
    good, errors, took = client(BUILD / "load", "handshake", TLS, 8, seconds).split()
    if int(errors):
        sys.exit(f"bench: {errors} handshakes failed")
    return int(good), float(took)


def idle(proxy, way, port):
    base = proxy.memory()
    load = subprocess.Popen(
        ["taskset", "-c", LOAD_CORE, BUILD / "load", "idle", way, str(port), str(IDLE)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=client_env())
    try:
        _, errors, _ = load.stdout.readline().split()
        if int(errors):
            sys.exit(f"bench: {errors} of {IDLE} idle connections failed ({way})")
        return (settled(proxy) - base) / IDLE, None
    finally:
        load.stdin.close()
        load.wait()


def held(proxy, what):
    import held as clients  # needs packages that prepare() installs
    base = proxy.memory()
    with clients.hold(what, TLS):
        return settled(proxy) - base, None


def settled(proxy):
    """Bytes, once they have stopped changing."""
    last, end = proxy.memory(), time.monotonic() + 15
    while True:
        time.sleep(0.5)
        now = proxy.memory()
        if abs(now - last) < 65536 or time.monotonic() > end:
            return now
        last = now


def measure(proxy, what, seconds):
    kind, *rest = what
    if kind == "latency":
        return latency(*rest, seconds)
    if kind == "start":
        return settled(proxy), None
    if kind == "idle":
        return idle(proxy, *rest)
    if kind == "held":
        return held(proxy, *rest)
    before = proxy.cpu()
    if kind == "wrk":
        requests, took = wrk(*rest, seconds)
    elif kind == "h2load":
        requests, took = h2load(*rest, seconds)
    elif kind == "handshake":
        requests, took = handshakes(seconds)
    else:
        requests, took = int(client(sys.executable, BUILD.parent / "tests/bench/held.py",
                                    "messages", TLS, seconds)), seconds
    return (proxy.cpu() - before) / requests, requests / took


def warm():
    """What is done once, by the first requests, is no row's cost."""
    for port in (PLAIN, TLS):
        count_requests(2000, port, "--h1", "-c", 2)
