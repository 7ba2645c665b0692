"""php_fastcgi and transport fastcgi: with Debian's php-fpm, and with a responder that misbehaves."""

import hashlib
import json
import struct

import pytest

from lib.php import Php
from lib.raw import Closed

SHOW = "<?php header('Content-Type: application/json'); echo json_encode($_SERVER);"
ECHO = """<?php
header('X-Length: ' . ($_SERVER['CONTENT_LENGTH'] ?? 'none'));
echo md5(file_get_contents('php://input'));"""
LARGE = """<?php header('Content-Type: text/plain');
for ($i = 0; $i < 20000; $i++) echo str_repeat(chr(97 + $i % 26), 100);"""
ODD = """<?php header('HTTP/1.1 418 Teapot'); header('Transfer-Encoding: chunked');
header('Connection: keep-alive'); header('Set-Cookie: a=1'); header('Set-Cookie: b=2', false);
error_log('a word to the log'); echo 'odd';"""


@pytest.fixture
def root(folder):
    site = folder / "site"
    (site / "sub").mkdir(parents=True)
    (site / "files").mkdir()
    for name, text in {"index.php": SHOW, "sub/index.php": SHOW, "echo.php": ECHO,
                       "large.php": LARGE, "odd.php": ODD, "go.php": "<?php header('Location: /x');",
                       "plain.txt": "plain", "files/x.txt": "x"}.items():
        (site / name).write_text(text)
    return site


@pytest.fixture
def php(folder, cleanup):
    p = Php(folder)
    cleanup.add(p.finish)
    return p


@pytest.fixture
def serve(caddis, root, php):
    def make(block="", more=""):
        return caddis(f"http://localhost {{\n\troot * {root}\n\t{more}\n\tphp_fastcgi {php.address} "
                      f"{{\n\t\tcapture_stderr\n\t\t{block}\n\t}}\n\tfile_server\n}}")

    return make


def shown(answer):
    assert answer.status == 200, answer
    return json.loads(answer.body)


def test_what_a_script_is_told(serve, root):
    c = serve("env APP_ENV {host}-test\n\t\tenv SERVER_SOFTWARE mine")
    v = shown(c.get("/index.php/more/of%20it?a=1&b=%20", fields=[
        ("Proxy", "http://evil"), ("X-Two", "1"), ("X-Two", "2"), ("Cookie", "a=1"),
        ("Cookie", "b=2"), ("X_Under", "x"), ("Authorization", "Basic eDp5")]))
    assert (v["SCRIPT_NAME"], v["PATH_INFO"]) == ("/index.php", "/more/of it")
    assert v["SCRIPT_FILENAME"] == f"{root}/index.php" and v["DOCUMENT_ROOT"] == str(root)
    assert v["PATH_TRANSLATED"] == f"{root}/more/of it"
    assert (v["QUERY_STRING"], v["REQUEST_METHOD"]) == ("a=1&b=%20", "GET")
    assert v["REQUEST_URI"] == "/index.php/more/of%20it?a=1&b=%20"
    assert (v["SERVER_NAME"], v["SERVER_PROTOCOL"]) == ("localhost", "HTTP/1.1")
    assert v["REQUEST_SCHEME"] == "http" and "HTTPS" not in v
    assert v["REMOTE_ADDR"] == "127.0.0.1" and v["REMOTE_PORT"].isdigit()
    assert v["GATEWAY_INTERFACE"] == "CGI/1.1" and v["SERVER_SOFTWARE"] == "mine"
    assert v["APP_ENV"] == "localhost-test"
    assert v["HTTP_X_TWO"] == "1, 2" and v["HTTP_COOKIE"] == "a=1; b=2"
    assert v["HTTP_X_FORWARDED_FOR"] == "127.0.0.1"
    assert "HTTP_PROXY" not in v and "HTTP_X_UNDER" not in v and "evil" not in json.dumps(v)


def test_which_script_runs(serve):
    c = serve()
    for target, script, query in (("/", "/index.php", ""), ("/no/such?x=1", "/index.php", "x=1"),
                                  ("/sub/", "/sub/index.php", ""), ("/index.php", "/index.php", ""),
                                  ("/files/x.txt/a.php", "/index.php", "")):
        v = shown(c.get(target))
        assert (v["SCRIPT_NAME"], v["QUERY_STRING"]) == (script, query), target
    assert c.get("/plain.txt").body == b"plain" and c.get("/files/x.txt").body == b"x"
    moved = c.get("/sub?a=b")
    assert (moved.status, moved.get("Location")) == (308, "/sub/?a=b")
    # The names of no file: they are the index's, or refused; never another script.
    for target in ("/../../etc/passwd.php", "/%2e%2e/x.php", "/sub/..%2findex.php", "/x%00.php"):
        assert shown(c.get(target))["SCRIPT_NAME"] == "/index.php", target


def test_options(serve, root):
    c = serve("index off\n\t\troot /nowhere")
    assert c.get("/").status == 404
    for target in ("/x%00.php", "/x%0aY:%20z.php"):
        assert c.get(target).status == 400, target
    answer = c.get("/index.php")
    assert (answer.status, answer.body) == (404, b"File not found.\n")
    c.wait_log("Primary script unknown")
    c = serve("try_files {path} =404")
    assert c.get("/no/such").status == 404 and c.get("/sub").status != 308
    assert shown(c.get("/index.php"))["SCRIPT_NAME"] == "/index.php"


def test_a_release_switched_by_a_link(serve, root, folder):
    now = folder / "now"
    now.symlink_to(root)
    c = serve(f"root {now}\n\t\tresolve_root_symlink")
    v = shown(c.get("/index.php"))
    assert v["SCRIPT_FILENAME"] == f"{root}/index.php" and v["DOCUMENT_ROOT"] == str(root)
    now.unlink()
    now.symlink_to(root / "sub")
    assert shown(c.get("/index.php"))["SCRIPT_FILENAME"] == f"{root}/sub/index.php"
    now.unlink()
    assert c.get("/index.php").status == 500


def test_bodies(serve):
    c = serve()
    with c.connect() as connection:
        for body in (b"", b"abc", b"x" * 3_000_000):
            answer = connection.request("POST", "/echo.php", body=body)
            assert answer.body.decode() == hashlib.md5(body).hexdigest()
            assert answer.get("X-Length") == str(len(body))
        # Chunked: collected, because CGI has to be told a length.
        connection.send(b"POST /echo.php HTTP/1.1\r\nHost: localhost\r\n"
                        b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n4\r\ndefg\r\n0\r\n\r\n")
        answer = connection.read_response()
        assert answer.body.decode() == hashlib.md5(b"abcdefg").hexdigest()
        assert answer.get("X-Length") == "7"
        assert connection.get("/large.php").body == b"".join(
            bytes([97 + i % 26]) * 100 for i in range(20000))
        assert connection.request("HEAD", "/large.php").status == 200
        assert shown(connection.get("/index.php"))["REQUEST_METHOD"] == "GET"
    with c.connect() as connection:
        connection.send(b"POST /echo.php HTTP/1.1\r\nHost: localhost\r\n"
                        b"Transfer-Encoding: chunked\r\n\r\n")
        piece = b"10000\r\n" + b"y" * 0x10000 + b"\r\n"
        try:
            for _ in range(32):
                connection.send(piece)
        except (Closed, OSError):
            pass
        assert connection.read_response().status == 411


def test_what_a_script_may_say(serve):
    c = serve(more="encode gzip")
    odd = c.get("/odd.php")
    assert (odd.status, odd.body) == (418, b"odd")
    assert odd.all("Set-Cookie") == ["a=1", "b=2"]
    c.wait_log("a word to the log")
    go = c.get("/go.php")
    assert (go.status, go.get("Location")) == (302, "/x")
    assert c.get("/large.php", fields=[("Accept-Encoding", "gzip")]).get(
        "Content-Encoding") == "gzip"


# ---- a responder that says what it likes ----


def record(kind, content, request=1, version=1):
    return struct.pack(">BBHHBB", version, kind, request, len(content), 0, 0) + content


def read_request(raw):
    """Reads records up to the end of STDIN; (parameters, body)."""
    params = body = b""
    while True:
        _, kind, _, length, padding, _ = struct.unpack(">BBHHBB", raw.recv_exactly(8))
        content = raw.recv_exactly(length)
        raw.recv_exactly(padding)
        if kind == 4:
            params += content
        elif kind == 5 and not content:
            return params, body
        elif kind == 5:
            body += content


END = record(3, bytes(8))
HEAD = record(6, b"Content-Type: text/plain\r\n\r\n")


@pytest.mark.parametrize("said, status, body", [
    (HEAD + record(6, b"ab") + record(7, b"oh") + record(6, b"c") + END, 200, b"abc"),
    (record(6, b"Status: 404 X\n\nno") + END, 404, b"no"),
    (b"HTTP/1.1 200 OK\r\n\r\n", 502, None),
    (record(6, b"A: b\r\n\r\n", version=2), 502, None),
    (record(6, b"A: b\r\n\r\n", request=7), 502, None),
    (record(6, b"Status: 100 Go\r\n\r\n") + END, 502, None),
    (record(6, b"no field\r\n\r\n") + END, 502, None),
    (record(6, b"A" * 65535) * 2, 502, None),
    (record(3, b"\0\0\0\0\2\0\0\0"), 502, None),
    (END, 502, None),
    (b"", 502, None),
    (HEAD + record(6, b"abc"), "cut", None),
    (HEAD + record(6, b"abc") + record(9, b"x"), "cut", None),
])
def test_responders(caddis, scripted, said, status, body):
    def script(raw):
        read_request(raw)
        raw.send(said)

    o = scripted(script)
    c = caddis(f"http://localhost {{\n\treverse_proxy {o.address} {{\n\t\ttransport fastcgi {{\n"
               "\t\t\troot /srv\n\t\t\tsplit .php\n\t\t}\n\t}\n}")
    with c.connect() as connection:
        if status == "cut":
            connection.send(b"GET /x.php HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert connection.read_head().status == 200
            assert not connection.recv_all().endswith(b"0\r\n\r\n")
        else:
            answer = connection.get("/x.php")
            assert answer.status == status and body in (None, answer.body)


@pytest.mark.parametrize("block, said", [
    ("reverse_proxy https://localhost {\n\t\ttransport fastcgi\n\t}", "has no scheme"),
    ("reverse_proxy localhost:9000 {\n\t\ttransport fastcgi {\n\t\t\tspilt .php\n\t\t}\n\t}",
     'did you mean "split"'),
    ("reverse_proxy localhost:9000 {\n\t\thealth_uri /\n\t\ttransport fastcgi\n\t}",
     "active health checks ask over HTTP"),
    ("php_fastcgi localhost:9000 {\n\t\ttransport http\n\t}", "its own transport"),
    ("forward_auth localhost:9000 {\n\t\turi /\n\t\ttransport fastcgi {\n"
     "\t\t\tresolve_root_symlink\n\t\t}\n\t}", "resolve_root_symlink has no place"),
    ("php_fastcgi", "needs an origin"),
])
def test_mistakes(caddis, block, said):
    c = caddis(f"http://localhost {{\n\t{block}\n}}", start=False)
    done = c.command("validate", "--config", c.file)
    assert done.returncode != 0 and said in done.stderr, done.stderr
