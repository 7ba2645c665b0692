"""encode: which answers are compressed, for whom, and that nothing is held that can be streamed."""

import shutil
import subprocess
import threading
import zlib

import pytest

from lib.h2origin import H2Origin, Reply
from lib.origin import Response

TEXT = b"".join(b"%d bottles of beer on the wall, " % n for n in range(30000))
ALL = "gzip, deflate, br, zstd"


def encoded(c, target="/", accept="gzip", **more):
    fields = [("Accept-Encoding", accept)] if accept else []
    return c.get(target, fields=fields + list(more.pop("fields", [])), **more)


def gunzip(data):
    d = zlib.decompressobj(31)
    text = d.decompress(data) + d.flush()
    assert d.eof, "the end of the gzip stream is missing"
    return text


def curl(c, target, accept, *more):
    """What a real client makes of it: (fields, body)."""
    done = subprocess.run(
        [shutil.which("curl"), "-sS", "--compressed", "-H", f"Accept-Encoding: {accept}", "-D-",
         *more, f"http://localhost:{c.http}{target}"], capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr
    head, _, body = done.stdout.partition(b"\r\n\r\n")
    return head.lower().decode(), body


@pytest.fixture
def site(folder):
    path = folder / "site"
    path.mkdir()
    (path / "a.txt").write_bytes(TEXT)
    (path / "b.css").write_bytes(TEXT)
    (path / "b.css.br").write_bytes(b"not really brotli")
    (path / "short.txt").write_bytes(b"x" * 511)
    (path / "long.txt").write_bytes(b"x" * 512)
    (path / "empty.txt").write_bytes(b"")
    (path / "photo.jpg").write_bytes(TEXT)
    return path


@pytest.fixture
def serve(caddis, site):
    def make(encode="encode", more="file_server"):
        return caddis(f"http://localhost {{\n\troot * {site}\n\t{encode}\n\t{more}\n}}")

    return make


def test_who_gets_what(serve):
    c = serve("encode zstd br gzip")
    for accept, coding in (
            ("gzip", "gzip"), (ALL, "zstd"), ("br;q=1.0, gzip;q=0.5, *;q=0.1", "br"),
            ("*", "zstd"), ("*;q=0", None), ("gzip;q=0", None), ("deflate", None), (None, None),
            ("identity;q=1, gzip;q=0.5", None), ("gzip;q=0.4, zstd;q=0.3", "gzip")):
        answer = encoded(c, "/a.txt", accept)
        assert answer.get("Content-Encoding") == coding, accept
        assert answer.get("Vary") == "Accept-Encoding", accept
        if coding:
            assert answer.get("Content-Length") is None and answer.get("Accept-Ranges") is None
            assert answer.get("ETag").startswith('W/"')
            assert len(answer.body) < len(TEXT) / 3
        else:
            assert answer.get("ETag").startswith('"') and answer.body == TEXT
    assert gunzip(encoded(c, "/a.txt", "gzip").body) == TEXT
    for accept in ("gzip", "br", "zstd"):
        head, body = curl(c, "/a.txt", accept)
        assert f"content-encoding: {accept}" in head and body == TEXT, accept
        head, body = curl(c, "/a.txt", accept, "--http1.0")
        assert f"content-encoding: {accept}" in head and body == TEXT, accept


def test_what_is_left_alone(serve):
    c = serve("encode", "file_server {\n\t\tprecompressed br\n\t}")
    for target in ("/short.txt", "/empty.txt", "/photo.jpg"):
        answer = encoded(c, target)
        assert answer.get("Content-Encoding") is None and answer.status == 200, target
    assert encoded(c, "/long.txt").get("Content-Encoding") == "gzip"
    assert encoded(c, "/b.css", "br, gzip").body == b"not really brotli"
    assert encoded(c, "/a.txt", "br").get("Content-Encoding") is None  # not named
    part = encoded(c, "/a.txt", fields=[("Range", "bytes=0-999")])
    assert (part.status, part.get("Content-Encoding"), part.body) == (206, None, TEXT[:1000])
    answer = encoded(c, "/a.txt", fields=[("Cache-Control", "no-transform")])
    assert answer.get("Content-Encoding") is None and answer.body == TEXT
    assert encoded(c, "/nothing").get("Content-Encoding") is None


def test_head_and_conditions(serve):
    c = serve("encode")
    with c.connect() as connection:
        fields = [("Accept-Encoding", "gzip")]
        head = connection.request("HEAD", "/a.txt", fields=fields)
        assert head.get("Content-Encoding") == "gzip" and head.get("Content-Length") is None
        whole = connection.get("/a.txt", fields=fields)
        tag = whole.get("ETag")
        assert tag == head.get("ETag") and tag.startswith('W/"')
        same = connection.get("/a.txt", fields=fields + [("If-None-Match", tag)])
        assert (same.status, same.get("ETag"), same.body) == (304, tag, b"")
        plain = connection.get("/a.txt", fields=[("If-None-Match", tag[2:])])
        assert (plain.status, plain.get("ETag")) == (304, tag[2:])
        # The bytes of a weak tag may not be put together from pieces.
        again = connection.get("/a.txt", fields=fields + [("Range", "bytes=0-9"),
                                                          ("If-Range", tag)])
        assert again.status == 200 and gunzip(again.body) == TEXT


def test_options(serve):
    c = serve("encode {\n\t\tgzip 9\n\t\tminimum_length 100\n\t\tmatch {\n"
              "\t\t\theader Content-Type image/*\n\t\t\tstatus 2xx\n\t\t}\n\t}")
    assert gunzip(encoded(c, "/photo.jpg", ALL).body) == TEXT
    assert encoded(c, "/a.txt", ALL).get("Content-Encoding") is None
    c = serve("encode /a* zstd {\n\t\tzstd best\n\t\tminimum_length 100\n\t}")
    assert encoded(c, "/a.txt", ALL).get("Content-Encoding") == "zstd"
    assert encoded(c, "/short.txt", ALL).get("Content-Encoding") is None  # another path


@pytest.mark.parametrize("encode, said", [
    ("encode gzp", 'did you mean "gzip"'),
    ("encode {\n\t\tgzip 12\n\t}", '"12" is no level of gzip: 1 to 9'),
    ("encode {\n\t\tbr 11\n\t}", "10 and 11 are too slow"),
    ("encode {\n\t\tminimum_lenght 3\n\t}", 'did you mean "minimum_length"'),
    ("encode {\n\t\tminimum_length 1k\n\t}", "no number of bytes"),
    ("encode {\n\t\tmatch {\n\t\t\tpath /x\n\t\t}\n\t}", "a response matcher has status and header"),
])
def test_mistakes(caddis, encode, said):
    c = caddis(f"http://localhost {{\n\t{encode}\n}}", start=False)
    done = c.command("validate", "--config", c.file)
    assert done.returncode != 0 and said in done.stderr, done.stderr


def test_pages_of_our_own_and_headers_around(caddis):
    long = "y" * 600
    c = caddis("http://localhost {\n\tencode\n\theader >Vary X\n\thandle /json {\n"
               f"\t\theader Content-Type application/json\n\t\trespond {long}\n\t}}\n"
               f"\thandle /type {{\n\t\theader Content-Type image/png\n\t\trespond {long}\n\t}}\n}}")
    answer = encoded(c, "/json")
    assert gunzip(answer.body) == long.encode() and answer.get("Vary") == "X"


def handler(request):
    kind = "text/plain"
    if request.target == "/chunked":
        return Response(body=TEXT, fields=[("Content-Type", kind)], chunked=True,
                        trailers=[("X-Sum", "1")])
    if request.target == "/done":
        return Response(body=TEXT, fields=[("Content-Type", kind), ("Content-Encoding", "br")])
    if request.target == "/fixed":
        return Response(body=TEXT, fields=[("Content-Type", kind),
                                           ("Cache-Control", "public, no-transform")])
    if request.target == "/vary":
        return Response(body=TEXT, fields=[("Content-Type", kind), ("Vary", "Cookie"),
                                           ("ETag", 'W/"1"'), ("Content-MD5", "x")])
    return Response(body=TEXT, fields=[("Content-Type", kind), ("ETag", '"1"')])


def test_origins(caddis, origin):
    o = origin(handler)
    c = caddis(f"http://localhost {{\n\tencode gzip\n\treverse_proxy {o.address} {{\n"
               "\t\theader_up -Accept-Encoding\n\t}\n}")
    answer = encoded(c, "/")
    assert gunzip(answer.body) == TEXT and answer.get("ETag") == 'W/"1"'
    assert o.requests[0].get("Accept-Encoding") is None
    answer = encoded(c, "/chunked")
    assert gunzip(answer.body) == TEXT and answer.trailer("X-Sum") == "1"
    for target in ("/done", "/fixed"):
        answer = encoded(c, target)
        assert answer.body == TEXT and answer.get("Content-Length") == str(len(TEXT)), target
    answer = encoded(c, "/vary")
    assert answer.all("Vary") == ["Cookie", "Accept-Encoding"] and answer.get("ETag") == 'W/"1"'


def test_what_else_answers(caddis, origin):
    """What handle_response, intercept and copy_response make of an answer is what is encoded."""
    o = origin(lambda r: Response(404 if r.target == "/no" else 200, body=TEXT,
                                  fields=[("Content-Type", "text/plain")]))
    page = "z" * 700
    c = caddis(f"""http://localhost {{
\tencode gzip
\thandle /handled/* {{
\t\treverse_proxy {o.address} {{
\t\t\trewrite /no
\t\t\t@no status 404
\t\t\thandle_response @no {{
\t\t\t\theader Content-Type text/html
\t\t\t\trespond "{page}" 403
\t\t\t}}
\t\t}}
\t}}
\thandle /copied/* {{
\t\treverse_proxy {o.address} {{
\t\t\trewrite /no
\t\t\thandle_response {{
\t\t\t\tcopy_response 410
\t\t\t}}
\t\t}}
\t}}
\thandle /intercepted/* {{
\t\tintercept {{
\t\t\thandle_response {{
\t\t\t\theader Content-Type text/html
\t\t\t\trespond "{page}" 402
\t\t\t}}
\t\t}}
\t\treverse_proxy {o.address}
\t}}
\thandle {{
\t\treverse_proxy {o.address} {{
\t\t\tresponse_buffers 4MiB
\t\t}}
\t}}
}}""")
    for target, status, body in (("/handled/x", 403, page.encode()), ("/copied/x", 410, TEXT),
                                 ("/intercepted/x", 402, page.encode()), ("/", 200, TEXT)):
        answer = encoded(c, target)
        assert answer.status == status and answer.get("Content-Encoding") == "gzip", target
        assert gunzip(answer.body) == body, target


def test_http_2_on_both_sides(caddis, cleanup):
    o = H2Origin(lambda r: Reply(body=TEXT[:60000], fields=[("content-type", "text/css")]))
    cleanup.add(o.finish)
    c = caddis(f"http://localhost {{\n\tencode zstd br gzip\n\treverse_proxy h2c://{o.address}\n}}",
               globals="servers {\n\tprotocols h1 h2 h2c\n}")
    for accept in ("gzip", "br", "zstd"):
        head, body = curl(c, "/", accept, "--http2-prior-knowledge")
        assert head.startswith("http/2 200") and f"content-encoding: {accept}" in head
        assert body == TEXT[:60000], accept


def test_events_are_flushed_one_by_one(caddis, scripted):
    def script(raw):
        raw.read_request()
        raw.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
        for n in range(20):
            raw.send(b"data: %d\n\n" % n)
            events.append(n)
            turn.acquire(timeout=60)

    turn, events = threading.Semaphore(0), []
    o = scripted(script)
    c = caddis(f"http://localhost {{\n\tencode gzip\n\treverse_proxy {o.address}\n}}")
    with c.connect() as raw:
        raw.send(b"GET / HTTP/1.1\r\nHost: localhost\r\nAccept-Encoding: gzip\r\n\r\n")
        head = raw.read_head()
        assert head.get("Content-Encoding") == "gzip"
        unpack = zlib.decompressobj(31)
        for n in range(20):
            got = b""
            while got != b"data: %d\n\n" % n:  # before the next one is sent
                got += unpack.decompress(raw.read_chunk())
            turn.release()


def test_a_cut_answer_stays_cut(caddis, scripted):
    def script(raw):
        raw.read_request()
        raw.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 100000\r\n\r\n" +
                 TEXT[:50000])

    o = scripted(script)
    c = caddis(f"http://localhost {{\n\tencode gzip\n\treverse_proxy {o.address}\n}}")
    with c.connect() as raw:
        raw.send(b"GET / HTTP/1.1\r\nHost: localhost\r\nAccept-Encoding: gzip\r\n\r\n")
        assert raw.read_head().get("Content-Encoding") == "gzip"
        rest = raw.recv_all()
        assert not rest.endswith(b"0\r\n\r\n")


def test_a_slow_client_fills_no_memory(caddis, site, serve):
    size = 300 << 20
    with open(site / "huge.txt", "wb") as f:
        f.truncate(size)
    c = serve("encode gzip", "file_server")
    before = c.memory()
    readers = [c.connect(rcvbuf=4096) for _ in range(20)]
    try:
        for raw in readers:
            raw.send(b"GET /huge.txt HTTP/1.1\r\nHost: localhost\r\nAccept-Encoding: gzip\r\n\r\n")
            assert raw.read_head().get("Content-Encoding") == "gzip"
        # Others are answered meanwhile, and whoever leaves takes its coder along.
        for _ in range(10):
            assert gunzip(encoded(c, "/a.txt").body) == TEXT
        assert c.memory() < before + (100 << 20)
    finally:
        for raw in readers:
            raw.close()
    assert gunzip(encoded(c, "/a.txt").body) == TEXT
