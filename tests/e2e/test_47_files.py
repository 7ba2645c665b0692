"""root, file_server, try_files: what is served from disk, what never is, and how much at a time."""

import email
import json
import os

import pytest

LARGE = os.urandom(3_000_000)


@pytest.fixture
def root(folder):
    site = folder / "site"
    (site / "sub").mkdir(parents=True)
    (site / "empty").mkdir()
    (site / "index.html").write_text("<h1>index</h1>")
    (site / "sub/a.txt").write_text("a")
    (site / "sub/b c:<d>.txt").write_text("b")
    (site / "app.js").write_text("plain")
    (site / "app.js.br").write_text("brotli")
    (site / "app.js.gz").write_text("gzip")
    (site / "large").write_bytes(LARGE)
    (site / ".env").write_text("secret")
    (site / ".well-known").mkdir()
    (site / ".well-known/x").write_text("known")
    (folder / "outside").write_text("secret")
    (site / "out").symlink_to(folder / "outside")
    (site / "up").symlink_to("../outside")
    (site / "absolute").symlink_to(site / "sub/a.txt")
    (site / "folder-out").symlink_to(folder)
    (site / "Caddyfile").write_text("secret")
    os.mkfifo(site / "pipe")
    return site


@pytest.fixture
def serve(caddis, root):
    def make(lines="file_server", **options):
        return caddis(f"http://localhost {{\n\troot * {root}\n\t{lines}\n}}", **options)

    return make


ANSWERS = [
    ("/", 200, b"<h1>index</h1>"),
    ("/index.html", 200, b"<h1>index</h1>"),
    ("/sub/a.txt", 200, b"a"),
    ("/sub/../sub//a.txt", 200, b"a"),
    ("/sub/b%20c%3A%3Cd%3E.txt", 200, b"b"),
    ("/absolute", 200, b"a"),
    ("/.well-known/x", 200, b"known"),
    ("/sub", 404, None),
    ("/nothing", 404, None),
    ("/.env", 404, None),
    ("/%2eenv", 404, None),
    ("/out", 404, None),
    ("/up", 404, None),
    ("/folder-out/outside", 404, None),
    ("/pipe", 404, None),
    ("/../outside", 404, None),
    ("/%2e%2e/outside", 404, None),
    ("/sub/%2e%2e%2f%2e%2e%2foutside", 404, None),
    ("/..%5coutside", 404, None),
    ("/sub/a.txt%00.html", 400, None),
    ("/" + "x" * 300, 404, None),
    ("/" + "y/" * 3000, 404, None),
]


def test_what_is_served_and_what_is_not(serve):
    c = serve()
    for path, status, body in ANSWERS:
        answer = c.get(path)
        assert answer.status == status, path
        assert body is None or answer.body == body, path
        assert b"secret" not in answer.body, path


def test_the_caddyfile_itself_is_hidden(caddis, root):
    c = caddis(f"http://localhost {{\n\troot * {root}\n\tfile_server {{\n\t\tdot_files\n\t}}\n}}",
               start=False)
    c.file.write_text(c.file.read_text().replace(str(root), str(c.folder)))
    c.start()
    assert c.get("/Caddyfile").status == 404


def test_links_out_of_the_root_and_dot_files_when_asked_for(serve):
    c = serve("file_server {\n\t\tfollow_symlinks\n\t\tdot_files\n\t\thide sub *.js\n\t}")
    assert c.get("/out").body == b"secret"
    assert c.get("/.env").body == b"secret"
    assert c.get("/sub/a.txt").status == 404
    assert c.get("/app.js").status == 404


def test_canonical_addresses(serve):
    c = serve("file_server browse")
    for path, to in (("/sub", "/sub/"), ("/sub?x=1", "/sub/?x=1"), ("/sub/a.txt/", "/sub/a.txt"),
                     ("//sub", "/sub/"), ("///sub", "/sub/"),
                     ("/\\a.example/../sub", "/a.example/../sub/")):
        answer = c.get(path)
        assert (answer.status, answer.get("Location")) == (308, to), path
    assert serve("file_server browse {\n\t\tdisable_canonical_uris\n\t}").get("/sub").status == 200


def test_methods(serve):
    c = serve()
    with c.connect() as connection:
        answer = connection.request("POST", "/", body=b"x")
        assert (answer.status, answer.get("Allow")) == (405, "GET, HEAD")
        head = connection.request("HEAD", "/large")
        assert (head.status, head.get("Content-Length")) == (200, str(len(LARGE)))
        assert connection.get("/sub/a.txt").body == b"a"


def test_a_large_file_whole_and_in_parts(serve):
    c = serve()
    whole = c.get("/large")
    assert whole.body == LARGE and whole.get("Content-Type") is None
    part = c.get("/large", fields=[("Range", "bytes=1000000-2000000")])
    assert part.status == 206 and part.body == LARGE[1000000:2000001]
    assert part.get("Content-Range") == f"bytes 1000000-2000000/{len(LARGE)}"
    parts = c.get("/large", fields=[("Range", "bytes=0-9,500000-599999,-5")])
    message = email.message_from_bytes(
        b"Content-Type: " + parts.get("Content-Type").encode() + b"\r\n\r\n" + parts.body)
    got = [p.get_payload(decode=True) for p in message.get_payload()]
    assert got == [LARGE[:10], LARGE[500000:600000], LARGE[-5:]]
    beyond = c.get("/large", fields=[("Range", "bytes=3000000-")])
    assert (beyond.status, beyond.get("Content-Range")) == (416, f"bytes */{len(LARGE)}")


def test_conditions(serve):
    c = serve()
    first = c.get("/index.html")
    assert first.get("Content-Type") == "text/html; charset=utf-8"
    tag, date = first.get("ETag"), first.get("Last-Modified")
    assert c.get("/index.html", fields=[("If-None-Match", tag)]).status == 304
    assert c.get("/index.html", fields=[("If-Modified-Since", date)]).status == 304
    assert c.get("/index.html", fields=[("If-None-Match", '"x"')]).status == 200
    assert c.get("/index.html", fields=[("If-Match", '"x"')]).status == 412
    part = [("Range", "bytes=0-1"), ("If-Range", '"x"')]
    assert c.get("/index.html", fields=part).status == 200


def test_precompressed(serve):
    c = serve("file_server {\n\t\tprecompressed br gzip\n\t}")
    for accept, coding, body in (("gzip, br", "br", b"brotli"), ("gzip", "gzip", b"gzip"),
                                 ("gzip;q=1, br;q=0.1", "gzip", b"gzip"),
                                 ("identity", None, b"plain"), ("br;q=0", None, b"plain")):
        answer = c.get("/app.js", fields=[("Accept-Encoding", accept)])
        assert (answer.get("Content-Encoding"), answer.body) == (coding, body), accept
        assert answer.get("Content-Type") == "text/javascript; charset=utf-8"
        assert answer.get("Vary") == "Accept-Encoding"
    assert c.get("/sub/a.txt", fields=[("Accept-Encoding", "br")]).body == b"a"


def test_a_folder_as_a_page_and_as_json(serve):
    c = serve("file_server browse")
    page = c.get("/sub/")
    assert page.get("Content-Type") == "text/html; charset=utf-8"
    assert b'href="./b%20c%3A%3Cd%3E.txt"' in page.body and b"<d>" not in page.body
    names = json.loads(c.get("/empty/", fields=[("Accept", "application/json")]).body)
    assert names == []
    listed = json.loads(c.get("/sub/?sort=name&order=desc", fields=[("Accept", "application/json")]).body)
    assert [e["name"] for e in listed] == ["b c:<d>.txt", "a.txt"]
    assert c.get("/sub/a.txt").body == b"a"
    hidden = c.get("/").body
    assert hidden == b"<h1>index</h1>"


def test_a_listing_has_no_hidden_names(serve, root):
    (root / "index.html").unlink()
    listed = json.loads(serve("file_server browse").get(
        "/", fields=[("Accept", "application/json")]).body)
    names = {e["name"] for e in listed}
    assert ".env" not in names and "pipe" not in names and {"sub", "large"} <= names


def test_try_files_for_an_app_with_one_page(serve):
    c = serve("try_files {path} /index.html\n\tfile_server")
    assert c.get("/some/where?x=1").body == b"<h1>index</h1>"
    assert c.get("/sub/a.txt").body == b"a"
    assert c.get("/.env").body != b"secret"
    c = serve("try_files {path} {path}/ =404\n\tfile_server browse")
    assert c.get("/nothing").status == 404
    assert c.get("/sub/").status == 200


def test_try_files_with_a_query(caddis, root, origin):
    o = origin()
    c = caddis(f"http://localhost {{\n\troot * {root}\n\ttry_files {{path}} /r?p={{path}}&{{query}}\n"
               f"\treverse_proxy {o.address}\n}}")
    assert c.get("/sub/a.txt?q=1").body == b"GET /sub/a.txt?q=1"
    (root / "r").write_text("")
    assert c.get("/no?q=1").body == b"GET /r?p=%2Fno&q=1"


def test_pass_thru_and_status(serve):
    c = serve("route {\n\t\tfile_server {\n\t\t\tpass_thru\n\t\t}\n\t\trespond later\n\t}")
    assert c.get("/nothing").body == b"later"
    assert c.get("/sub/a.txt").body == b"a"
    c = serve("error 410\n\thandle_errors {\n\t\trewrite * /sub/a.txt\n\t\tfile_server\n\t}")
    answer = c.get("/")
    assert (answer.status, answer.body) == (410, b"a")


def test_a_reader_that_stalls_and_one_that_leaves(serve):
    c = serve()
    with c.connect(rcvbuf=4096) as connection:
        connection.send(b"GET /large HTTP/1.1\r\nHost: localhost\r\n\r\n")
        connection.recv_until(b"\r\n\r\n")
        assert c.get("/sub/a.txt").body == b"a"
        connection.reset()
    assert c.get("/sub/a.txt").body == b"a"


def test_a_file_that_gets_shorter_is_cut_off_for_the_client_to_see(serve, root):
    c = serve()
    with c.connect(rcvbuf=4096) as connection:
        connection.send(b"GET /large HTTP/1.1\r\nHost: localhost\r\n\r\n")
        connection.recv_until(b"\r\n\r\n")
        os.truncate(root / "large", 10)
        assert len(connection.recv_all()) < len(LARGE)


MISTAKES = [
    ("file_server srv", "takes \"browse\" or nothing"),
    ("file_server {\n\t\tbrowze\n\t}", "did you mean \"browse\"?"),
    ("file_server {\n\t\tprecompressed lz4\n\t}", "none of br, zstd, gzip"),
    ("file_server {\n\t\tbrowse x.tpl\n\t}", "templates"),
    ("file_server {\n\t\tbrowse {\n\t\t\tsort colour\n\t\t}\n\t}", "none of name"),
    ("file_server {\n\t\tindex a/b\n\t}", "without slashes"),
    ("root", "root"),
    ("try_files {path} {\n\t\tfoo bar\n\t}", "has policy"),
]


def test_mistakes_have_a_place_and_a_reason(caddis):
    for lines, word in MISTAKES:
        c = caddis(f"http://localhost {{\n\t{lines}\n}}", start=False)
        done = c.command("validate", "--config", c.file)
        assert done.returncode == 1 and word in done.stderr, (lines, done.stderr)
        assert "Caddyfile:" in done.stderr
