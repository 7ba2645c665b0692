"""Sites, addresses and the small directives: which site answers, and with what."""

import json
import re
import time

import pytest
from lib.origin import Response
from lib.ports import free_port

TWO = """
http://one.test {
	respond one
}
http://two.test, http://three.test {
	respond two
}
"""


def test_site_by_host(caddis):
    c = caddis(TWO)
    assert c.get(host="one.test").body == b"one"
    assert c.get(host="ONE.test").body == b"one"
    assert c.get(host="two.test").body == b"two"
    assert c.get(host=f"three.test:{c.http}").body == b"two"


def test_no_site_matches_gives_an_empty_200(caddis):
    answer = caddis(TWO).get(host="other.test")
    assert (answer.status, answer.body) == (200, b"")


def test_longest_host_then_wildcard_then_catch_all(caddis):
    c = caddis("http:// {\n\trespond all\n}\nhttp://*.a.test {\n\trespond wild\n}\n"
               "http://x.a.test {\n\trespond exact\n}")
    assert c.get(host="x.a.test").body == b"exact"
    assert c.get(host="y.a.test").body == b"wild"
    assert c.get(host="z.y.a.test").body == b"all"
    assert c.get(host="10.0.0.1").body == b"all"


def test_ports_of_their_own(caddis):
    port = free_port()
    c = caddis(f":{port} {{\n\trespond odd\n}}\nhttp://localhost {{\n\trespond usual\n}}")
    assert c.get(port=port, host="whatever").body == b"odd"
    assert c.get().body == b"usual"


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_both_address_families(caddis, address):
    c = caddis("http://localhost {\n\trespond hello\n}")
    with c.connect(address=address) as connection:
        assert connection.get().body == b"hello"


def test_default_bind(caddis):
    c = caddis("http://localhost {\n\trespond hello\n}", globals="default_bind 127.0.0.2")
    with c.connect(address="127.0.0.2") as connection:
        assert connection.get().body == b"hello"
    with pytest.raises(ConnectionRefusedError):
        c.connect(address="127.0.0.1")


def test_respond(caddis):
    c = caddis('http://localhost {\n\trespond /gone 410\n\trespond /teapot "short" 418\n'
               "\trespond /close bye {\n\t\tclose\n\t}\n\trespond hello\n}")
    assert c.get("/").body == b"hello"
    assert (c.get("/gone").status, c.get("/gone").body) == (410, b"")
    assert (c.get("/teapot").status, c.get("/teapot").body) == (418, b"short")
    with c.connect() as connection:
        assert connection.get("/close").body == b"bye"
        assert connection.closed()


def test_redir(caddis):
    c = caddis("http://localhost {\n\tredir /old /new\n\tredir /for-good /new permanent\n"
               "\tredir /code https://elsewhere.test{uri} 307\n}")
    for target, status, location in (("/old", 302, "/new"), ("/for-good", 301, "/new"),
                                     ("/code", 307, "https://elsewhere.test/code")):
        answer = c.get(target)
        assert (answer.status, answer.get("Location")) == (status, location)


def test_header(caddis, origin):
    o = origin(lambda r: Response(body="x", fields=[("Server", "app"), ("X-Old", "1")]))
    c = caddis(f"http://localhost {{\n\theader X-New value\n\theader {{\n\t\t-X-Old\n"
               f"\t\t+X-More a\n\t\t+X-More b\n\t}}\n\treverse_proxy {o.address}\n}}")
    answer = c.get()
    assert answer.get("X-New") == "value"
    assert answer.all("X-Old") == []
    assert answer.all("X-More") == ["a", "b"]
    assert answer.get("Server") == "app"


def test_handle_is_exclusive(caddis):
    c = caddis("http://localhost {\n\thandle /a/* {\n\t\trespond A\n\t}\n"
               "\thandle /b {\n\t\trespond B\n\t}\n\thandle {\n\t\trespond rest\n\t}\n}")
    assert c.get("/a/x").body == b"A"
    assert c.get("/b").body == b"B"
    assert c.get("/b/c").body == b"rest"
    assert c.get("/a").body == b"rest"


@pytest.mark.parametrize("target", ["/A/x", "/%61/x", "/b/../a/x", "//a/x", "/./a//x"])
def test_path_matchers_cannot_be_walked_around(caddis, target):
    c = caddis("http://localhost {\n\trespond /a/* denied 403\n\trespond open\n}")
    assert c.get(target).status == 403, target


def test_snippets_and_imports(caddis):
    c = caddis("(say) {\n\trespond {args[0]}\n}\nhttp://one.test {\n\timport say hello\n}\n"
               "import more/*\n", start=False)
    (c.folder / "more").mkdir()
    (c.folder / "more/two").write_text("http://two.test {\n\timport say there\n}\n")
    c.start()
    assert c.get(host="one.test").body == b"hello"
    assert c.get(host="two.test").body == b"there"


def test_access_log_json(caddis, eventually):
    c = caddis("http://localhost {\n\tlog {\n\t\toutput file {$LOG}\n\t\tformat json\n\t}\n"
               "\trespond hello\n}", env={"LOG": "access.log"})
    assert c.get("/a?b=c", fields=[("User-Agent", 'q"\n'.strip()), ("Cookie", "secret=1"),
                                   ("Authorization", "Basic c2VjcmV0")]).status == 200
    path = c.folder / "access.log"
    line = eventually(lambda: path.exists() and path.read_text())
    entry = json.loads(line.splitlines()[0])
    assert entry["status"] == 200 and entry["size"] == 5
    request = entry["request"]
    assert request["method"] == "GET" and request["uri"] == "/a?b=c"
    assert request["host"] == "localhost" and request["remote_ip"] == "127.0.0.1"
    assert request["proto"] == "HTTP/1.1"
    assert request["headers"]["User-Agent"] == ['q"']
    assert isinstance(entry["ts"], float) and abs(entry["ts"] - time.time()) < 60
    assert isinstance(entry["duration"], float)
    assert "c2VjcmV0" not in line and "secret" not in line


def test_access_log_file_is_reopened_when_moved(caddis, eventually):
    c = caddis("http://localhost {\n\tlog {\n\t\toutput file access.log\n\t}\n\trespond hello\n}")
    path = c.folder / "access.log"
    c.get("/first")
    eventually(lambda: path.exists() and "/first" in path.read_text())
    path.rename(c.folder / "access.log.1")

    def again():
        c.get("/second")
        return path.exists() and "/second" in path.read_text()

    eventually(again)
    assert "/first" in (c.folder / "access.log.1").read_text()


def test_access_log_to_stderr(caddis):
    c = caddis("http://localhost {\n\tlog\n\trespond hello\n}")
    c.get("/marker")
    c.wait_log("/marker")


def test_auto_https_off(caddis):
    c = caddis("localhost {\n\trespond hello\n}", globals="auto_https off")
    with pytest.raises(ConnectionRefusedError):
        c.connect(c.http)
    assert not re.search(r"obtain", c.log())
