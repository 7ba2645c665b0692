"""Large bodies of known length between plain sockets, which go through pipes inside the kernel: every
byte, every end, and the counts in the log must be what they are without. (What a side that stalls
may make the server hold is in test_20_proxy.py.)"""

import hashlib
import json
import random
import re
import threading

import pytest
from lib.origin import Response
from lib.raw import Closed

SITE = "http://localhost {\n\tlog {\n\t\toutput file %s\n\t}\n\treverse_proxy %s\n}"
BODY = random.Random(1).randbytes(8 << 20)


def digest(data):
    return hashlib.sha256(data).hexdigest()


def traced(plain, tmp_path, address):
    trace = tmp_path / "trace"
    c = plain(SITE % (tmp_path / "access.log", address),
              wrap=["strace", "-D", "-f", "-q", "-o", str(trace), "-e", "trace=splice"])
    return c, lambda: sum(int(n) for n in re.findall(r"splice\(.* = (\d+)", trace.read_text()))


def test_a_large_download_and_upload_are_spliced(plain, origin, tmp_path):
    o = origin(lambda r: Response(body=BODY if r.method == "GET" else digest(r.body)))
    c, moved = traced(plain, tmp_path, o.address)
    with c.connect() as connection:
        for _ in range(2):
            assert digest(connection.get().body) == digest(BODY)
            upload = connection.request("POST", "/", body=BODY)
            assert upload.body.decode() == digest(BODY)
    c.stop()
    # In and out again, twice both ways; what came with the heads was read.
    assert moved() > 7 * len(BODY)
    entries = [json.loads(x) for x in (tmp_path / "access.log").read_text().splitlines()]
    assert [e["size"] for e in entries] == [len(BODY), 64] * 2
    assert [e["bytes_read"] for e in entries] == [0, len(BODY)] * 2


def test_a_large_file_is_spliced_whole_and_in_parts(plain, tmp_path):
    (tmp_path / "site").mkdir()
    (tmp_path / "site/large").write_bytes(BODY)
    trace = tmp_path / "trace"
    c = plain(f"http://localhost {{\n\troot * {tmp_path}/site\n\tfile_server\n}}",
              wrap=["strace", "-D", "-f", "-q", "-o", str(trace), "-e", "trace=splice"])
    parts = [(0, 1 << 20), (3_000_001, 2_345_678), (len(BODY) - 700_000, 700_000)]
    ranges = ",".join(f"{at}-{at + n - 1}" for at, n in parts)
    with c.connect() as connection:
        for _ in range(2):
            assert digest(connection.get("/large").body) == digest(BODY)
        for at, n in parts:
            part = connection.get("/large", [("Range", f"bytes={at}-{at + n - 1}")])
            assert part.status == 206 and digest(part.body) == digest(BODY[at:at + n])
        several = connection.get("/large", [("Range", f"bytes={ranges}")])
        places = [several.body.find(BODY[at:at + n]) for at, n in parts]
        assert -1 not in places and places == sorted(places)
    c.stop()
    moved = sum(int(n) for n in re.findall(r"splice\(.* = (\d+)", trace.read_text()))
    assert moved > 3 * len(BODY)


@pytest.mark.parametrize("end", ["close", "reset"])
def test_an_origin_that_breaks_off(caddis, scripted, end):
    half = len(BODY) // 2

    def script(raw):
        raw.read_request()
        raw.send(f"HTTP/1.1 200 OK\r\nContent-Length: {len(BODY)}\r\n\r\n")
        raw.send(BODY[:half])
        if end == "reset":
            raw.sock.recv(1)  # until the client has everything and leaves
            raw.reset()

    c = caddis(SITE % ("/dev/null", scripted(script).address))
    with c.connect() as connection:
        connection.request("GET", read=False)
        connection.read_response(body=False)
        assert digest(connection.recv_exactly(half)) == digest(BODY[:half])
        if end == "close":
            with pytest.raises(Closed):
                connection.recv_exactly(1)
    assert c.get("/", host="nobody").status == 200


def test_a_client_that_resets_frees_the_origin(caddis, scripted):
    gone = threading.Event()

    def script(raw):
        raw.read_request()
        raw.send(f"HTTP/1.1 200 OK\r\nContent-Length: {1 << 40}\r\n\r\n")
        try:
            while True:
                raw.send(BODY)
        except (OSError, Closed):
            gone.set()

    c = caddis(SITE % ("/dev/null", scripted(script).address))
    with c.connect() as connection:
        connection.request("GET", read=False)
        connection.read_response(body=False)
        connection.discard(len(BODY))
        connection.reset()
    assert gone.wait(30), "the origin was kept although its client had left"


def test_an_origin_that_resets_an_upload(caddis, scripted):
    def script(raw):
        raw.read_request(body=False)
        raw.discard(1 << 20)
        raw.reset()

    c = caddis(SITE % ("/dev/null", scripted(script).address))
    with c.connect() as connection:
        connection.send(f"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: {1 << 40}\r\n\r\n")
        try:
            while True:
                connection.send(BODY)
        except (OSError, Closed):
            pass
    assert c.get("/", host="nobody").status == 200


def test_an_early_answer_in_the_middle_of_an_upload(caddis, scripted):
    def script(raw):
        raw.read_request(body=False)
        raw.discard(2 << 20)
        raw.send("HTTP/1.1 413 Content Too Large\r\nContent-Length: 4\r\n\r\nmuch")
        raw.closed()

    c = caddis(SITE % ("/dev/null", scripted(script).address))
    with c.connect() as connection:
        connection.send(f"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: {1 << 40}\r\n\r\n")
        connection.send_until_stalled(BODY[:65536], 64 << 20)
        response = connection.read_response()
        assert (response.status, response.body) == (413, b"much")
