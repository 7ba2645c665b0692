"""The deployments of README.md's tour: each Caddyfile is read from the page itself, its addresses
are replaced by the test's, and its sites are served over HTTPS by the local CA. Apps that Debian
does not package are look-alikes, which insist on what their documentation says they need."""

import asyncio
import base64
import gzip
import hashlib
import json
import re
import socket
import subprocess
import sys
import threading
import time
import zlib

import pytest
import websockets
from lib.caddis import ROOT, command, environment
from lib.origin import Origin, Response, server_context
from lib.php import Php
from lib.ports import free_port
from lib.raw import tls_context


# ---- the page ----


def example(title):
    """The first indented block under the heading that begins with these words."""
    lines = iter((ROOT / "README.md").read_text().splitlines())
    for line in lines:
        if re.match(rf"#+ {re.escape(title)}", line):
            break
    else:
        raise AssertionError(f"README.md has no heading {title!r}")
    block = []
    for line in lines:
        if line.startswith("#"):
            break
        if line.startswith("    ") or (block and not line):
            block.append(line[4:])
        elif block:
            break
    assert block, title
    return "\n".join(block).rstrip() + "\n"


def test_the_examples_are_as_they_should_look():
    """Balanced, and indented as `caddis fmt` does it but for the width of the page."""
    page = (ROOT / "README.md").read_text()
    tour = page[page.index("\n## A tour"):]
    titles = re.findall(r"^### (.*)$", tour[: tour.index("\n## ", 5)], re.M)
    assert len(titles) == len(set(titles)) >= 8
    for title in titles:
        text = example(title)
        assert text.count("{") == text.count("}") and "\t" not in text, title


@pytest.fixture
def deploy(caddis):
    """deploy(title, {address on the page: address in the test}, hosts..., options=more of the
    global ones): it runs, and has a certificate for each host."""

    def make(title, places, *hosts, options=""):
        text = example(title)
        for old, new in places.items():
            assert old in text, f"{old} is not in the example {title!r}"
            text = re.sub(re.escape(old) + r"(?!\d)", lambda _: str(new), text)
        options += "\nlocal_certs\n"
        if text.startswith("{\n"):
            inner, text = text[2:].split("\n}\n", 1)
            options += inner
        c = caddis(text, globals=options)
        checked = c.command("validate", "--config", c.file)
        assert (checked.returncode, checked.stderr.count(": warning:")) == (0, 0), checked.stderr
        for host in hosts:
            c.wait_certificate(host)
        return c

    return make


def ask(c, url, method="GET", fields=(), body=None, **options):
    host, _, path = url.partition("/")
    with c.connect_tls(host, **options) as connection:
        return connection.request(method, "/" + path, [*fields, ("Connection", "close")], body)


def talk(c, url, *messages, quiet=0, **options):
    """A WebSocket client from Debian's packages; what it got for its messages. quiet: seconds in
    which nobody says anything, before each."""
    host, _, path = url.partition("/")

    async def run():
        context = tls_context(cafile=c.wait_root(), alpn=["http/1.1"])
        async with websockets.connect(f"wss://{host}:{c.https}/{path}", ssl=context,
                                      host="127.0.0.1", port=c.https, server_hostname=host,
                                      open_timeout=30, **options) as ws:
            got = []
            for message in messages:
                await asyncio.sleep(quiet)
                await ws.send(message)
                got.append(await asyncio.wait_for(ws.recv(), 30))
            return got

    return asyncio.run(run())


# ---- origins ----


def show(request):
    """What came, as JSON."""
    return Response(body=json.dumps({"method": request.method, "target": request.target,
                                     "fields": request.fields, "size": len(request.body)}))


def websocket(raw, request):
    """Accepts, and says back what comes: short frames, which are all that the tests send."""
    key = request.get("Sec-WebSocket-Key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
    accept = base64.b64encode(hashlib.sha1(key.encode()).digest()).decode()
    raw.send("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
             f"Sec-WebSocket-Accept: {accept}\r\n\r\n")
    kind = 0
    while kind & 15 != 8:
        kind, size = raw.recv_exactly(2)
        mask = raw.recv_exactly(4)
        data = bytes(b ^ mask[i % 4] for i, b in enumerate(raw.recv_exactly(size & 127)))
        raw.send(bytes([kind, len(data)]) + data)


@pytest.fixture
def app(cleanup):
    """app(handler): a look-alike, which also takes WebSockets."""

    def make(handler=show, upgrade=websocket):
        a = Origin(handler, upgrade)
        cleanup.add(a.finish)
        return a

    return make


@pytest.fixture
def fastapi(cleanup, folder):
    """Its port."""
    port = free_port()
    log = open(folder / "uvicorn.log", "wb")
    process = subprocess.Popen([sys.executable, ROOT / "tests/e2e/lib/fastapi_app.py", str(port)],
                               env=environment(folder), stdout=log, stderr=log)

    def end():
        process.terminate()
        process.wait(20)
        log.close()

    cleanup.add(end)
    deadline = time.monotonic() + 60
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 5).close()
            return port
        except OSError:
            assert process.poll() is None and time.monotonic() < deadline, (
                (folder / "uvicorn.log").read_text())
            time.sleep(0.05)


def seen(answer):
    """What came to `show`: (dictionary of the fields with lower-case names, everything)."""
    assert answer.status == 200, (answer.status, answer.body)
    got = json.loads(answer.body)
    return {name.lower(): value for name, value in got["fields"]}, got


# ---- the deployments ----


def test_the_first_line(deploy, app):
    a = app()
    c = deploy("caddis", {"localhost:8000": a.address}, "example.com")
    fields, got = seen(ask(c, "example.com/x?y=1", "POST", body=b"z" * 1000))
    assert (got["method"], got["target"], got["size"]) == ("POST", "/x?y=1", 1000)
    assert fields["host"] == "example.com" and fields["x-forwarded-proto"] == "https"
    plain = c.get("/x?y=1", host="example.com")
    assert (plain.status, plain.get("Location")) == (308, "https://example.com/x?y=1")
    assert talk(c, "example.com/ws", "hello") == ["hello"]


def test_fastapi_with_websockets_and_uploads(deploy, fastapi):
    c = deploy("An app with WebSockets and uploads", {"localhost:8000": f"127.0.0.1:{fastapi}"},
               "app.example.com")
    who = ask(c, "app.example.com/who", fields=[("X-Forwarded-For", "6.6.6.6")], source="127.0.0.2")
    assert json.loads(who.body) == {"client": "127.0.0.2", "url": "https://app.example.com/who"}
    assert talk(c, "app.example.com/ws/kitchen", "hello", "you") == ["kitchen: hello",
                                                                    "kitchen: you"]
    answer = ask(c, "app.example.com/upload", "POST", body=b"x" * 49_000_000)
    assert (answer.status, json.loads(answer.body)) == (200, {"size": 49_000_000})
    with c.connect_tls("app.example.com") as connection:
        connection.request("POST", "/upload", [("Content-Length", "50000001")], read=False)
        assert connection.read_response().status == 413


def test_a_websocket_that_is_quiet_for_longer_than_every_time_out(deploy, app):
    c = deploy("An app with WebSockets and uploads", {"localhost:8000": app().address},
               "app.example.com", options="servers {\n\ttimeouts {\n\t\tidle 500ms\n"
               "\t\tread_body_idle 500ms\n\t\twrite_idle 500ms\n\t}\n}")
    assert talk(c, "app.example.com/ws/x", "still", "there", quiet=2, ping_interval=None) == [
        "still", "there"]


def test_paths_to_several_apps(deploy, app):
    ws, admin, rest = app(), app(), app()
    c = deploy("Paths to several apps", {"localhost:8001": ws.address,
                                         "localhost:8002": admin.address,
                                         "localhost:8000": rest.address}, "example.com")
    assert talk(c, "example.com/ws/room", "hello") == ["hello"]
    for path in ("ws/poll", "admin/users?a=b", "admin/", "ws", "wsx/", "admin", "x"):
        assert ask(c, f"example.com/{path}").status == 200
    assert [r.target for r in ws.requests] == ["/ws/room", "/ws/poll"]
    assert [r.target for r in admin.requests] == ["/users?a=b", "/"]
    assert [r.target for r in rest.requests] == ["/ws", "/wsx/", "/admin", "/x"]


class SecureEcho:
    """A WebSocket server of python's websockets behind TLS."""

    def __init__(self, certificate):
        self.ready = threading.Event()
        self.context = server_context(*certificate)
        self.thread = threading.Thread(target=lambda: asyncio.run(self._main()), daemon=True)
        self.thread.start()
        assert self.ready.wait(20)

    async def _echo(self, ws):
        async for message in ws:
            await ws.send(message)

    async def _main(self):
        self.loop, self.end = asyncio.get_running_loop(), asyncio.Event()
        async with websockets.serve(self._echo, "127.0.0.1", 0, ssl=self.context) as server:
            self.port = next(iter(server.sockets)).getsockname()[1]
            self.ready.set()
            await self.end.wait()

    def finish(self):
        self.loop.call_soon_threadsafe(self.end.set)
        self.thread.join(20)


def test_balancing_health_limits_and_tls(deploy, app, authority, cleanup, eventually):
    def service(name, health):
        def answer(request):
            if request.target == "/health":
                return Response(status=health[0])
            return Response(body=name)

        return app(answer)

    health_of_two = [503]
    one, two, page = service("one", [200]), service("two", health_of_two), app()
    echo = SecureEcho(authority.issue("localhost"))
    cleanup.add(echo.finish)
    c = deploy("Balancing, health checks, limits", {
        "api1.internal:8000": one.address, "api2.internal:8000": two.address,
        "live.internal:8443": f"localhost:{echo.port}",
        "/etc/caddis/internal-ca.pem": authority.path, "localhost:3000": page.address,
        "health_interval 10s": "health_interval 100ms"}, "example.com")

    sources = (f"127.0.{n // 200}.{n % 200 + 1}" for n in range(256, 20000))

    def service_now():  # from an address of its own each time: the limit is for addresses
        return ask(c, "example.com/api/x", source=next(sources)).body

    eventually(lambda: any(r.target == "/health" for r in two.requests))
    # One is sick: all goes to the other.
    eventually(lambda: service_now() == b"one")
    assert {service_now() for _ in range(5)} == {b"one"} and one.last.target in ("/x", "/health")
    # And the other way round: it is well again, the first one is gone.
    health_of_two[0] = 200
    one.stop_listening()
    one.drop_connections()
    eventually(lambda: service_now() == b"two")
    assert talk(c, "example.com/live/feed", "over TLS") == ["over TLS"]
    with c.connect_tls("example.com", source="127.0.0.2") as connection:
        statuses = [connection.get("/page").status for _ in range(100)]
        limited = connection.get("/page")
    assert statuses == [200] * 100 and page.last.target == "/page"
    assert limited.status == 429 and 0 < int(limited.get("Retry-After")) <= 65


def test_compression_caching_cors_and_security_headers(deploy, app):
    def answer(request):
        if request.target == "/api/events":
            return Response(body="data: a\n\ndata: b\n\n", chunked=True,
                            fields=[("Content-Type", "text/event-stream")])
        return Response(body="x" * 3000, fields=[("Server", "uvicorn"), ("Cache-Control", "private"),
                                                 ("Vary", "Cookie"),
                                                 ("Content-Type", "text/css")])

    a = app(answer)
    c = deploy("Compression, caching, CORS", {"localhost:8080": a.address},
               "chat.example.com")
    security = {"Strict-Transport-Security": "max-age=31536000",
                "X-Content-Type-Options": "nosniff", "X-Frame-Options": "SAMEORIGIN",
                "Referrer-Policy": "strict-origin-when-cross-origin"}

    def check(answer, cache):
        assert {name: answer.get(name) for name in security} == security
        assert answer.all("Server") == [] and answer.all("Cache-Control") == cache

    check(ask(c, "chat.example.com/"), ["private"])
    style = ask(c, "chat.example.com/static/a.css", fields=[("Accept-Encoding", "gzip")])
    check(style, ["public, max-age=31536000, immutable"])
    assert style.get("Content-Encoding") == "gzip" and gzip.decompress(style.body) == b"x" * 3000
    events = ask(c, "chat.example.com/api/events", fields=[("Accept-Encoding", "gzip")])
    body = events.body  # a short answer that comes in one piece is not compressed
    if events.get("Content-Encoding"):
        body = zlib.decompressobj(31).decompress(body)
    assert body == b"data: a\n\ndata: b\n\n"
    admin = [("Origin", "https://admin.example.com")]
    api = ask(c, "chat.example.com/api/chats", fields=admin)
    check(api, ["no-store"])
    assert api.get("Access-Control-Allow-Origin") == "https://admin.example.com"
    varies = set(",".join(api.all("Vary")).replace(" ", "").split(","))
    assert varies >= {"Cookie", "Origin"}
    for path, fields in (("/", admin), ("/api/chats", [("Origin", "https://evil.example")])):
        other = ask(c, f"chat.example.com{path}", fields=fields)
        assert other.status == 200 and other.all("Access-Control-Allow-Origin") == []

    requests = len(a.requests)
    method = [("Access-Control-Request-Method", "PUT")]
    preflight = ask(c, "chat.example.com/api/chats", "OPTIONS", admin + method)
    assert (preflight.status, len(a.requests)) == (204, requests)
    assert preflight.get("Access-Control-Allow-Origin") == "https://admin.example.com"
    assert "PUT" in preflight.get("Access-Control-Allow-Methods")
    ask(c, "chat.example.com/api/chats", "OPTIONS", [("Origin", "https://evil.example")] + method)
    assert len(a.requests) == requests + 1  # the app's own answer
    assert talk(c, "chat.example.com/ws/socket.io/?transport=websocket", "2") == ["2"]
    a.stop_listening()
    a.drop_connections()
    broken = ask(c, "chat.example.com/api/chats", fields=admin)
    assert broken.status == 502 and broken.get("X-Frame-Options") == "SAMEORIGIN"
    assert broken.get("Access-Control-Allow-Origin") == "https://admin.example.com"


def test_an_app_with_one_page_behind_proxies(deploy, app, folder):
    www = folder / "www"
    (www / "assets").mkdir(parents=True)
    (www / "index.html").write_text("<app>")
    (www / "assets/app.js").write_text("js")
    a = app()
    c = deploy("An app with one page", {"localhost:3001": a.address, "/var/www/ott": www},
               "ott.example.com")
    for path, body in (("", b"<app>"), ("room/abc?x=1", b"<app>"), ("assets/app.js", b"js"),
                       ("assets/gone.js", b"<app>")):
        answer = ask(c, f"ott.example.com/{path}")
        assert (answer.status, answer.body) == (200, body)
    mine = [("Cookie", "token=1; a=b"), ("Authorization", "Bearer xyz"),
            ("X-Forwarded-Proto", "http"), ("X-Forwarded-Host", "public.example.com")]
    for chain in ("198.51.100.7", "198.51.100.7, 203.0.113.5", "6.6.6.6, 198.51.100.7, 203.0.113.5,"
                  " 10.0.0.1"):
        fields, got = seen(ask(c, "ott.example.com/api/room", fields=[
            *mine, ("X-Forwarded-For", chain)]))
        assert got["target"] == "/api/room"
        assert fields["cookie"] == "token=1; a=b" and fields["authorization"] == "Bearer xyz"
        assert fields["x-forwarded-for"].replace(" ", "").startswith(chain.replace(" ", ""))
        assert fields["x-forwarded-proto"] == "http"
        assert fields["x-forwarded-host"] == "public.example.com"
    assert talk(c, "ott.example.com/api/room/abc", "sync") == ["sync"]


def test_signing_in(deploy, app):
    def authelia(request):
        if request.target.startswith("/api/authz/forward-auth"):
            if "session=ann" in request.get("Cookie", ""):
                return Response(fields=[("Remote-User", "ann"), ("Remote-Groups", "dev")])
            to = (f"{request.get('X-Forwarded-Proto')}://{request.get('X-Forwarded-Host')}"
                  f"{request.get('X-Forwarded-Uri')}")
            return Response(status=302, fields=[("Location", f"https://auth.example.com/?rd={to}")])
        return Response(body="portal")

    def authentik(request):
        if request.target.partition("?")[0] == "/outpost.goauthentik.io/auth/caddy":
            if "session=ann" in request.get("Cookie", ""):
                return Response(fields=[("X-Authentik-Username", "ann")])
            return Response(status=302, fields=[("Location", "/outpost.goauthentik.io/start")])
        assert request.target.startswith("/outpost.goauthentik.io/")
        return Response(body="outpost")

    def oauth2_proxy(request):
        assert request.get("X-Real-IP") == "127.0.0.1"
        if request.target.partition("?")[0] == "/oauth2/auth":
            return Response(status=202 if "session=ann" in request.get("Cookie", "") else 401)
        assert request.get("X-Forwarded-Uri") == request.target
        return Response(body="sign in")

    one, two, three = app(), app(), app()
    c = deploy("Signing in", {
        "authelia:9091": app(authelia).address, "authentik:9000": app(authentik).address,
        "oauth2-proxy:4180": app(oauth2_proxy).address, "localhost:8001": one.address,
        "localhost:8002": two.address, "localhost:8003": three.address,
    }, "auth.example.com", "one.example.com", "two.example.com", "three.example.com")
    assert ask(c, "auth.example.com/").body == b"portal"
    signed_in = [("Cookie", "session=ann")]
    claims = [("Remote-User", "root"), ("X-Authentik-Username", "root")]
    for host, field, to in (
            ("one", "remote-user", "https://auth.example.com/?rd=https://one.example.com/x?y=1"),
            ("two", "x-authentik-username", "/outpost.goauthentik.io/start"),
            ("three", None, "/oauth2/sign_in?rd=https://three.example.com/x?y=1")):
        answer = ask(c, f"{host}.example.com/x?y=1", fields=claims)
        assert (answer.status, answer.get("Location")) == (302, to)
        fields, got = seen(ask(c, f"{host}.example.com/x?y=1", "POST", [*signed_in, *claims],
                               b"form"))
        assert (got["method"], got["target"], got["size"]) == ("POST", "/x?y=1", 4)
        assert field is None or fields[field] == "ann"
        assert talk(c, f"{host}.example.com/ws", "hi", **extra_headers(signed_in)) == ["hi"]
    assert ask(c, "two.example.com/outpost.goauthentik.io/start").body == b"outpost"
    assert ask(c, "three.example.com/oauth2/sign_in").body == b"sign in"
    assert [r.get("Cookie") for r in (*one.requests, *two.requests, *three.requests)] == [
        "session=ann"] * 6


def extra_headers(fields):
    """As websockets calls them: extra_headers up to 13, additional_headers since."""
    import inspect
    new = "additional_headers" in inspect.signature(websockets.connect.__init__).parameters
    return {"additional_headers" if new else "extra_headers": list(fields)}


APPS = "Nextcloud, Gitea, Grafana"


def test_well_known_apps(deploy, app, folder, eventually):
    def nextcloud(request):
        assert request.get("X-Forwarded-Proto") == "https"
        if request.method == "PROPFIND":
            return Response(status=207, body=f"<depth>{request.get('Depth')}</depth>")
        return Response(status=201, body=str(len(request.body)))

    def gitea(request):
        assert (request.get("Host"), request.get("X-Forwarded-Proto")) == ("git.example.com",
                                                                           "https")
        return Response(body=f"{request.target} {request.get('Git-Protocol')} {len(request.body)}",
                        chunked=True)

    def grafana_live(raw, request):  # refuses pages of another origin
        if request.get("Origin") != "https://" + request.get("Host"):
            return False
        return websocket(raw, request)

    def home(request):
        # Refuses what comes through a proxy it was not told of, and a list it cannot read.
        assert request.get("X-Forwarded-For") == "127.0.0.1"
        return Response(body="home")

    def jellyfin(request):
        start, end = map(int, re.fullmatch(r"bytes=(\d+)-(\d+)", request.get("Range")).groups())
        return Response(status=206, body=bytes(end - start + 1), fields=[
            ("Content-Range", f"bytes {start}-{end}/1000000"), ("Content-Type", "video/mp4")])

    grafana = app(upgrade=grafana_live)
    home_app, vault = app(home), app()
    c = deploy(APPS, {
        "localhost:11000": app(nextcloud).address, "localhost:3000": app(gitea).address,
        "localhost:3001": grafana.address, "localhost:8123": home_app.address,
        "localhost:8096": app(jellyfin).address, "localhost:8000": vault.address,
        "/var/log/caddis/vault.log": folder / "vault.log",
    }, *(f"{name}.example.com" for name in ("cloud", "git", "grafana", "home", "media", "vault")))

    found = ask(c, "cloud.example.com/.well-known/carddav")
    assert (found.status, found.get("Location")) == (301, "/remote.php/dav/")
    listing = ask(c, "cloud.example.com/remote.php/dav/files/a%20b/", "PROPFIND", [("Depth", "1")],
                  b"<propfind/>")
    assert (listing.status, listing.body) == (207, b"<depth>1</depth>")
    put = ask(c, "cloud.example.com/remote.php/dav/x", "PUT", body=b"x" * 3_000_000)
    assert (put.status, put.body) == (201, b"3000000")
    assert put.get("Strict-Transport-Security") == "max-age=15552000"

    fetch = ask(c, "git.example.com/me/a%2Fb/git-upload-pack", "POST",
                [("Git-Protocol", "version=2"), ("Expect", "100-continue")], b"0000")
    assert fetch.body == b"/me/a%2Fb/git-upload-pack version=2 4"

    assert talk(c, "grafana.example.com/api/live/ws", "{}",
                origin=f"https://grafana.example.com:{c.https}") == ["{}"]
    assert ask(c, "home.example.com/").body == b"home"
    assert talk(c, "home.example.com/api/websocket", "auth") == ["auth"]
    assert home_app.last.get("X-Forwarded-For") == "127.0.0.1"

    part = ask(c, "media.example.com/Videos/1/stream", fields=[("Range", "bytes=10-20009")])
    assert (part.status, len(part.body)) == (206, 20000)
    assert part.get("Content-Range") == "bytes 10-20009/1000000"

    fields, _ = seen(ask(c, "vault.example.com/api/sync", fields=[("X-Real-IP", "6.6.6.6")]))
    assert fields["x-real-ip"] == "127.0.0.1"
    assert ask(c, "vault.example.com/admin").status == 200  # from a private address
    line = eventually(lambda: (folder / "vault.log").read_text().splitlines())[0]
    assert (json.loads(line)["request"]["uri"], json.loads(line)["status"]) == ("/api/sync", 200)
    assert talk(c, "vault.example.com/notifications/hub?access_token=x", "ping") == ["ping"]


def test_php(deploy, folder, cleanup):
    site = folder / "nextcloud"
    (site / "data").mkdir(parents=True)
    for name, text in {"index.php": "<?php echo 'page ', $_SERVER['REQUEST_URI'], ' ',"
                       " $_SERVER['front_controller_active'], ' ', $_SERVER['HTTPS'];",
                       "remote.php": "<?php echo $_SERVER['REQUEST_METHOD'], ' ',"
                       " $_SERVER['PATH_INFO'], ' ', md5(file_get_contents('php://input'));",
                       "style.css": "p {}", ".htaccess": "secret", "data/file": "secret",
                       "occ": "secret"}.items():
        (site / name).write_text(text)
    php = Php(folder)
    cleanup.add(php.finish)
    c = deploy("PHP: Nextcloud on php-fpm", {"/var/www/nextcloud": site,
                                             "unix//run/php/php-fpm.sock": php.address},
               "cloud.example.com")
    assert ask(c, "cloud.example.com/apps/files?dir=/").body == b"page /apps/files?dir=/ true on"
    assert ask(c, "cloud.example.com/").body == b"page / true on"
    upload = b"x" * 2_000_000
    put = ask(c, "cloud.example.com/remote.php/dav/files/a%20b", "PUT", body=upload)
    assert put.body.decode() == f"PUT /dav/files/a b {hashlib.md5(upload).hexdigest()}"
    assert ask(c, "cloud.example.com/style.css").body == b"p {}"
    assert ask(c, "cloud.example.com/.well-known/caldav").status == 301
    for hidden in ("data/file", "occ", ".htaccess", "data/"):
        answer = ask(c, f"cloud.example.com/{hidden}")
        assert b"secret" not in answer.body and answer.status in (200, 404), hidden
    assert ask(c, "cloud.example.com/occ").status == 404


def test_apps_under_paths(deploy, app):
    gitea, grafana, jellyfin = app(), app(), app()
    c = deploy("The same under paths", {"localhost:3000": gitea.address,
                                        "localhost:3001": grafana.address,
                                        "localhost:8096": jellyfin.address}, "example.com")
    for path, target in (("git/me/a%2Fb?x=1", "/me/a%2Fb?x=1"), ("grafana/d/1", "/grafana/d/1"),
                         ("media/web/", "/media/web/")):
        _, got = seen(ask(c, f"example.com/{path}"))
        assert got["target"] == target
    assert (gitea.last.target, len(grafana.requests), len(jellyfin.requests)) == (
        "/me/a%2Fb?x=1", 1, 1)
    for name in ("grafana", "media"):
        moved = ask(c, f"example.com/{name}")
        assert (moved.status, moved.get("Location")) == (302, f"/{name}/")
        assert talk(c, f"example.com/{name}/ws", "x") == ["x"]


# Other forms that these apps' own pages show, with what is peculiar to each.
PUBLISHED = {
    "Nextcloud, rewritten instead of redirected": """cloud.example.com {
    rewrite /.well-known/carddav /remote.php/dav
    rewrite /.well-known/caldav /remote.php/dav
    reverse_proxy {$NEXTCLOUD_HOST:localhost}
}""",
    "Vaultwarden, set by the environment": """{$DOMAIN:vault.example.com} {
    log {
        level INFO
        output file {$LOG_FILE:access.log} {
            roll_size 10MB
            roll_keep 10
        }
    }
    encode zstd gzip
    header {
        X-Robots-Tag "noindex, nofollow"
        -X-Powered-By
        -Last-Modified
    }
    @insecure {
        not remote_ip private_ranges
        path /admin*
    }
    redir @insecure /
    reverse_proxy {$VAULTWARDEN:localhost}:80 {
        header_up X-Real-IP {http.request.header.Cf-Connecting-Ip}
    }
}""",
    "Authelia, from a snippet with ranges of its own": """(proxies) {
    trusted_proxies 10.0.0.0/8 172.16.0.0/12 192.168.0.0/16 fc00::/7
}
(secure) {
    forward_auth {args[0]} http://authelia:9091 {
        uri /api/verify?rd=https://auth.example.com/
        copy_headers Remote-User Remote-Groups Remote-Name Remote-Email
        import proxies
    }
}
app.example.com {
    import secure *
    reverse_proxy app:80 {
        import proxies
    }
}""",
    "Authentik behind its own TLS": """auth.example.com {
    reverse_proxy https://10.0.0.2:9443 {
        header_up Host {http.reverse_proxy.upstream.host}
        transport http {
            tls_insecure_skip_verify
        }
    }
}""",
    "Jellyfin under a path": """example.com {
    redir /jellyfin /jellyfin/
    reverse_proxy /jellyfin/* 127.0.0.1:8096 {
        header_up Host {upstream_hostport}
    }
}""",
}


def test_other_published_forms(tmp_path):
    for name, text in PUBLISHED.items():
        (tmp_path / "Caddyfile").write_text(text + "\n")
        done = command("validate", "-c", tmp_path / "Caddyfile")
        assert (done.returncode, done.stderr.count(": warning:")) == (0, 0), (name, done.stderr)
