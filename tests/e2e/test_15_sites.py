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


# What Caddy 2.6 and 2.11 answer to the same files; (target, options of get): (status, body).
TABLE = """
http://localhost {
	respond /a* star
	respond /a exact
	respond /abc longest
	respond /ABC/d deeper
	respond /x/*/z glob
	@end path */end
	respond @end end
	@mid path *mid*
	respond @mid mid
	@post method post
	respond @post posted
	@not not path /n*
	respond @not notn
	respond rest
	handle /h/* {
		handle /h/a {
			respond ha
		}
		handle {
			respond hrest
		}
	}
}
http://*.w.test {
	@a host a.w.test
	handle @a {
		respond A
	}
	respond "{labels.2} {http.request.host.labels.1} {labels.0} {labels.9}."
}
http://x.w.test, http://other.test {
	respond "{host} {port}|{hostport} {scheme} {method} {uri} {path} {query}"
}
http://* {
	respond one-label
}
http://[::1], http://127.0.0.1 {
	respond ip
}
http:// {
	respond "all {host}"
}
"""
ANSWERS = [
    ("localhost", "/", "notn"), ("localhost", "/a", "exact"), ("localhost", "/ab", "star"),
    ("localhost", "/abc", "longest"), ("localhost", "/ABC", "longest"),
    ("localhost", "/abc/D", "deeper"), ("localhost", "/q/end", "end"),
    ("localhost", "/q/midx", "mid"), ("localhost", "/x/y/z", "glob"),
    ("localhost", "/x/y/w/z", "notn"), ("localhost", "/n1", "rest"), ("localhost", "/%61", "exact"),
    ("localhost", "/a/../abc", "longest"), ("localhost", "//a", "exact"),
    ("localhost", "/a/", "star"),
    ("localhost", "/h/a", "ha"), ("localhost", "/H/b", "hrest"), ("localhost", "/h", "notn"),
    ("LOCALHOST", "/a", "exact"), ("localhost.", "/a", "exact"), ("localhost:99", "/a", "exact"),
    ("a.w.test", "/", "A"), ("b.w.test", "/", "b w test ."), ("w.test", "/", "all w.test"),
    ("c.b.w.test", "/", "all c.b.w.test"),
    ("x.w.test", "/p?q=1", "x.w.test |x.w.test http GET /p?q=1 /p q=1"),
    ("other.test:81", "/", "other.test 81|other.test:81 http GET / / "),
    ("single", "/", "one-label"), ("127.0.0.1", "/", "ip"), ("127.0.0.1:80", "/", "ip"),
    ("[::1]", "/", "ip"), ("[0::0:1]:80", "/", "ip"), ("10.9.8.7", "/", "all 10.9.8.7"),
]


def test_answers_like_caddys(caddis):
    c = caddis(TABLE)
    wrong = []
    for host, target, body in ANSWERS:
        got = c.get(target, host=host)
        if (got.status, got.body.decode()) != (200, body):
            wrong.append((host, target, got.status, got.body, body))
    assert not wrong
    with c.connect() as connection:
        assert connection.request("POST", "/n1", body=b"").body == b"posted"


def test_redirects_to_https_like_caddys(caddis):
    c = caddis("localhost {\n\trespond x\n}\nhttps://a.localhost, http://a.localhost {\n"
               "\trespond both\n}\nhttp://b.localhost {\n\trespond plain\n}\n")
    c.wait_certificate()
    for host in ("localhost", "LOCALHOST", "localhost.", "localhost:80", f"localhost:{c.http}"):
        answer = c.get("/p?q=1", host=host)
        assert (answer.status, answer.get("Location")) == (308, "https://localhost/p?q=1"), host
    for host, name in (("unknown.test", "unknown.test"), ("10.1.1.1", "10.1.1.1"),
                       ("[::1]:80", "[::1]")):
        answer = c.get("/p", host=host)
        assert (answer.status, answer.get("Location")) == (308, f"https://{name}/p"), host
    assert c.get(host="a.localhost").body == b"both"
    assert c.get(host="b.localhost").body == b"plain"


def test_a_catch_all_on_the_http_port_answers_unknown_hosts(caddis):
    c = caddis("localhost {\n\trespond x\n}\nhttp:// {\n\trespond all\n}\n")
    assert c.get(host="other.test").body == b"all"
    c.wait_certificate()
    assert c.get(host="localhost").status == 308


def test_headers_in_the_order_of_the_file(caddis, origin):
    o = origin(lambda r: Response(body="x", fields=[("X-Del-1", "a"), ("My-Del", "b"),
                                                    ("X-Set", "origin"), ("X-Loc", "aXbXc")]))
    c = caddis("http://localhost {\n\theader X-A a\n\theader +X-A b\n\theader X-B old\n"
               "\theader ?X-B new\n\theader ?X-C c\n\theader X-Set ours\n\theader X-Loc X -\n"
               "\theader /p X-P p\n\theader -X-Del*\n\theader -*-Del\n"
               "\theader X-D d {\n\t\tdefer\n\t}\n"
               f"\treverse_proxy {o.address}\n}}")
    answer = c.get()
    assert answer.all("X-A") == ["a", "b"]
    assert answer.all("X-B") == ["old"] and answer.all("X-C") == ["c"]
    assert answer.all("X-Set") == ["ours"] and answer.get("X-Loc") == "a-b-c"
    assert answer.all("X-Del-1") == [] and answer.all("My-Del") == []
    assert answer.all("X-P") == [] and answer.get("X-D") == "d"
    assert c.get("/p").get("X-P") == "p"


def test_respond_types(caddis):
    c = caddis('http://localhost {\n\trespond /json `{"ok": true}`\n\trespond /css "a { b: c }"\n'
               "\trespond /none 204\n"
               "\trespond /ph \"{header.X-T} {cookie.c} {unk nown} \\{host\\}\"\n}")
    assert c.get("/json").get("Content-Type") == "application/json"
    assert c.get("/css").get("Content-Type") == "text/plain; charset=utf-8"
    assert c.get("/css").body == b"a { b: c }"
    assert c.get("/none").status == 204
    answer = c.get("/ph", fields=[("X-T", "tee"), ("Cookie", "a=b; c=d")])
    assert answer.body == b"tee d {unk nown} {host}"


def test_all_forms_of_redir(caddis):
    c = caddis("http://localhost {\n\tredir /a /b 301\n\tredir /c /d temporary\n\tredir /e /f 308\n"
               "\tredir /g /h 401\n\tredir /i /j html\n\t@old path /o1 /o2\n\tredir @old /new\n"
               "\tredir https://www.test{uri}\n}")
    for target, status, location in (
            ("/a", 301, "/b"), ("/c", 302, "/d"), ("/e", 308, "/f"), ("/g", 401, "/h"),
            ("/o1", 302, "/new"), ("/o2", 302, "/new"), ("/z?y=x", 302, "https://www.test/z?y=x")):
        answer = c.get(target)
        assert (answer.status, answer.get("Location")) == (status, location), target
    assert c.get("/i").status == 200 and b'URL=/j"' in c.get("/i").body


def test_auto_https_off_leaves_tls_without_certificates(caddis):
    """As in Caddy: the site stays on the HTTPS port, and only a certificate given serves it."""
    c = caddis("localhost {\n\trespond hello\n}", globals="auto_https off")
    c.wait_log("auto_https is off")
    assert b"hello" not in c.get(port=c.https).body


def test_log_file_makes_its_folder(caddis, eventually):
    c = caddis("http://localhost {\n\tlog {\n\t\toutput file deep/er/a.log\n\t}\n\trespond hi\n}")
    c.get("/marker")
    path = c.folder / "deep/er/a.log"
    eventually(lambda: path.exists() and "/marker" in path.read_text())
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700


def test_paths_in_addresses(caddis, eventually):
    """Deprecated, as in Caddy: by host first, then by the longest path; what no path takes goes to
    the wildcard."""
    c = caddis("""http://a.test/app* {
	respond app
}
http://a.test {
	respond rest
}
http://a.test/app/deep {
	respond deep
}
http://b.test/x {
	respond x
}
http://*.test {
	respond wild
}
""")
    for host, target, want in (("a.test", "/apple", b"app"), ("a.test", "/app/deep", b"deep"),
                               ("a.test", "/app/deep/er", b"app"), ("a.test", "/", b"rest"),
                               ("b.test", "/x", b"x"), ("b.test", "/y", b"wild"),
                               ("c.test", "/x", b"wild")):
        assert c.get(target, host=host).body == want, (host, target)
    eventually(lambda: c.log().count("a path in a site address is deprecated") == 3)
