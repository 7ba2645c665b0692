"""Where trusted client certificates come from: the local CA, the store, a URL, several at once; leaf
certificates from folders, texts and the store. What is fetched may come late, and may change."""

import ssl
import threading
import time

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from lib.certs import Authority
from lib.origin import Response
from lib.raw import Closed, tls_context

SITE = ("a.localhost {{\n tls {{\n client_auth {{\n {0}\n }}\n }}\n respond hello\n}}\n"
        "b.localhost {{\n respond open\n}}")


class Local(Authority):
    """The local CA of a caddis, to sign client certificates with what it signs with."""

    def __init__(self, c, folder):
        base = c.store / "pki/authorities/local"
        self.folder = folder
        self.certificate = x509.load_pem_x509_certificate(
            (base / "intermediate.crt").read_bytes())
        self.key = load_pem_private_key((base / "intermediate.key").read_bytes(), None)
        self.subject = self.certificate.subject

    def issue(self, *names, **options):
        crt, key = super().issue(*names, **options)
        crt.write_bytes(crt.read_bytes() + self.pem(self.certificate))
        return crt, key


def lets_in(c, pair):
    context = tls_context(cafile=c.wait_root())
    if pair:
        context.load_cert_chain(*pair)
    try:
        with c.connect_tls("a.localhost", context=context) as connection:
            return connection.get(host="a.localhost").body == b"hello"
    except (ssl.SSLError, ConnectionError, Closed):
        return False


def wait_until(c, pair, wanted=True, timeout=30):
    end = time.monotonic() + timeout
    while lets_in(c, pair) != wanted:
        assert time.monotonic() < end, c.log()
        time.sleep(0.1)


@pytest.fixture
def clients(folder):
    (folder / "other").mkdir()
    ours, other = Authority(folder, "client CA"), Authority(folder / "other", "another CA")
    return ours, ours.issue("alice"), other.issue("mallory")


@pytest.mark.parametrize("pool", ["pki_root local", "pki_intermediate {\n authority local\n }"])
def test_the_local_authority(caddis, clients, folder, pool):
    """It is made after the configuration that trusts it was read."""
    c = caddis(SITE.format(f"trust_pool {pool}"))
    c.wait_certificate("b.localhost")
    dave = Local(c, folder).issue("dave")
    wait_until(c, dave)
    assert not lets_in(c, clients[2]) and not lets_in(c, None)
    c.reload()
    assert lets_in(c, dave)  # without a moment in which it is not known


def test_a_pool_in_the_store_comes_late_and_changes(caddis, clients):
    ca, alice, mallory = clients
    c = caddis(SITE.format("trust_pool storage {\n keys clients/ca.pem\n }"))
    c.wait_certificate("b.localhost")
    c.wait_log("certificates to trust cannot be had yet")
    assert not lets_in(c, alice)
    (c.store / "clients").mkdir(mode=0o700)
    key = c.store / "clients/ca.pem"
    key.write_bytes(ca.path.read_bytes())
    c.wait_log("certificates to trust are there")
    wait_until(c, alice)
    # The other CA takes its place. A session of the first does not outlive that.
    session = None
    context = tls_context(cafile=c.root)
    context.load_cert_chain(*alice)
    with c.connect_tls("a.localhost", context=context) as connection:
        connection.get(host="a.localhost")
        session = connection.sock.session
    key.write_bytes((mallory[0].parent / "root.pem").read_bytes())
    c.reload()
    wait_until(c, mallory)
    with pytest.raises((ssl.SSLError, ConnectionError, Closed, AssertionError)):
        with c.connect_tls("a.localhost", context=context, session=session) as connection:
            assert connection.get(host="a.localhost").status != 200
    # What cannot be read leaves all as it was.
    key.write_text("no certificate")
    c.reload()
    c.wait_log("cannot be fetched again; those from before stay")
    c.reload()
    assert lets_in(c, mallory) and not lets_in(c, alice)


def test_a_pool_from_a_url(caddis, clients, origin, folder):
    ca, alice, mallory = clients
    (folder / "server").mkdir()
    authority = Authority(folder / "server", "the server's CA")
    answers = [Response(status=500), Response(body=ca.path.read_bytes())]
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(*authority.issue("localhost"))
    o = origin(lambda request: answers.pop(0) if answers else Response(status=503), tls=server)
    c = caddis(SITE.format(f"trust_pool http https://localhost:{o.port}/ca.pem {{\n tls {{\n"
                           f" ca file {authority.path}\n }}\n }}"))
    c.wait_certificate("b.localhost")
    c.wait_log("it answered with status 500")
    wait_until(c, alice)
    assert not lets_in(c, mallory)
    c.reload()
    c.wait_log("cannot be fetched again")
    assert lets_in(c, alice)


def test_combined(caddis, clients, folder):
    ca, alice, mallory = clients
    c = caddis(SITE.format(f"trust_pool combined {{\n source file {ca.path}\n"
                           " source combined {\n source pki_root {\n authority local\n }\n }\n }"))
    c.wait_certificate("b.localhost")
    wait_until(c, Local(c, folder).issue("dave"))
    assert lets_in(c, alice) and not lets_in(c, mallory)


def test_hostile_places_beside_a_good_one(caddis, clients, origin):
    """Each is a failure of its own: none poisons or holds up what another gives, nor what it gave
    itself before."""
    ca, alice, mallory = clients
    mallorys = (mallory[0].parent / "root.pem").read_bytes()
    gate, good = threading.Event(), {"body": ca.path.read_bytes()}
    answers = {
        "/html": lambda: Response(body=b"<html>log in first</html>"),
        "/empty": lambda: Response(body=b""),
        "/half": lambda: Response(body=mallorys + mallorys[:300]),
        "/moved": lambda: Response(status=302, fields=[("Location", "/mallory")]),
        "/endless": lambda: Response(body=mallorys * 2000),
        "/good": lambda: Response(**good),
        "/hangs": lambda: gate.wait(60) and Response(status=404),
        "/later": lambda: Response(body=mallorys),
    }
    o = origin(lambda request: answers[request.target]())
    c = caddis(SITE.format("trust_pool combined {\n" + "".join(
        f" source http http://{o.address}{place}\n" for place in answers) + " }"))
    c.wait_certificate("b.localhost")
    wait_until(c, alice)
    assert not gate.is_set() and not lets_in(c, mallory)
    gate.set()
    wait_until(c, mallory)
    log = c.log()
    for place, reason in {"html": "there is none", "empty": "there is none", "half": "reading",
                          "moved": "status 302", "endless": "too large"}.items():
        assert any(f"/{place}" in line and reason in line for line in log.splitlines()), place
    good["body"] = answers["/html"]().body
    c.reload()
    c.wait_log("cannot be fetched again")
    c.reload()
    assert lets_in(c, alice)


def test_more_names_than_a_handshake_can_tell(caddis, clients, folder):
    """A certificate request holds 64 KiB of CAs' names: a client then offers what it has."""
    ca, alice, mallory = clients
    ours = ca.path.read_bytes()
    many = [Authority(folder, f"{i:064}").path.read_bytes() for i in range(900)]
    (folder / "many.pem").write_bytes(b"".join(many) + ours)
    c = caddis(SITE.format(f"trust_pool file {folder}/many.pem"))
    c.wait_certificate("b.localhost")
    assert lets_in(c, alice) and not lets_in(c, mallory)


@pytest.mark.parametrize("loader", ["folder", "pem", "storage", "storage alone"])
def test_leaf_certificates(caddis, clients, folder, loader):
    ca, alice, mallory = clients
    bob = ca.issue("bob")
    (folder / "leafs/below").mkdir(parents=True)
    (folder / "leafs/below/alice.pem").write_bytes(alice[0].read_bytes())
    line = {
        "folder": f"verifier leaf folder {folder}/leafs",
        "pem": f"verifier leaf {{\n pem `{alice[0].read_text()}`\n }}",
        "storage": "verifier leaf {\n storage alice.pem\n }",
        "storage alone": "verifier leaf storage alice.pem",
    }[loader]
    pool = "" if loader == "storage alone" else f"trust_pool file {ca.path}\n"
    c = caddis(SITE.format(pool + line), start=False)
    c.store.mkdir(mode=0o700)
    (c.store / "alice.pem").write_bytes(alice[0].read_bytes())
    c.start()
    c.wait_certificate("b.localhost")
    wait_until(c, alice)
    assert not lets_in(c, bob) and not lets_in(c, mallory)


WRONG = {
    "trust_pool vault x": "is no trust pool",
    "trust_pool pki_root acme": "caddis's own is called local",
    "trust_pool storage": "needs at least one",
    "trust_pool storage {\n storage redis\n }": "here it is keys",
    "trust_pool http ftp://x": "is no URL",
    "trust_pool http https://x {\n tls {\n insecure_skip_verify\n }\n }": "here it is ca file",
    "trust_pool combined": "combined is { source <pool> ... }",
    "verifier leaf {\n http https://x\n }": "is no source of leaf certificates",
    "verifier revocation": "is no verifier",
}


@pytest.mark.parametrize("line", WRONG)
def test_mistakes(caddis, line):
    c = caddis(SITE.format(line), start=False)
    done = c.command("validate", "--config", c.file)
    assert done.returncode == 1 and WRONG[line] in done.stderr, done.stderr
