"""get_certificate http: somebody else has the certificates, and is asked when a handshake needs
one."""

import datetime
import ssl
import threading

import pytest
from lib import certs
from lib.certs import Authority
from lib.origin import Response
from lib.raw import tls_context

SITES = ("a.test, b.test {{\n tls internal {{\n get_certificate http http://{0}/cert?key=1\n }}\n"
         " respond \"hello {{host}}\"\n}}\nlocalhost {{\n respond x\n}}")


def bundle(pair):
    return pair[0].read_bytes() + pair[1].read_bytes()


def shake(c, name, root):
    context = tls_context(cafile=root)
    context.check_hostname = False
    with c.connect_tls("localhost", sni=name, context=context) as connection:
        return (certs.parse(connection.sock.getpeercert(True)).serial_number,
                connection.get(host=name).body)


def serial(pair):
    return certs.load(pair[0]).serial_number


def test_a_manager_brings_certificates(caddis, origin, folder):
    ca = Authority(folder)
    pairs = {"a.test": ca.issue("a.test")}
    asked = []

    def manager(request):
        query = dict(q.split("=") for q in request.target.split("?")[1].split("&"))
        asked.append(query)
        pair = pairs.get(query["server_name"])
        return Response(body=bundle(pair)) if pair else Response(status=204)

    o = origin(manager)
    c = caddis(SITES.format(o.address))
    c.wait_certificate("localhost")
    assert not asked  # only handshakes ask
    for _ in range(3):
        assert shake(c, "a.test", ca.path) == (serial(pairs["a.test"]), b"hello a.test")
    assert len(asked) == 1 and asked[0]["key"] == "1"
    assert "403" in asked[0]["signature_schemes"] and "1301" in asked[0]["cipher_suites"]
    # It has none for the other: the issuer makes one.
    assert shake(c, "b.test", c.root)[1] == b"hello b.test"
    assert not (c.store / "certificates/local/a.test").exists()
    # Kept over a reload that names the same, and asked for anew after a restart.
    c.reload()
    assert shake(c, "a.test", ca.path)[0] == serial(pairs["a.test"])
    pairs["a.test"] = ca.issue("a.test")
    c.stop()
    c.start()
    assert shake(c, "a.test", ca.path)[0] == serial(pairs["a.test"])


def test_what_a_manager_may_get_wrong(caddis, origin, folder):
    ca = Authority(folder)
    good, other = ca.issue("a.test"), ca.issue("b.test")
    expired = ca.issue("a.test", start=-9 * certs.DAY, end=-certs.DAY)
    replies = {
        "status 500": Response(status=500),
        "no certificate with its key": Response(body=b"<html>junk"),
        "not for this name": Response(body=bundle(other)),
        "has expired": Response(body=bundle(expired)),
        "differ": Response(body=good[0].read_bytes() + other[1].read_bytes()),
        "more than": Response(body=b"x" * (3 << 20)),
    }
    good = ca.issue("a.test")
    for says, reply in replies.items():
        o = origin(lambda request, reply=reply: reply)
        c = caddis(SITES.format(o.address))
        c.wait_certificate("localhost")
        with pytest.raises((ssl.SSLError, ConnectionError)):
            shake(c, "a.test", ca.path)
        c.wait_log("the manager has brought none")
        c.stop()


def test_many_handshakes_one_question(caddis, origin, folder):
    ca = Authority(folder)
    pair = ca.issue("a.test")
    gate = threading.Event()
    asked = []

    def manager(request):
        asked.append(1)
        gate.wait(30)
        return Response(body=bundle(pair))

    o = origin(manager)
    c = caddis(SITES.format(o.address))
    c.wait_certificate("localhost")
    got = []
    threads = [threading.Thread(target=lambda: got.append(shake(c, "a.test", ca.path)))
               for _ in range(20)]
    for t in threads:
        t.start()
    c.wait_certificate("localhost")
    gate.set()
    for t in threads:
        t.join(30)
    assert got == [(serial(pair), b"hello a.test")] * 20 and len(asked) == 1


def test_what_has_ended_is_not_served_on(caddis, origin, folder):
    """A manager that has nothing new: the name begins anew, and this time the issuer makes one."""
    ca = Authority(folder)
    pairs = []

    def manager(request):
        if pairs:
            return Response(status=204)
        pairs.append(ca.issue("a.test", end=datetime.timedelta(seconds=6)))
        return Response(body=bundle(pairs[0]))

    o = origin(manager)
    c = caddis(SITES.format(o.address))
    c.wait_certificate("localhost")
    assert shake(c, "a.test", ca.path)[0] == serial(pairs[0])
    c.wait_log("has ended without another one", 30)
    assert shake(c, "a.test", c.root)[1] == b"hello a.test"


def test_mistakes(caddis):
    for line, says in {"tailscale": "tailscale cert NAME", "http": "needs a URL",
                       "http example": "needs a URL", "vault x": "is http <URL>"}.items():
        c = caddis(f"a.test {{\n tls {{\n get_certificate {line}\n }}\n}}", start=False)
        done = c.command("validate", "--config", c.file)
        assert done.returncode == 1 and says in done.stderr, done.stderr
