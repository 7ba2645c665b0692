"""caddis doctor, and validate --online: what is in the way, said before a CA is asked."""

import json
import socket

import pytest
from lib.caddis import command
from lib.origin import Response
from lib.pebble import always
from lib.ports import free_port

NAME = "example.com"
SITE = NAME + " {\n\trespond hello\n}"


@pytest.fixture
def world(caddis, pebble):
    def make(start=True, **options):
        http, https = free_port(), free_port()
        p = pebble(http, https, **options)
        c = caddis(SITE, http=http, https=https, start=start,
                   globals=f"{p.globals}\ntls_resolvers 127.0.0.1:{p.name_server}")
        return p, c

    return make


def look(c, *more, status=0):
    done = c.command("doctor", "--config", c.file, "--port", str(c.http), *more)
    assert done.returncode == status, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert all(line.split()[0] in ("ok", "advice", "problem") for line in lines), lines
    return lines


def find(lines, verdict, about, word):
    text = [line for line in lines if line.startswith(f"{verdict} {about}: {word}")]
    assert text, f"{verdict} {about}: {word}\n" + "\n".join(lines)
    return text[0]


def test_all_is_well(world):
    p, c = world()
    c.wait_certificate(NAME, cadata=p.roots(), timeout=60)
    lines = look(c)
    assert all(line.startswith("ok ") for line in lines), lines
    find(lines, "ok", NAME, f"port {c.http}: 127.0.0.1 leads to this caddis")
    proxy = {"http_proxy": f"http://127.0.0.1:{free_port()}"}  # a CA does not come through it
    done = command("doctor", "--config", c.file, "--port", c.http, folder=c.folder, env=proxy)
    assert done.returncode == 0 and "leads to this caddis" in done.stdout, done.stdout
    for word in ("CAA", "limits"):
        find(lines, "ok", NAME, word)
    for word in ("CA: ", "clock"):
        find(lines, "ok", p.url, word)
    for word in ("store", "running"):
        find(lines, "ok", "caddis", word)
    assert p.orders == 1 and not list(c.store.rglob("challenge_tokens/*.json"))
    done = c.command("validate", "--online", "--config", c.file)
    assert "Valid configuration" in done.stdout and f"ok {p.url}: CA" in done.stdout
    done = c.command("validate", "--online", "--config", "-")
    assert done.returncode == 1 and "needs a file" in done.stderr


def test_nobody_runs_and_a_port_is_taken(world):
    p, c = world(start=False)
    with socket.create_server(("127.0.0.1", c.http)):
        lines = look(c, status=1)
    find(lines, "advice", "caddis", "running")
    find(lines, "problem", "caddis", f"port {c.http}: another program has it")
    find(lines, "ok", "caddis", f"port {c.https}: free")
    find(lines, "ok", NAME, "address: 127.0.0.1 is this machine's")


def test_records_that_lead_elsewhere(world):
    p, c = world()
    p.resolver_command("add-a", host=NAME, addresses=["127.0.0.1", "192.0.2.1"])
    p.resolver_command("add-caa", host="com", policies=[{"tag": "issue", "value": "a.example"}])
    meta = b'{"newNonce":"https://a/1","newAccount":"https://a/2","newOrder":"https://a/3",' \
           b'"meta":{"caaIdentities":["b.example","c.example"]}}'
    head = b"HTTP/1.1 200 X\r\nDate: Thu, 01 Jan 2015 00:00:00 GMT\r\nConnection: close\r\n" \
           b"Content-Length: %d\r\n\r\n" % len(meta)
    p.mediator.rules.append(always("directory", head + meta))
    lines = look(c, status=1)
    find(lines, "ok", NAME, f"port {c.http}: 127.0.0.1 leads")
    assert "hairpin" in find(lines, "advice", NAME, f"port {c.http}: our own answer does not")
    caa = find(lines, "problem", NAME, "CAA: the CAA records of com")
    assert '"a.example"' in caa and '0 issue "b.example"' in caa
    assert "NTP" in find(lines, "problem", p.url, "clock")
    p.resolver_command("add-caa", host=NAME, policies=[{"tag": "issue", "value": "c.example"}])
    find(look(c, status=1), "ok", NAME, "CAA: the records allow")
    p.resolver_command("set-servfail", host=NAME)
    assert "code 2" in find(look(c, status=1), "problem", NAME, "DNS")


def test_without_a_network(caddis):
    dead = free_port()
    c = caddis(SITE + "\nb.example.com {\n\trespond b\n}", start=False,
               globals=f"acme_ca https://127.0.0.1:{dead}/dir\ntls_resolvers 127.0.0.1:{dead}")
    lines = look(c, status=1)
    find(lines, "problem", NAME, "DNS")
    assert sum(": DNS: " in line for line in lines) == 1
    find(lines, "problem", f"https://127.0.0.1:{dead}/dir", "CA: its directory cannot be read")


def test_a_rehearsal_of_every_name(world, pebble):
    p, c = world(start=False)
    q = pebble(c.http, c.https)
    roots = c.folder / "roots.pem"
    roots.write_text(p.ca_root.read_text() + q.ca_root.read_text())
    c.globals = f"acme_ca {p.url}\nacme_test_ca {q.url}\nacme_ca_root {roots}\n" \
                f"tls_resolvers 127.0.0.1:{p.name_server}"
    c.write(SITE)
    c.start()
    c.wait_certificate(NAME, cadata=p.roots(), timeout=60)
    # The refusal first: what has been proven to it Pebble takes as such now and then.
    q.resolver_command("set-servfail", host=NAME)
    assert "could not validate" in find(look(c, "--staging", status=1), "problem", NAME, "staging")
    q.resolver_command("clear-servfail", host=NAME)
    before = q.orders
    find(look(c, "--staging"), "ok", NAME, "staging")
    assert p.orders == 1 and q.orders == before + 1


def test_a_name_on_demand_and_json(world, origin):
    o = origin(lambda request: Response(status=200 if "good" in request.target else 403))
    p, c = world(start=False)
    c.globals += f"\non_demand_tls {{\n ask http://{o.address}/check\n }}"
    c.write(SITE + "\nhttps:// {\n\ttls {\n\t\ton_demand\n\t}\n\trespond x\n}")
    c.start()
    c.wait_certificate(NAME, cadata=p.roots(), timeout=60)
    find(look(c), "ok", "caddis", "names: some come on demand")
    lines = look(c, "Good.example.com")
    assert "answered 200" in find(lines, "ok", "good.example.com", "permission")
    find(lines, "ok", "good.example.com", "port")
    assert not any(f" {NAME}:" in line for line in lines)
    lines = look(c, "bad.example.com", status=1)
    assert "answered 403: it gets no" in find(lines, "problem", "bad.example.com", "permission")
    done = c.command("doctor", "no.such", "a.second", "--config", c.file)
    assert done.returncode == 1
    assert p.orders == 1
    o.finish()
    done = c.command("doctor", "good.example.com", "--json", "--config", c.file, "--port",
                     str(c.http))
    found = json.loads(done.stdout)
    assert done.returncode == 1 and all(
        set(f) == {"verdict", "about", "check", "text"} for f in found)
    assert [f["about"] for f in found if f["verdict"] == "problem"] == ["good.example.com"]
    assert {"permission", "store", "CAA", "clock"} <= {f["check"] for f in found}
