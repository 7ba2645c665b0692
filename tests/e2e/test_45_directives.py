"""The directives, as a table: a site's block, requests, the answers that are expected.

A row is (request, answer). A request is "[METHOD ]target" with fields behind it, one a line; an
answer is a status, a body, or both, with fields behind it ("Name: value"; "!Name": not there). All
blocks run as sites of one caddis, each under a host of its own. ECHO is an origin that answers with
the request line it got, DEAD an address where nobody listens."""

import json
import time

import pytest
from lib.origin import Response
from lib.ports import free_port
from lib.raw import Closed

SITES = {
    # ---- handle, handle_path, route ----
    "handle": ("""
        handle /a/* { respond a }
        handle /a/b/* { respond ab }
        handle { respond rest }
    """, [("/a/x", "a"), ("/a/b/x", "ab"), ("/c", "rest")]),
    "handle_path": ("""
        handle_path /api/* { reverse_proxy ECHO }
        handle_path /exact { reverse_proxy ECHO }
        handle_path /pre* { respond {path} }
        handle /api/special { respond special }
        handle { respond {path} }
    """, [("/api/x/y?q=1", "GET /x/y?q=1"), ("/API/x", "GET /x"), ("/api/", "GET /"),
          ("/api", "/api"), ("/exact", "GET /"), ("/prefix/x", "/fix/x"), ("/pre", "/"),
          ("/api/special", "special"), ("/%61pi/x%20y", "GET /x%20y"),
          ("/api//x", "GET /x"), ("/api/a/../b", "GET /b")]),
    "route keeps the order it is written in": ("""
        route {
            respond /a first
            redir /a /b
            respond second
        }
    """, [("/a", "first"), ("/x", "second")]),
    "without route the usual order": ("""
        respond /a first
        redir /a /b
    """, [("/a", "302\nLocation: /b")]),
    "route goes on behind it": ("""
        route /x* {
            header X-Route yes
        }
        respond end
    """, [("/x", "end\nX-Route: yes"), ("/y", "end\n!X-Route")]),
    # ---- rewrite, uri, method ----
    "rewrite": ("""
        rewrite /old* /new
        rewrite /o* /never
        rewrite /q /q?a=b&c={query.x}
        rewrite /clear /clear?
        rewrite /only ?k={path}
        rewrite /keep /kept{uri}
        rewrite /all /p?{query}&z=1
        rewrite /sp "/a b/{query.x}"
        rewrite /frag /f#there
        reverse_proxy ECHO
    """, [("/older?q=1", "GET /new?q=1"), ("/q?x=1%262", "GET /q?a=b&c=1%262"),
          ("/q", "GET /q?a=b&c="), ("/clear?x", "GET /clear"), ("/only?x=1", "GET /only?k=%2Fonly"),
          ("/keep?a=1", "GET /kept/keep?a=1"), ("/all?x=1&y=2", "GET /p?x=1&y=2&z=1"),
          ("/sp?x=<>", "GET /a%20b/%3C%3E?x=<>"), ("/none?x", "GET /none?x"),
          ("/frag?x", "GET /f?x"), ("/o", "GET /never")]),
    "rewrite with one argument": ("""
        rewrite /index.html
        reverse_proxy ECHO
    """, [("/anything?x=1", "GET /index.html?x=1")]),
    "matchers see the rewritten request": ("""
        rewrite /old /new
        respond /new new
        respond /old old
    """, [("/old", "new")]),
    "uri strip": ("""
        uri /a/* strip_prefix /a
        uri /b/* strip_prefix b/c
        @html path *.html
        uri @html strip_suffix .html
        reverse_proxy ECHO
    """, [("/a/x", "GET /x"), ("/A/x", "GET /x"), ("/b/c/d", "GET /d"), ("/b/x", "GET /b/x"),
          ("/p.html?q", "GET /p?q"), ("/p.HTML", "GET /p"), ("/a", "GET /a")]),
    "uri replace": ("""
        uri /r/* replace /docs/ /v1/docs/ 1
        uri /s/* path_regexp /+ /
        uri /t/* path_regexp "^/t/(\\d+)-(\\w+)" /$2/$1
        reverse_proxy ECHO
    """, [("/r/docs/docs/?a=/docs/", "GET /r/v1/docs/docs/?a=/v1/docs/"),
          ("/s//a", "GET /s/a"), ("/t/12-ab/x?q", "GET /ab/12/x?q")]),
    "uri query": ("""
        uri /set query a 1
        uri /add query +a 2
        uri /del query -a
        uri /ren query a>b
        uri /re query a "o+" 0
        uri /block query {
            -x
            +y {method}
            z "a b"
            * ^1$ one
        }
        reverse_proxy ECHO
    """, [("/set?b=2&a=3&a=4", "GET /set?a=1&b=2"), ("/add?a=1", "GET /add?a=1&a=2"),
          ("/del?a=1&b=%20&a=2", "GET /del?b=+"), ("/del?a=1", "GET /del"),
          ("/ren?a=1&b=9&a=2", "GET /ren?b=1&b=2"), ("/re?a=foo&b=foo", "GET /re?a=f0&b=foo"),
          ("/block?x=1&k=1", "GET /block?k=one&y=GET&z=a+b")]),
    "method": ("""
        method /post post
        method /head GET
        reverse_proxy ECHO
    """, [("/post", "POST /post"), ("/x", "GET /x"), ("HEAD /head", "200\nX-Method: GET")]),
    # ---- vars, map ----
    "vars": ("""
        vars who all
        vars /a* who a
        vars {
            twice "{vars.once}{vars.once}"
            n 7
        }
        vars /ab who ab
        vars once 1
        respond "{vars.who} {http.vars.n} {vars.none}"
    """, [("/x", "all 7 "), ("/ax", "a 7 "), ("/ab", "ab 7 ")]),
    "map": ("""
        map {path} {one} {two} {
            /a     first  "is {method}"
            /b     -      only-two
            ~^/c/(.*)$     c-$1  "${1}!"
            ~^/n/(?P<name>\\w+)$  "${name}"
            default none  nothing
        }
        respond "{one},{two}"
    """, [("/a", "first,is GET"), ("/b", "none,only-two"), ("/c/x", "c-x,x!"),
          ("/n/joe", "joe,nothing"), ("/z", "none,nothing")]),
    # ---- errors ----
    "error": ("""
        error /e1 "not here" 404
        error /e2 503
        error /e3 { message "because of {path}" }
        error /e4 plain
        handle_errors 404 {
            header X-Kind missing
            respond "{err.status_code} {err.status_text}: {err.message} {path}"
        }
        handle_errors {
            respond "other {err.status_code} {err.message}"
        }
    """, [("/e1", "404 Not Found: not here /e1\nX-Kind: missing\n404"),
          ("/e2", "other 503 \n503"), ("/e3", "other 500 because of /e3\n500"),
          ("/e4", "other 500 plain\n500"), ("/ok", "200\n")]),
    "handle_errors by class, the request as it came": ("""
        rewrite /r* /rewritten
        method /r* POST
        header X-Site set
        error /rewritten "gone" 410
        error /teapot 418
        error /five 500
        handle_errors 5xx { respond "class five" 200 }
        handle_errors 410 418 {
            @gone path /r*
            rewrite @gone /gone.html
            respond "{method} {path} {orig_uri}"
        }
    """, [("/r1?x", "GET /gone.html /r1?x\n410\nX-Site: set"), ("/teapot", "GET /teapot /teapot"),
          ("/five", "class five\n200")]),
    "handle_errors for an origin that is not there": ("""
        handle /handled/* { reverse_proxy DEAD }
        reverse_proxy DEAD
        handle_errors 502 503 504 { respond "sorry: {err.status_code}" }
    """, [("/", "sorry: 502\n502"), ("/handled/x", "sorry: 502\n502")]),
    "handle_errors with another origin": ("""
        reverse_proxy DEAD
        handle_errors {
            rewrite /errors/{err.status_code}
            reverse_proxy ECHO
        }
    """, [("/x?y", "200\nGET /errors/502?y")]),
    "an error in handle_errors, one that nothing handles": ("""
        error /twice first 404
        error /unhandled lone 409
        handle_errors 404 { error second 500 }
        handle_errors 409 { header X-Seen yes }
    """, [("/twice", "500"), ("/unhandled", "409\nX-Seen: yes")]),
    "intercept": ("""
        intercept {
            @teapot status 418
            @html header X-Method GET
            @none status 404
            replace_status @teapot 200
            handle_response @html {
                header X-From "{resp.status_code}"
                respond "instead of {resp.header.X-Method} {resp.status_code}" 203
            }
            handle_response @none {
                header X-Kept yes
            }
        }
        error /error "raised" 404
        respond /teapot tea 418
        respond /plain plain
        respond /none nothing 404
        reverse_proxy ECHO
    """, [("/teapot", "tea\n200"), ("/plain", "plain\n200"), ("/x", "203\ninstead of GET 200\n"
          "X-From: 200"), ("HEAD /x", "200\nX-Method: HEAD"),
          ("/none", "404\nnothing\nX-Kept: yes"), ("/error", "404\n!X-Kept")]),
    "respond": ("""
        respond /s {query.code}0 {query.code}
        respond /h <<END
            two
              lines
            END 201
        respond /json {"a":1}
        respond /block { body in-block }
        respond /both 404 { body gone }
    """, [("/s?code=203", "203\n2030"), ("/s?code=junk", "500"), ("/h", "201\ntwo\n  lines"),
          ("/json", '{"a":1}\nContent-Type: application/json'), ("/block", "in-block"),
          ("/both", "404\ngone")]),
    "request_body": ("""
        request_body /small { max_size 10 }
        request_body { max_size 1KiB }
        reverse_proxy ECHO
        handle_errors 413 { respond "too much" }
    """, [("POST /small\nBODY 10", "POST /small"), ("POST /small\nBODY 11", "too much\n413"),
          ("POST /x\nBODY 1024", "POST /x"), ("POST /x\nBODY 1025", "too much\n413"),
          ("POST /x\nCHUNKED 1025", "too much\n413"), ("POST /x\nCHUNKED 500", "POST /x")]),
}


def echo(request):
    return Response(body=f"{request.method} {request.target}".encode(),
                    fields=[("X-Method", request.method), ("X-Fields", json.dumps(
                        [[n, v] for n, v in request.fields]))])


def host_of(name):
    return "".join(c if c.isalnum() else "-" for c in name) + ".test"


@pytest.fixture(scope="module")
def served(request):
    """One caddis with all the sites."""
    from lib.caddis import Caddis
    from lib.origin import Origin

    origin = Origin(echo)
    dead = f"127.0.0.1:{free_port()}"
    text = "".join(f"http://{host_of(name)} {{{block}}}\n" for name, (block, _) in SITES.items())
    c = Caddis(text.replace("ECHO", origin.address).replace("DEAD", dead), start=False)
    c.start()
    yield c
    c.stop()
    c.check_reports()
    c.clean()
    # A body that gets too long ends its connection to the origin.
    origin.errors = [e for e in origin.errors if not isinstance(e, Closed)]
    origin.finish()


def ask(c, host, text):
    first, *lines = text.split("\n")
    method, _, target = first.rpartition(" ")
    fields, body, chunked = [], None, False
    for line in lines:
        if line.startswith(("BODY ", "CHUNKED ")):
            body, chunked = b"x" * int(line.split()[1]), line.startswith("CHUNKED")
        else:
            fields.append(tuple(line.split(": ", 1)))
    with c.connect(host=host) as connection:
        if chunked:
            connection.send(f"{method} {target} HTTP/1.1\r\nHost: {host}\r\n"
                            "Transfer-Encoding: chunked\r\n\r\n")
            for at in range(0, len(body), 100):
                piece = body[at:at + 100]
                connection.send(b"%x\r\n%s\r\n" % (len(piece), piece))
            connection.send("0\r\n\r\n")
            return connection.read_response(method)
        return connection.request(method or "GET", target, fields=fields, body=body)


def check(answer, expected):
    body = []
    for line in expected.split("\n"):
        name, colon, value = line.partition(": ")
        if line.isdigit() and len(line) == 3:
            assert answer.status == int(line), answer
        elif line.startswith("!") and answer.all(line[1:]):
            raise AssertionError(f"{line[1:]} is there: {answer}")
        elif line.startswith("!"):
            pass
        elif colon and name.replace("-", "").isalpha() and name[0].isupper() and "-" in name \
                or name == "Location":
            assert answer.get(name) == value, answer
        else:
            body.append(line)
    if body:
        assert answer.body == "\n".join(body).encode(), answer.body


@pytest.mark.parametrize("name", SITES, ids=list(SITES))
def test_site(served, name):
    for request, expected in SITES[name][1]:
        try:
            check(ask(served, host_of(name), request), expected)
        except AssertionError as e:
            raise AssertionError(f"{request!r}: {e}") from None


def test_abort(caddis):
    c = caddis("http://localhost {\n\tabort /secret*\n\trespond hello\n}")
    assert c.get("/x").body == b"hello"
    with c.connect() as connection:
        connection.send("GET /secret HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert connection.recv_all() == b""


def test_early_hints(caddis, origin):
    o = origin(lambda r: Response(body=b"page"))
    c = caddis("http://localhost {\n\theader /* Link \"</s.css>; rel=preload; as=style\"\n"
               f"\troute {{\n\t\trespond 103\n\t\treverse_proxy {o.address}\n\t}}\n}}")
    answer = c.get()
    assert answer.body == b"page"
    assert [(m.status, m.get("Link")) for m in answer.interim] == [
        (103, "</s.css>; rel=preload; as=style")]


def test_bind(caddis):
    c = caddis("http://a.test {\n\tbind 127.0.0.1\n\trespond one\n}\n"
               "http://a.test, http://b.test {\n\tbind 127.0.0.2 127.0.0.3\n\trespond two\n}\n"
               "s.test {\n\tbind 127.0.0.2\n\ttls internal\n\trespond secure\n}")

    def get(address, host):
        with c.connect(address=address) as connection:
            return connection.get(host=host)

    assert get("127.0.0.1", "a.test").body == b"one"
    assert get("127.0.0.1", "b.test").body == b""
    for address in ("127.0.0.2", "127.0.0.3"):
        assert get(address, "a.test").body == b"two" and get(address, "b.test").body == b"two"
    with pytest.raises(ConnectionRefusedError):
        c.connect(address="127.0.0.4")
    deadline = time.monotonic() + 60  # its redirect is where it is, too, once it has its certificate
    while (answer := get("127.0.0.2", "s.test")).status == 503:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert (answer.status, answer.get("Location")) == (308, "https://s.test/")
    assert get("127.0.0.1", "s.test").status == 200


def test_header_with_match(caddis, origin):
    o = origin(lambda r: Response(status=int(r.target[1:]), fields=[("X-Kind", "page")]))
    c = caddis("http://localhost {\n\theader {\n\t\tmatch status 4xx\n\t\tX-Bad yes\n\t}\n"
               "\theader {\n\t\tmatch {\n\t\t\tstatus 2xx\n\t\t\theader X-Kind p*\n\t\t}\n"
               f"\t\tX-Good {{http.response.header.X-Kind}}\n\t}}\n\treverse_proxy {o.address}\n}}")
    found = {s: (c.get(f"/{s}").get("X-Bad"), c.get(f"/{s}").get("X-Good")) for s in (200, 404, 500)}
    assert found == {200: (None, "page"), 404: ("yes", None), 500: (None, None)}


def test_as_caddy_has_it(caddis, origin, folder):
    """What a side-by-side look found: map's default "-", {rp.status_text}, the mode in listings."""
    o = origin(lambda r: Response(status=404, body=b"no"))
    (folder / "x.txt").write_text("x")
    (folder / "x.txt").chmod(0o640)
    (folder / "sub").mkdir(mode=0o755)
    c = caddis("http://localhost {\n\tmap {path} {a} {b} {\n\t\t/one 1 -\n\t\tdefault none -\n\t}\n"
               f"\thandle /list/* {{\n\t\turi strip_prefix /list\n\t\troot * {folder}\n"
               "\t\tfile_server browse\n\t}\n"
               f"\thandle /origin {{\n\t\treverse_proxy {o.address} {{\n\t\t\thandle_response {{\n"
               "\t\t\t\trespond \"{rp.status_text}\"\n\t\t\t}\n\t\t}\n\t}\n"
               "\trespond \"{a} {b}\"\n}")
    assert c.get("/one").body == b"1 -"
    assert c.get("/two").body == b"none -"
    assert c.get("/origin").body == b"404 Not Found"
    listing = json.loads(c.get("/list/", fields=[("Accept", "application/json")]).body)
    modes = {x["name"]: x["mode"] for x in listing}
    assert modes["x.txt"] == 0o640
    assert modes[next(n for n in modes if n.startswith("sub"))] == 0o755 | 1 << 31


def test_metrics(caddis):
    c = caddis("http://localhost {\n\tmetrics /metrics\n\terror /broken 500\n"
               "\trespond /a hello\n\trespond /b hello\n}", globals="metrics", args=["--workers", "2"])
    for target in ("/a", "/b", "/broken"):
        c.get(target)

    def numbers():
        answer = c.get("/metrics")
        assert answer.get("Content-Type").startswith("text/plain; version=0.0.4")
        lines = answer.body.decode().splitlines()
        return dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#"))

    label = 'handler="subroute",server="srv0"'
    deadline = time.monotonic() + 30  # a request is counted when its last byte has gone
    name = "caddy_http_request_duration_seconds_count"
    while int(numbers().get(f'{name}{{code="500",{label},method="GET"}}', "0")) < 1:
        assert time.monotonic() < deadline
    found = numbers()
    assert int(found[f'{name}{{code="200",{label},method="GET"}}']) >= 2
    assert int(found[f"caddy_http_requests_total{{{label}}}"]) >= 4
    assert int(found[f"caddy_http_request_errors_total{{{label}}}"]) == 1
    assert int(found[f"caddy_http_requests_in_flight{{{label}}}"]) >= 1
    sizes = [int(v) for k, v in found.items()
             if k.startswith("caddy_http_response_size_bytes_bucket") and 'code="200"' in k]
    assert sizes == sorted(sizes)
    assert float(found["caddy_config_last_reload_success_timestamp_seconds"]) > 1e9
    assert found["caddy_config_last_reload_successful"] == "1"


def test_metrics_by_host_and_origins(caddis, origin):
    """Hosts that no site has are counted together; of each origin it is told whether it is usable."""
    o = origin()
    c = caddis("http://a.test, http://*.b.test {\n\tmetrics /metrics\n\treverse_proxy /dead 127.0.0.1:9 {"
               f"\n\t\tfail_duration 1h\n\t}}\n\treverse_proxy {o.address}\n}}",
               globals="metrics {\n\tper_host\n}")
    for host, target in (("a.test", "/"), ("x.b.test", "/"), ("y.b.test", "/"), ("a.test", "/dead")):
        c.get(target, host=host)
    page = c.get("/metrics", host="a.test").body.decode()
    label = 'handler="subroute",server="srv0"'
    assert f'caddy_http_requests_total{{{label},host="a.test"}} 3\n' in page
    assert f'caddy_http_requests_total{{{label},host="_other"}} 2\n' in page
    assert 'caddy_http_response_duration_seconds_count{code="502",' in page
    assert f'caddy_reverse_proxy_upstreams_healthy{{upstream="{o.address}"}} 1\n' in page
    assert 'caddy_reverse_proxy_upstreams_healthy{upstream="127.0.0.1:9"} 0\n' in page
    c.reload("http://a.test {\n\tmetrics\n}")
    assert "upstream=" not in c.get("/metrics", host="a.test").body.decode()


@pytest.mark.parametrize("block, words", [
    ("handle_path { respond x }", "needs the path"),
    ("@m path /x\nhandle_path @m { respond x }", "needs the path"),
    ("route", "needs a block"),
    ("rewrite", "needs 1 argument"),
    ("rewrite /a /b /c", "at most 1 argument"),
    ("uri strip_prefix", "2 argument"),
    ("uri strip_prefx /x", 'did you mean "strip_prefix"?'),
    ("uri path_regexp ( x", "no regular expression"),
    ("uri query a>b c", "its form is: key>new_key"),
    ("method G,ET", "is no method"),
    ("vars a", "needs a name and a value"),
    ("map {path} x { a b }", "placeholders of its own: {x}"),
    ("map {path} {x} { a b c }", "at most 1 argument"),
    ("map {path} {x} {\na b\na c\n}", "given twice"),
    ("error 99x 700 ", "is not a status"),
    ("abort now", "takes no arguments"),
    ("handle_errors 40x { respond x }", "is no status such as 404 or 5xx"),
    ("handle { handle_errors { respond x } }", "belongs directly into its block"),
    ("request_body { max_size lots }", "is no size"),
    ("request_body { max 1 }", "has max_size, set, read_timeout"),
    ("respond x 99", "is not a status"),
    ("intercept { handle_response @x { respond y } }", "is not defined in"),
    ("intercept", "needs a block"),
    ("bind no-such-host.invalid", "is no address to listen on"),
    ("bind", "needs an address"),
    ("templates", "is Caddy's and not in caddis: it runs Go's templates"),
    ("push /x", "early hints"),
    ("metrics { per_host }", 'no option "per_host"'),
])
def test_mistakes(tmp_path, block, words):
    from lib.caddis import command

    file = tmp_path / "Caddyfile"
    file.write_text(f"http://localhost {{\n{block}\n}}\n")
    done = command("validate", "-c", str(file))
    assert done.returncode == 1
    assert words in done.stderr, done.stderr
    assert ":2:" in done.stderr or ":3:" in done.stderr or ":4:" in done.stderr
