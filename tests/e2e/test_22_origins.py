"""reverse_proxy whole: fields, trusted proxies, balancing, health, buffers, responses."""

import re
import socket
import threading
import time

import pytest
from lib.origin import Response

SITE = "http://localhost {\n\treverse_proxy %s {\n%s\n\t}\n}"


def site(address, *lines):
    return SITE % (address, "\n".join(lines))


# ---- header_up, header_down, request_header, header ----


def test_header_up_every_operator(caddis, origin):
    o = origin()
    c = caddis(site(
        o.address,
        'header_up X-Set "v {method} {http.reverse_proxy.upstream.port}"',
        "header_up +X-Add two",
        "header_up -X-Gone",
        "header_up -X-Pre*",
        "header_up -*-Suf",
        r'header_up X-Re "(\w+)@(\w+)" "$2 at ${1}"',
        "header_up Host {upstream_hostport}",
        "header_up X-Forwarded-For 192.0.2.1",
    ))
    c.get("/", fields=[
        ("X-Set", "old"), ("X-Add", "one"), ("X-Gone", "1"), ("X-Prefix", "1"), ("X-pre", "1"),
        ("A-suf", "1"), ("X-Re", "a@b, c@d"), ("Keep", "1"),
    ])
    r = o.last
    assert r.get("X-Set") == f"v GET {o.port}"
    assert r.all("X-Add") == ["one", "two"]
    assert not any(r.all(n) for n in ("X-Gone", "X-Prefix", "X-pre", "A-suf"))
    assert r.get("X-Re") == "b at a, d at c"
    assert r.get("Host") == o.address
    assert r.get("X-Forwarded-For") == "192.0.2.1"
    assert r.get("Keep") == "1"


def test_placeholders_of_attempts(caddis, origin):
    o = origin()
    c = caddis(site(
        f"127.0.0.1:9 {o.address}",
        "lb_policy first",
        "lb_retries 3",
        "unhealthy_request_count 7",
        "header_up X-Attempt {rp.retries}/{rp.upstream.requests}/{rp.upstream.max_requests}",
        "header_down X-Took {rp.upstream.latency}/{rp.upstream.latency_ms}",
        "header_down X-All {rp.duration}/{rp.duration_ms}/{rp.upstream.duration_ms}",
    ))
    answer = c.get()
    assert answer.status == 200
    assert re.fullmatch(r"\d+/\d+/7", o.last.get("X-Attempt"))
    text, ms = answer.get("X-Took").split("/")
    assert text in (f"{ms}ms", f"{int(ms) / 1000:.3f}s")
    assert re.fullmatch(r"[\d.]+m?s/\d+/\d+", answer.get("X-All"))


def test_header_up_delete_all_keeps_what_is_set(caddis, origin):
    o = origin()
    c = caddis(site(o.address, "header_up X-New {host}", "header_up -*"))
    with c.connect() as connection:
        connection.request("POST", "/", [("A", "1"), ("X-New", "x")], body=b"body")
    assert {n.lower() for n, _ in o.last.fields} == {"host", "x-new", "content-length"}
    assert o.last.get("X-New") == "localhost"
    assert o.last.body == b"body"


def test_header_down_every_operator(caddis, origin):
    o = origin(lambda r: Response(body=b"b", fields=[
        ("Server", "secret"), ("X-Debug-A", "1"), ("X-Debug-B", "1"), ("Location", "http://a/b"),
        ("X-Set", "old"), ("X-Add", "one")]))
    c = caddis(site(
        o.address, "header_down -Server", "header_down -X-Debug*", "header_down X-Set {host}",
        "header_down +X-Add two", "header_down Location ^http: https:",
    ))
    r = c.get("/")
    assert r.get("Server") is None and not r.all("X-Debug-A") and not r.all("X-Debug-B")
    assert r.get("X-Set") == "localhost"
    assert r.all("X-Add") == ["one", "two"]
    assert r.get("Location") == "https://a/b"
    assert r.body == b"b"


SLOW = r"^(a+a+)+b"
EVIL = "a" * 3000 + "cb"  # takes exponential time


def test_a_regular_expression_at_its_limit_answers_500(caddis, origin):
    o = origin(lambda r: Response(body=b"hidden" * 20000, fields=[("X-A", EVIL)]))
    c = caddis(site(o.address, f"header_up X-In {SLOW} x", f"header_down X-A {SLOW} x"))
    with c.connect() as connection:
        r = connection.get("/")  # header_down
        assert r.status == 500 and r.body == b"" and not r.all("X-A")
    asked = len(o.requests)
    assert c.get("/", fields=[("X-In", EVIL)]).status == 500
    assert len(o.requests) == asked


def test_header_directive_at_its_limit_passes_nothing(caddis, origin):
    o = origin(lambda r: Response(body=b"hidden" * 20000, fields=[("X-A", EVIL)]))
    c = caddis("http://localhost {\n\theader X-A %s x\n\treverse_proxy %s\n}" % (SLOW, o.address))
    with c.connect() as connection:
        r = connection.get("/")
        assert r.status == 500 and r.body == b"" and not r.all("X-A")


def test_request_header(caddis, origin):
    o = origin()
    c = caddis(
        "http://localhost {\n\trequest_header X-A {client_ip}\n\trequest_header {\n\t\t-X-B\n"
        "\t\tHost inner.example\n\t}\n\treverse_proxy %s\n}" % o.address
    )
    c.get("/", fields=[("X-A", "spoofed"), ("X-B", "1")])
    assert o.last.get("X-A") == "127.0.0.1"
    assert not o.last.all("X-B")
    assert o.last.get("Host") == "inner.example"


@pytest.mark.parametrize("line, message", [
    (r"header_up X (a)\1 b", "back-references"),
    ("header_up X a(?=b) c", "look-ahead"),
    ("header_up X a*+ c", "possessive"),
    ("header_up X a( c", "no regular expression"),
    ("header_up -Host", "exactly one Host"),
    ("header_up Content-Length 5", "cannot be changed"),
    ("header_up -X v", "takes no value"),
    ("header_up ?X v", "no meaning here"),
    ("header_down X a b c", "at most 3"),
    ("header_upp X v", 'did you mean "header_up"'),
])
def test_errors_of_rules_have_a_place(caddis, line, message):
    c = caddis(site("localhost:1", "\t\t" + line), start=False)
    done = c.command("validate", "--config", c.file)
    assert done.returncode == 1
    assert message in done.stderr + done.stdout
    assert re.search(r"Caddyfile:\d+:\d+", done.stderr + done.stdout)


def test_an_unknown_placeholder_is_a_warning_with_a_hint(caddis):
    c = caddis(site("localhost:1", "\t\theader_up X {upstream_hostprt}"), start=False)
    done = c.command("validate", "--config", c.file)
    assert done.returncode == 0
    assert 'did you mean "upstream_hostport"' in done.stderr


# ---- trusted proxies ----

TRUST = "servers {\n trusted_proxies static %s\n%s\n}"


def forwarded(request):
    return [request.get("X-Forwarded-" + n) for n in ("For", "Proto", "Host")]


CLAIMS = [
    ("X-Forwarded-For", "203.0.113.7, 10.1.1.1"), ("X-Forwarded-For", "10.2.2.2"),
    ("X-Forwarded-Proto", "https"), ("X-Forwarded-Host", "outer.example"),
]
KEPT = ["203.0.113.7, 10.1.1.1, 10.2.2.2, 127.0.0.1", "https", "outer.example"]
SEEN = ["127.0.0.1", "http", "localhost"]


@pytest.mark.parametrize("trusted, strict, kept, client", [
    ("127.0.0.0/8", "", True, "203.0.113.7"),
    ("private_ranges", "trusted_proxies_strict", True, "203.0.113.7"),
    ("127.0.0.1 10.2.0.0/16", "trusted_proxies_strict", True, "10.1.1.1"),
    ("192.0.2.0/24", "", False, "127.0.0.1"),
])
def test_trusted_proxies_of_the_server(caddis, origin, trusted, strict, kept, client):
    o = origin()
    c = caddis(site(o.address, "header_up X-Client {client_ip}", "header_up X-Peer {remote_host}"),
               globals=TRUST % (trusted, strict))
    c.get("/", fields=CLAIMS)
    assert forwarded(o.last) == (KEPT if kept else SEEN)
    assert o.last.get("X-Client") == client
    assert o.last.get("X-Peer") == "127.0.0.1"


def test_trusted_proxies_of_the_handler(caddis, origin):
    o = origin()
    c = caddis(site(o.address, "trusted_proxies private_ranges", "header_up X-Client {client_ip}"))
    c.get("/", fields=CLAIMS)
    assert forwarded(o.last) == KEPT
    assert o.last.get("X-Client") == "127.0.0.1"  # that is the server's affair
    c.get("/")
    assert forwarded(o.last) == SEEN


def test_client_ip_headers_matchers_and_log(caddis, origin):
    o = origin()
    c = caddis(
        "http://localhost {\n\tlog\n\t@good client_ip 203.0.113.0/24\n\t@peer remote_ip 127.0.0.1\n"
        "\t@other remote_ip 192.0.2.1\n\trespond @good good\n\trespond @other other\n"
        "\trespond @peer peer\n}",
        globals=TRUST % ("127.0.0.1", "client_ip_headers CF-Connecting-IP X-Forwarded-For"),
    )
    assert c.get("/").body == b"peer"
    assert c.get("/", fields=[("CF-Connecting-IP", "203.0.113.9"),
                              ("X-Forwarded-For", "198.51.100.1")]).body == b"good"
    c.wait_log('"client_ip":"203.0.113.9"')
    assert '"remote_ip":"127.0.0.1"' in c.log()


@pytest.mark.parametrize("text, message", [
    ("servers {\n trusted_proxies static 10.0.0.0/33\n}", "no IP address or range"),
    ("servers {\n trusted_proxies cloudflare x\n}", "takes static"),
    ("servers {\n trusted_proxies static privat_ranges\n}", 'did you mean "private_ranges"'),
    ("servers {\n client_ip_headers a:b\n}", "no field name"),
])
def test_errors_of_trust_have_a_place(caddis, text, message):
    c = caddis("http://localhost {\n}", globals=text, start=False)
    done = c.command("validate", "--config", c.file)
    assert done.returncode == 1 and message in done.stdout + done.stderr
    assert re.search(r"Caddyfile:\d+:\d+", done.stderr + done.stdout)


# ---- balancing ----


def named(origin, n):
    return [origin(lambda r, i=i: Response(body=str(i))) for i in range(n)]


def addresses(origins):
    return " ".join(o.address for o in origins)


def ask(c, count, target="/", fields=()):
    with c.connect() as connection:
        return [connection.get(target, fields).body.decode() for _ in range(count)]


def test_weighted_round_robin(caddis, origin):
    c = caddis(site(addresses(named(origin, 3)), "lb_policy weighted_round_robin 3 0 1"),
               args=["--workers", "1"])
    assert sorted(ask(c, 8)) == ["0"] * 6 + ["2"] * 2


@pytest.mark.parametrize("policy", ["ip_hash", "client_ip_hash", "uri_hash", "first"])
def test_sticky_policies(caddis, origin, policy):
    c = caddis(site(addresses(named(origin, 4)), f"lb_policy {policy}"))
    assert len(set(ask(c, 10))) == 1
    spread = {ask(c, 1, f"/{i}")[0] for i in range(40)}
    assert len(spread) == (4 if policy == "uri_hash" else 1)


def test_header_and_query_policies_and_their_fallback(caddis, origin):
    origins = named(origin, 4)
    c = caddis(
        site(addresses(origins), "lb_policy header X-User {", "fallback first", "}")
        + "\nhttp://127.0.0.1 {\n\treverse_proxy %s {\n\t\tlb_policy query user\n\t}\n}"
        % addresses(origins))
    for i in range(10):
        assert len(set(ask(c, 4, fields=[("X-User", f"u{i}")]))) == 1
    assert len({ask(c, 1, fields=[("X-User", f"u{i}")])[0] for i in range(40)}) == 4
    assert set(ask(c, 5)) == {"0"}
    for i in range(5):
        assert len({c.get(f"/?a=1&user={i}", host="127.0.0.1").body for _ in range(4)}) == 1
    assert len({c.get("/", host="127.0.0.1").body for _ in range(60)}) > 1


def test_cookie_policy(caddis, origin):
    c = caddis(site(addresses(named(origin, 4)), "lb_policy cookie stick secret {",
                    "fallback first", "max_age 1h", "}"))
    r = c.get("/")
    cookie = r.get("Set-Cookie")
    assert r.body == b"0"
    assert re.fullmatch(r"stick=[0-9a-f]{64}; Path=/; Max-Age=3600", cookie)
    value = cookie.split(";")[0]
    again = c.get("/", fields=[("Cookie", f"a=b; {value}")])
    assert again.body == b"0" and again.get("Set-Cookie") is None
    assert c.get("/", fields=[("Cookie", "stick=" + "0" * 64)]).get("Set-Cookie") == cookie


def test_cookie_policy_stays_where_it_was(caddis, origin):
    c = caddis(site(addresses(named(origin, 4)), "lb_policy cookie"))
    for _ in range(5):
        r = c.get("/")
        value = r.get("Set-Cookie").split(";")[0]
        assert {c.get("/", fields=[("Cookie", value)]).body for _ in range(6)} == {r.body}


def test_random_choose_reaches_all(caddis, origin):
    c = caddis(site(addresses(named(origin, 3)), "lb_policy random_choose 2"))
    assert set(ask(c, 60)) == {"0", "1", "2"}


@pytest.mark.parametrize("line, message", [
    ("lb_policy random_chose 2", 'did you mean "random_choose"'),
    ("lb_policy random_choose 1", "from 2"),
    ("lb_policy weighted_round_robin 1", "1 weights for 2 origins"),
    ("lb_policy weighted_round_robin 0 0", "more than 0"),
    ("lb_policy header", "header <field>"),
    ("lb_policy ip_hash {\n fallback first\n }", "takes no block"),
    ("lb_policy cookie {\n fallbak first\n }", "fallback <policy> and max_age"),
    ("lb_retries many", "no number"),
    ("lb_try_duration 5", "no duration"),
    ("lb_retry_match nothing", "unknown matcher"),
    ("unhealthy_status 700", "no status"),
    ("health_uri health", "is a path"),
    ("health_body (", "no regular expression"),
    ("health_port 0", "no number from 1"),
    ("health_intervall 3s", 'did you mean "health_interval"'),
])
def test_errors_of_balancing_have_a_place(caddis, line, message):
    c = caddis(site("localhost:1 localhost:2", line), start=False)
    done = c.command("validate", "--config", c.file)
    assert done.returncode == 1 and message in done.stdout + done.stderr, done.stdout + done.stderr
    assert re.search(r"Caddyfile:\d+:\d+", done.stderr + done.stdout)


def closed_port():
    s = socket.socket()
    s.bind(("127.0.0.1", 0))
    port = s.getsockname()[1]
    s.close()
    return port


def test_try_duration_waits_for_an_origin_that_comes(caddis, origin):
    port = closed_port()
    c = caddis(site(f"127.0.0.1:{port}", "lb_try_duration 20s", "lb_try_interval 50ms"))
    with c.connect() as connection:
        connection.send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
        listener.listen()
        listener.settimeout(15)
        peer, _ = listener.accept()
        peer.recv(65536)
        peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        assert connection.read_response("GET").body == b"ok"
        peer.close()
        listener.close()


def test_try_duration_ends(caddis):
    c = caddis(site(f"127.0.0.1:{closed_port()}", "lb_try_duration 300ms",
                    "lb_try_interval 50ms"))
    start = time.monotonic()
    assert c.get("/").status == 502
    assert time.monotonic() - start >= 0.3


def test_client_that_leaves_between_attempts(caddis, origin):
    c = caddis(site(f"127.0.0.1:{closed_port()}", "lb_try_duration 60s", "lb_try_interval 50ms"))
    for _ in range(5):
        with c.connect() as connection:
            connection.send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
    c.stop()  # nothing holds it up, and nothing has leaked


def drop_first(count):
    seen = []

    def script(raw):
        request = raw.read_head()
        raw.read_body(request)
        seen.append(request.method)
        if len(seen) <= count:
            return
        raw.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")

    script.seen = seen
    return script


def test_retries_of_a_get_whose_answer_failed(caddis, scripted):
    script = drop_first(2)
    o = scripted(script)
    c = caddis(site(o.address, "lb_retries 2"))
    assert c.get("/").body == b"ok"
    assert len(script.seen) == 3


def test_retries_have_an_end(caddis, scripted):
    script = drop_first(9)
    o = scripted(script)
    c = caddis(site(o.address, "lb_retries 2"))
    assert c.get("/").status == 502
    assert len(script.seen) == 3


@pytest.mark.parametrize("match, asked", [("", 1), ("lb_retry_match method PUT", 2),
                                          ("lb_retry_match {\n path /x\n method PUT\n }", 1)])
def test_retry_match(caddis, scripted, match, asked):
    script = drop_first(1)
    o = scripted(script)
    c = caddis(site(o.address, "lb_retries 3", match))
    with c.connect() as connection:
        status = connection.request("PUT", "/y", body=b"").status
    assert status == (200 if asked == 2 else 502)
    assert len(script.seen) == asked


@pytest.mark.parametrize("match, method, want", [
    ("lb_retry_match `{rp.status_code} in [502, 503]`", "GET", (200, 2)),
    ("lb_retry_match `{rp.header.X-Busy} == 'yes' && method('PUT')`", "PUT", (200, 2)),
    ("lb_retry_match `{rp.is_transport_error} == true`", "GET", (503, 1)),
    ("lb_retry_match method GET", "GET", (503, 1)),  # without an expression: failures only
    ("lb_retry_match `{rp.status_code} == 503`", "POST", (200, 2)),
])
def test_retry_because_of_an_answer(caddis, origin, match, method, want):
    """As in Caddy a matcher with an expression is asked about answers, too."""
    busy = origin(lambda request: Response(503, "busy", [("X-Busy", "yes")]))
    good = origin()
    c = caddis(site(f"{busy.address} {good.address}", "lb_policy round_robin", "lb_retries 3",
                    "lb_try_interval 1ms", match, "request_buffers 1MiB"),
               args=["--workers", "1"])
    with c.connect() as connection:
        answers = {}
        for _ in range(2):  # whose turn comes first is not said
            before = len(busy.requests), len(good.requests)
            status = connection.request(method, "/x", body=b"body").status
            asked = len(busy.requests) - before[0]
            if asked:
                answers = status, asked + len(good.requests) - before[1]
    assert answers == want
    assert all(request.body == b"body" for request in good.requests + busy.requests)


def test_transport_errors_for_expressions(caddis, scripted):
    script = drop_first(1)
    o = scripted(script)
    c = caddis(site(o.address, "lb_retries 3", "lb_retry_match `{rp.is_transport_error}"
                    " && method('PUT')`", "header_down X-Fails {rp.upstream.fails}",
                    "fail_duration 1h", "max_fails 9"))
    with c.connect() as connection:
        answer = connection.request("PUT", "/y", body=b"")
    assert (answer.status, answer.get("X-Fails"), len(script.seen)) == (200, "1", 2)


# ---- health ----


def test_passive_checks_leave_a_failing_origin_alone(caddis, origin):
    port = closed_port()
    good = origin()
    c = caddis(site(f"127.0.0.1:{port} {good.address}", "lb_policy first", "fail_duration 1h"),
               args=["--workers", "1"])
    for _ in range(5):
        assert c.get("/").status == 200
    # Only the first request met the dead origin, and the log has no second word of it.
    bad = socket.socket()
    bad.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    bad.bind(("127.0.0.1", port))
    bad.listen()
    bad.settimeout(0.5)
    assert c.get("/").status == 200
    with pytest.raises(socket.timeout):
        bad.accept()
    bad.close()


def test_passive_checks_by_status_and_max_fails(caddis, origin):
    o = origin(lambda r: Response(status=500))
    c = caddis(site(o.address, "fail_duration 1h", "max_fails 3", "unhealthy_status 5xx"))
    assert [c.get("/").status for _ in range(5)] == [500, 500, 500, 503, 503]
    assert len(o.requests) == 3


def test_passive_checks_forget(caddis, origin, eventually):
    o = origin(lambda r: Response(status=500 if len(o.requests) == 1 else 200))
    c = caddis(site(o.address, "fail_duration 300ms", "unhealthy_status 500"))
    assert c.get("/").status == 500
    eventually(lambda: c.get("/").status == 200)


def test_unhealthy_latency(caddis, origin):
    def slow(_):
        time.sleep(0.2)
        return Response()

    o = origin(slow)
    c = caddis(site(o.address, "fail_duration 1h", "unhealthy_latency 100ms"))
    assert [c.get("/").status for _ in range(2)] == [200, 503]


def test_unhealthy_request_count(caddis, scripted):
    arrived = threading.Event()
    go = threading.Event()

    def script(raw):
        raw.read_head()
        arrived.set()
        go.wait(15)
        raw.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")

    o = scripted(script)
    c = caddis(site(o.address, "unhealthy_request_count 1"))
    with c.connect() as first:
        first.send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert arrived.wait(10)
        assert c.get("/").status == 503
        go.set()
        assert first.read_response("GET").status == 200


def test_active_checks(caddis, origin, eventually):
    state = {"ok": True}

    def handler(r):
        if r.target == "/health?x=1":
            return Response(status=204 if state["ok"] else 500)
        return Response(body="page")

    o = origin(handler)
    c = caddis(site(o.address, "health_uri /health?x=1", "health_interval 50ms",
                    "health_headers {", "Host check.example", "X-Check a", "}"))
    eventually(lambda: o.requests)
    check = o.requests[0]
    assert check.method == "GET" and check.target == "/health?x=1"
    assert check.get("Host") == "check.example" and check.get("X-Check") == "a"
    assert c.get("/").body == b"page"
    state["ok"] = False
    eventually(lambda: c.get("/").status == 503)
    c.wait_log("the origin is not healthy")
    state["ok"] = True
    eventually(lambda: c.get("/").status == 200)
    c.wait_log("the origin is healthy again")


def test_active_checks_by_body_status_and_redirect(caddis, origin, eventually):
    answers = {
        "/redirect": Response(status=302, fields=[("Location", "/final")]),
        "/final": Response(status=418, body="all is well"),
    }
    o = origin(lambda r: answers.get(r.target, Response(body="page")))
    c = caddis(site(o.address, "health_uri /redirect", "health_interval 50ms", "health_status 4xx",
                    "health_follow_redirects", 'health_body "is (well|fine)$"',
                    "health_method POST", "health_request_body ping"))
    eventually(lambda: len([r for r in o.requests if r.target == "/final"]) > 2)
    assert o.requests[0].method == "POST" and o.requests[0].body == b"ping"
    assert c.get("/").status == 200
    answers["/final"] = Response(status=418, body="all is lost")
    eventually(lambda: c.get("/").status == 503)
    answers["/final"] = Response(status=200, body="all is well")
    assert c.get("/").status == 503


def test_active_checks_on_another_port_and_with_thresholds(caddis, origin, eventually):
    state = {"ok": False}
    o = origin()
    checked = origin(lambda r: Response(status=200 if state["ok"] else 500))
    c = caddis(site(o.address, f"health_port {checked.port}", "health_interval 50ms",
                    "health_fails 3", "health_passes 2"))
    eventually(lambda: c.get("/").status == 503)
    assert len(checked.requests) >= 3
    state["ok"] = True
    eventually(lambda: c.get("/").status == 200)
    assert not [r for r in o.requests if r.get("User-Agent") == "caddis-health"]


def test_active_checks_time_out(caddis, scripted):
    def script(raw):
        raw.read_head()
        raw.sock.settimeout(None)
        raw.sock.recv(1)  # until it is given up

    o = scripted(script)
    c = caddis(site(o.address, "health_uri /", "health_interval 50ms", "health_timeout 100ms"))
    c.wait_log("no answer in time")
    assert c.get("/").status == 503


def test_active_checks_end_with_their_configuration(caddis, origin, eventually):
    o = origin()
    text = site(o.address, "health_uri /h", "health_interval 100ms")
    c = caddis(text)
    for i in range(6):
        c.reload(text + f"\n# {i}")
    eventually(lambda: len(o.requests) > 2)
    start, begun = len(o.requests), time.monotonic()
    eventually(lambda: len(o.requests) >= start + 10)
    # One checker, not seven: ten checks take about a second.
    assert time.monotonic() - begun > 0.5
    c.reload(site(o.address))
    seen = len(o.requests)
    time.sleep(0.5)
    assert len(o.requests) <= seen + 1


# ---- connections to origins ----


def test_keep_alive_of_the_origin_is_honoured(caddis, origin, eventually):
    o = origin(lambda r: Response(fields=[("Keep-Alive", "timeout=1, max=100")]))
    c = caddis(site(o.address), args=["--workers", "1"])
    c.get("/")
    c.get("/")
    assert [r.connection for r in o.requests] == [0, 0]
    eventually(lambda: not o.open)  # ours to close, before the origin does
    c.get("/")
    assert o.last.connection == 1
    assert o.last.get("Keep-Alive") is None


def test_keepalive_in_days_and_off(caddis, origin):
    o = origin()
    c = caddis(site(o.address, "transport http {", "keepalive 7d", "}"), args=["--workers", "1"])
    c.get("/")
    c.get("/")
    assert o.last.connection == 0
    c.reload(site(o.address, "transport http {", "keepalive off", "max_conns_per_host 5", "}"))
    c.get("/")
    c.get("/")
    assert o.last.connection == 2


def test_max_conns_per_host(caddis, scripted):
    gate = threading.Semaphore(0)
    arrived = threading.Semaphore(0)
    lock = threading.Lock()
    now, most = [0], [0]

    def script(raw):
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        raw.read_head()
        arrived.release()
        assert gate.acquire(timeout=20)
        with lock:
            now[0] -= 1
        raw.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")

    o = scripted(script)
    c = caddis(site(o.address, "transport http {", "max_conns_per_host 2", "}"))
    clients = [c.connect() for _ in range(6)]
    for client in clients:
        client.send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
    for _ in range(6):
        assert arrived.acquire(timeout=15)
        gate.release()
    for client in clients:
        assert client.read_response("GET").status == 200
        client.close()
    assert most[0] <= 2


def test_write_timeout(caddis, scripted):
    done = threading.Event()

    def script(raw):
        raw.read_head()
        done.wait(20)

    o = scripted(script)
    c = caddis(site(o.address, "transport http {", "write_timeout 300ms", "}"))
    with c.connect() as client:
        client.send("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000000\r\n\r\n")
        client.send_until_stalled(b"x" * 65536, 50 << 20, quiet=0.2)
        assert client.read_response("POST").status == 504
    done.set()


def test_tls_client_certificate_and_trust_pool(caddis, scripted, authority, folder):
    import ssl

    cert, key = authority.issue("localhost")
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(str(cert), str(key))
    server.verify_mode = ssl.CERT_REQUIRED
    server.load_verify_locations(str(authority.path))
    seen = []

    def script(raw):
        raw.read_head()
        seen.append(raw.sock.getpeercert())
        raw.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")

    o = scripted(script, tls=server)
    mine, mine_key = authority.issue("client.example")
    c = caddis(site(f"https://localhost:{o.port}", "transport http {",
                    f"tls_trust_pool file {authority.path}",
                    f"tls_client_auth {mine} {mine_key}", "}"))
    assert c.get("/").body == b"ok"
    assert "client.example" in str(seen[0])


@pytest.mark.parametrize("line, message", [
    ("tls_client_auth /nonexistent /nonexistent",
     "reading the certificate /nonexistent: No such file"),
    ("tls_trust_pool file /nonexistent", "reading the CA file /nonexistent: No such file"),
    ("tls_trust_pool file /dev/null", "no certificate"),
    ("tls_trust_pool http x", "is file"),
    ("compression on", "can only be off"),
    ("max_conns_per_host x", "no number"),
    ("write_timeout x", "no duration"),
    ("max_conn_per_host 2", 'did you mean "max_conns_per_host"'),
])
def test_errors_of_the_transport_have_a_place(caddis, line, message):
    c = caddis(site("https://localhost:1", "transport http {", line, "}"), start=False)
    done = c.command("validate", "--config", c.file)
    assert done.returncode == 1 and message in done.stdout + done.stderr, done.stdout + done.stderr
    assert re.search(r"Caddyfile:\d+:\d+", done.stderr + done.stdout)


# ---- method, rewrite, streams ----


@pytest.mark.parametrize("to, target", [
    ("/new", "/new?q=1"), ("/new?a=b", "/new?a=b"), ("?a=b", "/old/x?a=b"), ("/new?", "/new"),
    ("/in{path}", "/in/old/x?q=1"), ("{path}.html?{query}&z", "/old/x.html?q=1&z"),
])
def test_rewrite(caddis, origin, to, target):
    o = origin()
    assert caddis(site(o.address, f"rewrite {to}")).get("/old/x?q=1").status == 200
    assert o.last.target == target


def test_method(caddis, origin):
    o = origin()
    c = caddis(site(o.address, "method GET", "rewrite /auth"))
    with c.connect() as connection:
        assert connection.request("POST", "/x", body=b"12345").body == b"GET /auth"
        assert connection.request("PUT", "/y", body=b"12345").status == 200
    assert o.last.method == "GET" and o.last.framing == "none"
    c.reload(site(o.address, "method HEAD"))
    assert c.get("/").body == b""


def test_flush_interval_and_harmless_options(caddis, origin):
    o = origin()
    c = caddis(site(o.address, "flush_interval -1", "stream_buffer_size 4KiB", "verbose_logs",
                    "transport http {", "read_buffer 8KiB", "compression off", "}"),
               globals="debug")
    assert c.get("/").status == 200
    c.wait_log('"msg":"answered"')
    assert "stream_buffer_size" in c.log()


UPGRADE = [("Connection", "Upgrade"), ("Upgrade", "echo")]


def echo(raw):
    raw.read_head()
    raw.send("HTTP/1.1 101 X\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
    raw.sock.settimeout(None)
    try:
        while data := raw.sock.recv(65536):
            raw.sock.sendall(data)
    except ConnectionResetError:
        pass


def open_tunnel(c):
    connection = c.connect()
    assert connection.get("/", UPGRADE).status == 101
    connection.send("ping")
    connection.expect(b"ping")
    return connection


def is_closed(connection):
    connection.sock.settimeout(15)
    try:
        return connection.sock.recv(1) == b""
    except ConnectionResetError:
        return True


def test_stream_timeout(caddis, scripted):
    c = caddis(site(scripted(echo).address, "stream_timeout 500ms"))
    start = time.monotonic()
    with open_tunnel(c) as connection:
        assert is_closed(connection)
    assert time.monotonic() - start > 0.4
    open_tunnel(c).close()  # ends by itself; nothing is left behind when caddis stops


def test_stream_close_delay(caddis, scripted):
    o = scripted(echo)
    text = site(o.address, "stream_close_delay 500ms")
    c = caddis(text)
    with open_tunnel(c) as connection:
        c.reload(text + "\n# changed")
        assert is_closed(connection)


def test_without_stream_close_delay_a_reload_ends_no_tunnel(caddis, scripted):
    o = scripted(echo)
    c = caddis(site(o.address))
    with open_tunnel(c) as connection:
        c.reload(site(o.address) + "\n# changed")
        connection.send("again")
        connection.expect(b"again")


# ---- handle_response, replace_status, copy_response ----

BIG = bytes(i % 251 for i in range(1_000_000))


def by_path(r):
    if r.target == "/denied":
        return Response(status=401, body=BIG, fields=[("X-Reason", "no token"), ("X-A", "1")])
    if r.target == "/gone":
        return Response(status=404, body=b"gone", fields=[("X-Kind", "a-b-c")])
    return Response(body=BIG, fields=[("X-A", "1"), ("X-Bee", "2")])


def test_replace_status(caddis, origin):
    o = origin(by_path)
    c = caddis(site(o.address, "@gone status 404 410", "replace_status @gone 410",
                    "@a header X-A *", "replace_status @a 2{http.response.header.X-Nothing}03"))
    assert c.get("/gone").status == 410
    assert c.get("/gone").body == b"gone"
    r = c.get("/")
    assert r.status == 203 and r.body == BIG
    c.reload(site(o.address, "replace_status 204"))
    with c.connect() as connection:
        assert connection.get("/").status == 204
        assert connection.get("/gone").status == 204


def test_handle_response_answers_itself(caddis, origin):
    o = origin(by_path)
    c = caddis(site(
        o.address, "header_down X-Down 1", "@denied {", "status 4xx", "header X-Reason no*", "}",
        "handle_response @denied {", "copy_response_headers {", "include X-Reason", "}",
        'respond "sorry: {rp.status_code} {rp.header.X-Reason}" 403', "}",
        "@kind header X-Kind *-b-*", "handle_response @kind {", "redir * /found", "}"))
    with c.connect() as connection:
        for _ in range(3):  # the origin's body of a megabyte is nowhere in between
            r = connection.get("/denied")
            assert r.status == 403 and r.body == b"sorry: 401 no token"
            assert r.get("X-Reason") == "no token" and not r.all("X-A") and not r.all("X-Down")
            r = connection.get("/gone")
            assert r.status == 302 and r.get("Location") == "/found"
            r = connection.get("/")
            assert r.status == 200 and r.body == BIG and r.get("X-Down") == "1"


def test_copy_response(caddis, origin):
    o = origin(by_path)
    c = caddis(site(o.address, "header_down X-Down 1", "handle_response {", "header X-Seen {rp.status_code}",
                    "copy_response 202", "}"))
    with c.connect() as connection:
        for _ in range(2):
            r = connection.get("/")
            assert r.status == 202 and r.body == BIG
            assert r.get("X-Seen") == "200" and r.get("X-Down") == "1" and r.get("X-A") == "1"


def test_handle_response_goes_on_to_another_origin(caddis, origin):
    first = origin(by_path)
    second = origin()
    c = caddis(site(first.address, "method HEAD", "rewrite /denied", "@no status 401",
                    "handle_response @no {", f"reverse_proxy {second.address}", "}"))
    with c.connect() as connection:
        for _ in range(3):
            r = connection.request("POST", "/x", body=b"the body")
            assert r.body == b"POST /x"
    assert second.last.body == b"the body"


def test_unanswered_handle_response_goes_on_behind_the_proxy(caddis, origin):
    o = origin(by_path)
    c = caddis("http://localhost {\n\treverse_proxy /denied %s {\n\t\thandle_response {\n\t\t}\n"
               "\t}\n\treverse_proxy %s\n}" % (o.address, o.address))
    assert c.get("/denied").status == 401  # the second one's


@pytest.mark.parametrize("line, message", [
    ("@a statu 404", 'did you mean "status"'),
    ("@a status 999", "no status"),
    ("@a header", "needs a field"),
    ("replace_status @b 200", "not defined"),
    ("replace_status 99", "no status from 200"),
    ("handle_response", "needs a block"),
    ("handle_response {\n respnd x\n }", 'did you mean "respond"'),
    ("handle_response {\n copy_response_headers {\n inclde X\n }\n }", "include or exclude"),
])
def test_errors_of_responses_have_a_place(caddis, line, message):
    c = caddis(site("localhost:1", line), start=False)
    done = c.command("validate", "--config", c.file)
    assert done.returncode == 1 and message in done.stdout + done.stderr, done.stdout + done.stderr
    assert re.search(r"Caddyfile:\d+:\d+", done.stderr + done.stdout)


def test_copy_response_elsewhere_is_an_error(caddis):
    c = caddis("http://localhost {\n\tcopy_response\n}", start=False)
    done = c.command("validate", "--config", c.file)
    assert done.returncode == 1 and "only inside" in done.stdout + done.stderr
