"""Whatever an origin does wrong: what the client sees, over HTTP/1.1 and HTTP/2. The rows are those
of the table in proxy/README.md."""

import contextlib
import pathlib
import re
import shutil
import ssl
import tempfile
import threading

import pytest
from lib.caddis import Caddis
from lib.certs import Authority
from lib.frames import INTERNAL_ERROR, NO_ERROR, WINDOW_UPDATE, Frames
from lib.origin import Scripted
from lib.raw import Closed

OK = b"HTTP/1.1 200 OK\r\n"
SOME = b"x" * 1000
done = threading.Event()  # whoever stays silent does so until the tests are over


def sends(data, then="close", body=True):
    def script(raw):
        raw.read_request(body=body)
        with contextlib.suppress(Closed):
            for piece in data if isinstance(data, list) else [data]:
                raw.send(piece)
        if then == "reset":
            raw.reset()
        elif then == "silence":
            done.wait(60)
    return script


def accepted_and_reset(raw):
    raw.reset()


def endless_interim(raw):
    raw.read_request()
    with contextlib.suppress(Closed):
        while True:
            raw.send(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")


def cut_in_body(head):
    """The head must have reached the client before the reset, which throws away what is unread."""
    def script(raw):
        raw.read_request()
        raw.send(OK + head)
        seen.wait(20)
        raw.reset()
    return script


seen = threading.Event()  # the client has the beginning of the response
CUT = "cut"
FAULTS = {  # what it does, the status, what of the body comes (bytes, CUT: then it is cut off)
    "refuses": (None, 502, None),
    "accepts and resets": (accepted_and_reset, 502, None),
    "resets before the head": (sends(b"", "reset"), 502, None),
    "closes before the head": (sends(b""), 502, None),
    "resets in the head": (sends(OK + b"Content-", "reset"), 502, None),
    "closes in the head": (sends(OK + b"Content-"), 502, None),
    "slow head": (sends(OK + b"Content-", "silence"), 504, None),
    "resets in the body": (cut_in_body(b"Content-Length: 5000\r\n\r\n" + SOME), 200, CUT),
    "closes in the body": (sends(OK + b"Content-Length: 5000\r\n\r\n" + SOME), 200, CUT),
    "closes between chunks": (
        sends(OK + b"Transfer-Encoding: chunked\r\n\r\n3e8\r\n" + SOME + b"\r\n"), 200, CUT),
    "slow body": (sends(OK + b"Content-Length: 5000\r\n\r\n" + SOME, "silence"), 200, CUT),
    "garbage in chunks": (
        sends(OK + b"Transfer-Encoding: chunked\r\n\r\n3e8\r\n" + SOME + b"\r\nzz\r\n"), 200, CUT),
    "no close_notify": (sends(OK + b"\r\n" + SOME), 200, CUT),
    "more than its length": (sends(OK + b"Content-Length: 1000\r\n\r\n" + SOME + b"HTTP/1.1 200 OK"
                                   b"\r\nContent-Length: 4\r\n\r\nevil"), 200, SOME),
    "body behind 204": (sends(b"HTTP/1.1 204 No Content\r\n\r\nevil"), 204, b""),
    "garbage": (sends(b"\x00\xff not HTTP\r\n\r\n"), 502, None),
    "two lengths": (sends(OK + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!"), 502, None),
    "length and chunked": (sends(OK + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"
                                 b"0\r\n\r\n"), 502, None),
    "101 unasked": (sends(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n"
                          b"Upgrade: websocket\r\n\r\n", "silence"), 502, None),
    "endless 1xx": (endless_interim, 502, None),
    "huge head": (sends([OK] + [b"X-%d: " % i + SOME + b"\r\n" for i in range(200)]), 502, None),
    "answers early": (sends(b"HTTP/1.1 413 No\r\nContent-Length: 3\r\n\r\nno!", "silence", False),
                      413, b"no!"),
    "takes no request body": (lambda raw: (raw.read_head(), done.wait(60)), 504, None),
}
UPLOADS = {"answers early", "takes no request body"}


@pytest.fixture(scope="module")
def shared():
    done.clear()
    folder = pathlib.Path(tempfile.mkdtemp(prefix="cd", dir="/tmp"))
    authority = Authority(folder)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*map(str, authority.issue("localhost")))
    context.options |= ssl.OP_IGNORE_UNEXPECTED_EOF
    origins, sites = [], []
    for name, (script, *_) in FAULTS.items():
        secure = name == "no close_notify"
        o = Scripted(script or (lambda raw: None), tls=context if secure else None)
        o.closing = True  # sockets break under the scripts' hands, as they must
        if not script:
            o.stop_listening()
        origins.append(o)
        to = f"https://localhost:{o.port}" if secure else o.address
        trust = f"tls_trust_pool file {authority.path}" if secure else ""
        sites.append(f"""http://{name.replace(' ', '-').replace('_', '-')}.localhost {{
	reverse_proxy {to} {{
		transport http {{
			response_header_timeout 500ms
			read_timeout 500ms
			write_timeout 500ms
			{trust}
		}}
	}}
}}""")
    sites.append("http://fine.localhost {\n\trespond fine\n}")
    c = Caddis("\n".join(sites), globals="servers {\n\tprotocols h1 h2 h2c\n}")
    yield c
    done.set()
    try:
        c.stop()
        c.check_reports()
    finally:
        c.clean()
        for o in origins:
            o.finish()
        shutil.rmtree(folder)


def ask_h1(c, host, upload):
    """The status, the body (or what came of it), whether it was cut off, and the connection."""
    connection = c.connect()
    connection.host = host
    if upload:
        connection.send(f"POST / HTTP/1.1\r\nHost: {host}\r\nContent-Length: 100000000\r\n\r\n")
        with contextlib.suppress(Closed, OSError):
            connection.send_until_stalled(SOME * 65, 30 << 20, quiet=0.3)
    else:
        connection.send(f"GET / HTTP/1.1\r\nHost: {host}\r\n\r\n")
    head = connection.read_response(body=False)
    chunked = head.has_token("Transfer-Encoding", "chunked")
    body = b""
    try:
        if head.status == 204:
            return head.status, body, False, connection
        while not chunked and len(body) < min(1000, int(head.get("Content-Length"))):
            assert connection.buffer or connection.fill()
            body += connection.take(5000)
        if chunked:
            body = connection.read_chunk()
        seen.set()
        if chunked:
            while piece := connection.read_chunk():
                body += piece
            connection.read_trailers()
        else:
            body += connection.recv_exactly(int(head.get("Content-Length")) - len(body))
    except Closed:
        return head.status, body, True, connection
    return head.status, body, False, connection


def ask_h2(c, host, upload):
    f = Frames(c.connect(), host=host)
    f.handshake()
    stream = f.headers(f.fields("POST" if upload else "GET"), end=not upload)
    a, body = None, b""
    credit = {0: 65535, stream: f.peer[4]}
    for x in f.seen:
        if x.kind == WINDOW_UPDATE:
            credit[x.stream] += int.from_bytes(x.payload, "big")
    while True:
        n = min(16384, *credit.values()) if upload and not a else 0
        if n:
            f.data(stream, b"u" * n)
            credit = {k: v - n for k, v in credit.items()}
            continue
        x = f.recv()
        if x.kind == WINDOW_UPDATE and x.stream in credit:
            credit[x.stream] += int.from_bytes(x.payload, "big")
        if x.stream != stream:
            continue
        if x.kind == 1 and x.fields and not dict(x.fields)[":status"].startswith("1"):
            a = int(dict(x.fields)[":status"])
        body += x.payload if x.kind == 0 else b""
        if len(body) >= 1000:
            seen.set()
        if x.kind == 3:
            assert x.code in (INTERNAL_ERROR, NO_ERROR), x.code
            return a, body, x.code == INTERNAL_ERROR, f
        if x.kind in (0, 1) and x.flags & 1:
            return a, body, False, f


@pytest.mark.parametrize("version", ["h1", "h2"])
@pytest.mark.parametrize("name", FAULTS)
def test_fault(shared, name, version):
    _, status, body = FAULTS[name]
    host = name.replace(" ", "-").replace("_", "-") + ".localhost"
    seen.clear()
    ask = ask_h1 if version == "h1" else ask_h2
    got, content, cut, connection = ask(shared, host, name in UPLOADS)
    assert got == status
    if body is None:
        assert not cut and re.search(rb"\d+\.\d+\.\d+\.\d+:\d+", content), content  # a page of ours
    elif body is CUT:
        assert cut and SOME.startswith(content), (cut, content)
    else:
        assert not cut and content == body
    # The client's connection is as good as before, where that can be.
    if version == "h2":
        assert connection.alive()
        connection.raw.close()
    else:
        if not cut and name not in UPLOADS:
            assert connection.get(host="fine.localhost").body == b"fine"
        connection.close()
    assert shared.get(host="fine.localhost").body == b"fine"


def test_the_table_has_every_row():
    table = (pathlib.Path(__file__).resolve().parents[2] / "proxy/README.md").read_text()
    rows = re.findall(r"^\| ([^|]+?) \| (\d{3})", table, re.M)
    assert rows == [(name, str(status)) for name, (_, status, _) in FAULTS.items()]
