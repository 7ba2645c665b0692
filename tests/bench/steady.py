"""Does caddis stay as it is? Its memory after a million requests and after a thousand reloads.

In: a function that starts it. Out: bars (report.Bar): what memory was once everything had been done
often, what it was at the end, and whether that is the same."""

import contextlib
import subprocess
import time

import held  # needs packages that prepare() installs
import rows
from proxies import PLAIN, TLS, Proxy
from report import Bar, mib

REQUESTS = 1_000_000
RELOADS, WARM_RELOADS = 1000, 100
SITES = 50
GROWTH = 256 * 1024  # bytes: what an allocator may be off by, and no leak a request or a reload


def requests(folder, binary, share=1.0):
    """Three ways, a third each, and all that twice; share: of the million, for a quick run."""
    ways = ((PLAIN, "--h1", "-c", 64), (TLS, "--h1", "-c", 64), (TLS, "-c", 16, "-m", 16))
    half = int(REQUESTS * share) // 2
    with Proxy("caddis", folder, binary) as proxy:
        memory = []
        for _ in range(2):
            for port, *options in ways:
                rows.count_requests(half // len(ways), port, *options)
            memory.append(rows.settled(proxy))
    what = f"memory after {2 * half:,} requests (HTTP, HTTPS, HTTP/2)"
    return [Bar(what, f"{mib(memory[1])}; {mib(memory[0])} after {half:,}",
                "flat", memory[1] - memory[0] <= GROWTH)]


def site(i, generation):
    return (f"http://s{i}.test:{PLAIN} {{\n\theader X-Generation {generation}\n\tencode gzip\n"
            f"\t@api path /api/* /v{i}/*\n\thandle @api {{\n\t\trespond {i}\n\t}}\n"
            f"\thandle {{\n\t\treverse_proxy 127.0.0.1:1\n\t}}\n}}\n")


def reloads(folder, binary, share=1.0):
    """Fifty sites and a TLS one, each time changed; a WebSocket stays open all the while."""
    count = int(RELOADS * share)
    with Proxy("caddis", folder, binary) as proxy, contextlib.ExitStack() as stack:
        config = folder / "caddis.conf"
        text = config.read_text()
        socket = held.websocket(TLS, "/held/echo")
        stack.callback(socket.close)
        memory, descriptors, begin = [], [], time.monotonic()
        for i in range(1, count + 1):
            config.write_text(text + "".join(site(k, i) for k in range(SITES)))
            subprocess.run([binary, "reload", "--config", config, "--adapter", "caddyfile"],
                           check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            if i in (min(WARM_RELOADS, count // 2), count):
                took = (time.monotonic() - begin) / i
                memory.append(rows.settled(proxy))
                descriptors.append(proxy.descriptors())
        socket.send(held.MESSAGE)
        alive = socket.recv_exactly(len(held.MESSAGE)) == held.MESSAGE
    return [
        Bar(f"memory after {count:,} reloads of {SITES} sites",
            f"{mib(memory[1])}; {mib(memory[0])} after {min(WARM_RELOADS, count // 2)}; "
            f"{took * 1e3:.0f} ms each", "flat", memory[1] - memory[0] <= GROWTH),
        Bar("what else a reload leaves", f"{descriptors[1] - descriptors[0]:+d} descriptors; "
            f"the WebSocket {'lives' if alive else 'is gone'}", "nothing",
            descriptors[1] <= descriptors[0] + 2 and alive),
    ]
