"""Passwords, forward_auth with the set-ups that Authelia and Authentik publish, rate limits."""

import base64
import os
import select
import subprocess
import threading
import time

import pytest
from lib.caddis import BIN, command, environment
from lib.origin import Response


def basic(user, password):
    return ("Authorization", "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode())


def hashed(password, *options):
    done = command("hash-password", "--plaintext", password, *options)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


# ---- hash-password ----


def test_hash_password_from_standard_input(folder):
    done = subprocess.run([str(BIN), "hash-password", "--bcrypt-cost", "4"], input="secret\n",
                          capture_output=True, text=True, env=environment(folder), timeout=60)
    assert done.returncode == 0 and done.stdout.startswith("$2a$04$"), done
    assert len(done.stdout) == 61


def test_hash_password_asks_twice_on_a_terminal(folder):
    def run(first, second):
        parent, child = os.openpty()
        process = subprocess.Popen([str(BIN), "hash-password", "--bcrypt-cost", "4"], stdin=child,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                   env=environment(folder), start_new_session=True)
        os.close(child)
        # Each is typed when it is asked for: what comes earlier would be thrown away.
        said = ""
        for word, line in (("Password: ", first), ("Once more: ", second)):
            while not said.endswith(word):
                piece = process.stderr.read(1)
                assert piece, said
                said += piece
            os.write(parent, (line + "\n").encode())
        out, err = process.communicate(timeout=60)
        os.close(parent)
        return process.returncode, out, err

    assert run("one", "two")[0] == 1
    status, out, _ = run("one", "one")
    assert status == 0 and out.startswith("$2a$04$")


@pytest.mark.parametrize("options, words", [
    (["--algorithm", "md5"], "bcrypt or argon2id"),
    (["--bcrypt-cost", "31"], "4 to 17"),
    (["--algorithm", "argon2id", "--argon2id-memory", "1"], "argon2id takes"),
    (["--plaintext", ""], "empty"),
    (["--plaintext", "x" * 73], "first 72 bytes"),
])
def test_hash_password_mistakes(options, words):
    done = command("hash-password", "--plaintext", "x", *options)
    assert done.returncode == 1 and words in done.stderr, done.stderr


# ---- basic_auth ----

ARGON2 = ["--algorithm", "argon2id", "--argon2id-memory", "2048"]


@pytest.mark.parametrize("kind, options", [("bcrypt", ["--bcrypt-cost", "4"]),
                                           ("argon2id", ARGON2)])
def test_basic_auth(caddis, origin, kind, options):
    o = origin()
    c = caddis(f"""http://localhost {{
    basic_auth /private* {kind} "the realm" {{
        ann {hashed("pass:word", *options)}
        bob {hashed("other", *options)}
    }}
    header X-User "{{http.auth.user.id}}"
    log {{
        output stdout
        format json
    }}
    reverse_proxy {o.address}
}}""")
    assert c.get("/open").status == 200
    for fields in ([], [basic("ann", "wrong")], [basic("eve", "pass:word")],
                   [basic("ann", "other")], [("Authorization", "Basic ****")],
                   [("Authorization", "Bearer x")], [basic("ann", "pass:word\0")]):
        answer = c.get("/private", fields=fields)
        assert (answer.status, answer.get("WWW-Authenticate")) == (401, 'Basic realm="the realm"')
    for _ in range(2):  # computed, then remembered
        answer = c.get("/private/x", fields=[basic("ann", "pass:word")])
        assert (answer.status, answer.get("X-User")) == (200, "ann")
    assert c.get("/private", fields=[basic("bob", "other")]).status == 200
    assert c.get("/private", fields=[basic("ann", "pass:word\0")]).status == 401
    assert [r.target for r in o.requests] == ["/open", "/private/x", "/private/x", "/private"]
    c.wait_log('"user_id":"ann"')
    assert "pass:word" not in c.log()


def test_a_hash_of_caddy_and_its_old_forms(caddis):
    # "hiccup", from Caddy's documentation.
    old = "$2a$14$Zkx19XLiW6VYouLHR5NmfOFU0z2GTNmpkT/5qqR7hx4IjWJPDhjvG"
    coded = base64.b64encode(old.encode()).decode()
    c = caddis(f"http://localhost {{\n\tbasicauth {{\n\t\tbob {coded}\n\t}}\n\trespond in\n}}")
    assert c.get(fields=[basic("bob", "hiccup")]).body == b"in"
    assert c.get(fields=[basic("bob", "hiccups")]).status == 401
    c.wait_log("is called basic_auth now")


def test_a_page_for_401(caddis):
    c = caddis(f"""http://localhost {{
    basic_auth {{ ann {hashed("x", "--bcrypt-cost", "4")} }}
    handle_errors 401 {{ respond "who are you?" }}
    respond in
}}""")
    answer = c.get()
    assert (answer.status, answer.body) == (401, b"who are you?")
    assert answer.get("WWW-Authenticate") == 'Basic realm="restricted"'


def test_many_passwords_at_once_never_block_others(caddis):
    """Guesses are bounded (503 beyond), and requests without passwords are answered meanwhile."""
    c = caddis(f"""http://localhost {{
    basic_auth /in {{ ann {hashed("x", "--bcrypt-cost", "12")} }}
    respond in
}}""")
    connections = [c.connect() for _ in range(100)]
    for i, connection in enumerate(connections):
        name, value = basic("ann", f"guess {i}")
        connection.send(f"GET /in HTTP/1.1\r\nHost: localhost\r\n{name}: {value}\r\n\r\n")
    assert c.get("/out").body == b"in"
    statuses, waiting = [], {connection.sock: connection for connection in connections}
    while 503 not in statuses:
        ready, _, _ = select.select(list(waiting), [], [], 60)
        assert ready, statuses
        statuses += [waiting.pop(sock).read_response().status for sock in ready]
    assert set(statuses) <= {401, 503} and len(statuses) < 100
    for connection in connections:
        connection.close()  # with checks under way: nobody waits for them


@pytest.mark.parametrize("block, words", [
    ("basic_auth", "needs users"),
    ("basic_auth { ann }", "needs 1 argument"),
    ("basic_auth { ann secret }", "it is no bcrypt hash"),
    ("basic_auth { ann $argon2id$v=19$m=64,t=1,p=1$c2FsdHNhbHQ$aGFzaA }", "basic_auth argon2id"),
    ("basic_auth argon2id { ann $argon2id$v=19$m=99999999,t=1,p=1$c2FsdHNhbHQ$aGFzaA }",
     "at most 1 GiB"),
    ("basic_auth { ann $2a$30$" + "x" * 53 + " }", "above 17"),
    ("basic_auth md5 { ann x }", "bcrypt, argon2id"),
    ("forward_auth localhost:1", "uri /api/verify"),
    ("forward_auth localhost:1 { uri /x ; copy_headers Host }", "no field that can be copied"),
    ("forward_auth { uri /x }", "needs an origin"),
    ("rate_limit", "needs a zone"),
    ("rate_limit { zone a { events 1 } }", "needs events and window"),
    ("rate_limit { zone a { events 1 ; window 1s ; evnts 3 } }", 'did you mean "events"?'),
    ("rate_limit { zone a { events x ; window 1s } }", "no number of events"),
    ("rate_limit { distributed }", 'no option "distributed" in caddis'),
])
def test_mistakes(tmp_path, block, words):
    file = tmp_path / "Caddyfile"
    file.write_text(f"http://localhost {{\n{block}\n}}\n")
    done = command("validate", "-c", str(file))
    assert done.returncode == 1 and words in done.stderr and ":2:" in done.stderr, done.stderr


# ---- forward_auth ----

AUTHELIA = """http://app.test {
    forward_auth AUTH {
        uri /api/authz/forward-auth
        copy_headers Remote-User Remote-Groups Remote-Email Remote-Name
    }
    reverse_proxy APP
}"""

AUTHENTIK = """http://app.test {
    reverse_proxy /outpost.goauthentik.io/* AUTH
    forward_auth AUTH {
        uri /outpost.goauthentik.io/auth/caddy
        copy_headers X-Authentik-Username X-Authentik-Groups X-Authentik-Email X-Authentik-Name>N
        trusted_proxies private_ranges
    }
    reverse_proxy APP
}"""


def site(text, auth, app):
    return text.replace("AUTH", auth.address).replace("APP", app.address)


def test_authelia(caddis, origin):
    def ask(request):
        if request.get("Cookie") == "session=good":
            return Response(fields=[("Remote-User", "ann"), ("Remote-Groups", "a"),
                                    ("Remote-Groups", "b")])
        uri = request.get("X-Forwarded-Uri")
        return Response(status=302, fields=[("Location", f"https://auth.test/?rd={uri}")],
                        body=b"go there")

    auth, app = origin(ask), origin(lambda r: Response(body=r.body))
    c = caddis(site(AUTHELIA, auth, app))
    answer = c.get("/x?y=1", host="app.test")
    assert (answer.status, answer.get("Location")) == (302, "https://auth.test/?rd=/x?y=1")
    asked = auth.last
    assert (asked.method, asked.target) == ("GET", "/api/authz/forward-auth?y=1")
    assert (asked.get("X-Forwarded-Method"), asked.get("X-Forwarded-Host")) == ("GET", "app.test")
    assert asked.get("X-Forwarded-Proto") == "http" and not app.requests

    with c.connect(host="app.test") as connection:
        answer = connection.request("POST", "/form", body=b"z" * 50000, fields=[
            ("Cookie", "session=good"), ("Remote-User", "forged"), ("Remote-Email", "forged"),
            ("X-Forwarded-Uri", "/forged")])
    assert (answer.status, answer.body) == (200, b"z" * 50000)
    assert auth.last.get("X-Forwarded-Method") == "POST" and auth.last.body == b""
    assert auth.last.get("X-Forwarded-Uri") == "/form"
    got = app.last
    assert (got.method, got.target, got.get("Remote-User")) == ("POST", "/form", "ann")
    assert got.get("Remote-Groups") == "a,b" and got.all("Remote-Email") == []


def test_authentik(caddis, origin):
    def ask(request):
        if request.target.startswith("/outpost.goauthentik.io/start"):
            return Response(body=b"login page")
        if request.get("Cookie"):
            return Response(fields=[("X-Authentik-Username", "ann"), ("X-Authentik-Name", "Ann")])
        return Response(status=302, fields=[("Location", "/outpost.goauthentik.io/start")])

    auth, app = origin(ask), origin()
    c = caddis(site(AUTHENTIK, auth, app))
    # The outpost's own pages go to it, too: it is asked about them first, as in Caddy.
    assert c.get("/", host="app.test").get("Location") == "/outpost.goauthentik.io/start"
    answer = c.get("/", host="app.test", fields=[("Cookie", "x=y")])
    assert answer.body == b"GET /"
    assert (app.last.get("X-Authentik-Username"), app.last.get("N")) == ("ann", "Ann")


def test_forward_auth_before_a_websocket_and_without_a_server(caddis, origin, scripted):
    auth = origin(lambda r: Response(status=200 if r.get("Cookie") else 403, body=b"no"))

    def app(raw):
        request = raw.read_request()
        assert request.get("Upgrade") == "websocket"
        raw.send("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                 "Connection: Upgrade\r\n\r\n")
        raw.expect(b"ping")
        raw.send(b"pong")

    w = scripted(app)
    c = caddis(site(AUTHELIA, auth, w))
    upgrade = [("Connection", "Upgrade"), ("Upgrade", "websocket")]
    with c.connect(host="app.test") as connection:
        assert connection.request("GET", "/ws", fields=upgrade).status == 403
    assert auth.last.all("Upgrade") == []
    with c.connect(host="app.test") as connection:
        connection.request("GET", "/ws", fields=upgrade + [("Cookie", "x")], read=False)
        assert connection.read_head().status == 101
        connection.send(b"ping")
        connection.expect(b"pong")
    auth.stop_listening()
    auth.drop_connections()
    assert c.get("/", host="app.test").status == 502  # nobody is let through unasked


# ---- rate_limit ----


def test_rate_limit(caddis):
    c = caddis("""http://localhost {
    rate_limit {
        zone by_name {
            key {header.X-Key}
            events 3
            window 1h
        }
        zone posts {
            match { method POST }
            key {remote_host}
            events 1
            window 2h
        }
        jitter 0.5
        log_key
        sweep_interval 1m
    }
    handle_errors 429 { respond "slow down: {http.rate_limit.exceeded.name}" }
    respond in
}""", args=["--workers", "3"])
    for _ in range(3):  # on connections of their own: the workers count together
        assert c.get(fields=[("X-Key", "a")]).body == b"in"
    answer = c.get(fields=[("X-Key", "a")])
    assert (answer.status, answer.body) == (429, b"slow down: by_name")
    assert 3000 <= int(answer.get("Retry-After")) <= 6000
    assert c.get(fields=[("X-Key", "b")]).body == b"in"
    with c.connect() as connection:
        assert connection.request("POST", "/", fields=[("X-Key", "c")]).body == b"in"
        assert connection.request("POST", "/", fields=[("X-Key", "d")]).status == 429
        assert connection.request("GET", "/", fields=[("X-Key", "d")]).status == 200
    c.wait_log('"zone":"posts"')
    c.reload()
    assert c.get(fields=[("X-Key", "a")]).status == 429  # a reload forgets nothing


def test_rate_limit_window_passes(caddis):
    c = caddis("http://localhost {\n\trate_limit { zone z { events 2 ; window 1s } }\n\trespond in\n}")
    allowed = 0
    for _ in range(20):
        allowed += c.get().status == 200
    assert allowed >= 2
    deadline = time.monotonic() + 30
    while c.get().status != 200:
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_rate_limit_counts_exactly_under_load(caddis):
    c = caddis("http://localhost {\n\trate_limit { zone z { events 50 ; window 1h } }\n\trespond in\n}",
               args=["--workers", "2"])
    statuses = []

    def ask():
        with c.connect() as connection:
            for _ in range(20):
                statuses.append(connection.get().status)

    threads = [threading.Thread(target=ask) for _ in range(5)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert (statuses.count(200), statuses.count(429)) == (50, 50)
