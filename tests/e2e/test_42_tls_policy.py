"""How handshakes are made: a site's own versions, suites, groups, protocols and client certificates,
several such sites on one port; Host against the handshake's name."""

import base64
import json
import re
import socket
import ssl
import subprocess

import pytest
from lib import certs
from lib.certs import Authority
from lib.raw import Closed, tls_context

OPENSSL = "openssl"


def client(c, pair=None, **options):
    context = tls_context(cafile=c.wait_root(), **options)
    if pair:
        context.load_cert_chain(*pair)
    return context


def ask(c, context, host="a.localhost", sni=..., port=None):
    """The response, or None where the handshake or the first read was refused. (In TLS 1.3 a
    client learns only then that its certificate was not wanted.)"""
    try:
        with c.connect_tls(host, context=context, sni=sni, port=port) as connection:
            return connection.get(host=host)
    except (ssl.SSLError, ConnectionError, Closed):
        return None


def body(c, *args, **options):
    response = ask(c, *args, **options)
    return response.body if response else None


@pytest.fixture
def clients(folder):
    """A CA, a certificate it signed, and one that somebody else signed."""
    (folder / "other").mkdir()
    ours, other = Authority(folder, "client CA"), Authority(folder / "other", "another CA")
    return ours, ours.issue("alice"), other.issue("mallory")


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("mode, lets_in", [
    ("request", (True, True, True)),
    ("require", (False, True, True)),
    ("verify_if_given", (True, True, False)),
    ("require_and_verify", (False, True, False)),
    (None, (False, True, False)),
])
def test_client_certificates(caddis, clients, mode, lets_in, version):
    ca, alice, mallory = clients
    trust = "" if mode in ("request", "require") else f"trusted_ca_cert_file {ca.path}"
    c = caddis("a.localhost {\n\ttls {\n\t\tclient_auth {\n"
               f"\t\t\t{f'mode {mode}' if mode else ''}\n\t\t\t{trust}\n\t\t}}\n\t}}\n"
               '\trespond "hello {tls_client_subject}"\n}\nb.localhost {\n\trespond open\n}')
    c.wait_certificate("b.localhost")
    expected = (b"hello ", b"hello CN=alice", b"hello CN=mallory")
    for pair, fine, text in zip((None, alice, mallory), lets_in, expected):
        context = client(c, pair, minimum=version, maximum=version)
        assert body(c, context) == (text if fine else None), (pair, mode)
    assert body(c, client(c), "b.localhost") == b"open"


def pool(kind, ca, alice):
    der = base64.b64encode(ssl.PEM_cert_to_DER_cert(ca.path.read_text())).decode()
    leaf = base64.b64encode(ssl.PEM_cert_to_DER_cert(alice[0].read_text())).decode()
    return {
        "inline": f"trust_pool inline {{\n trust_der {der}\n}}",
        "file": f"trust_pool file {ca.path}",
        "pem_file": f"trust_pool file {{\n pem_file {ca.path}\n}}",
        "ca_der": f"trusted_ca_cert {der}",
        "leaf_der": f"trusted_leaf_cert {leaf}",
        "leaf_file": f"trusted_leaf_cert_file {alice[0]}",
        "verifier": f"trust_pool file {ca.path}\nverifier leaf {{\n file {alice[0]}\n}}",
    }[kind]


@pytest.mark.parametrize("kind", ["inline", "file", "pem_file", "ca_der", "leaf_der", "leaf_file",
                                  "verifier"])
def test_trusted_client_certificates(caddis, clients, kind):
    ca, alice, mallory = clients
    bob = ca.issue("bob")
    c = caddis(f"a.localhost {{\n tls {{\n client_auth {{\n {pool(kind, ca, alice)}\n }}\n }}\n"
               " respond hello\n}")
    c.wait_root()
    context = client(c, alice)
    c.wait_certificate("a.localhost", context=context)
    assert body(c, context) == b"hello"
    assert body(c, client(c, mallory)) is None
    only_alice = kind in ("leaf_der", "leaf_file", "verifier")
    assert body(c, client(c, bob)) == (None if only_alice else b"hello")


def test_placeholders_and_the_log_name_the_client(caddis, clients, folder):
    ca, _, _ = clients
    pair = ca.issue("carol.test", "192.0.2.7")
    names = ["tls_client_subject", "tls_client_issuer", "tls_client_serial",
             "tls_client_fingerprint", "tls_client_certificate_der_base64",
             "http.request.tls.client.san.dns_names", "http.request.tls.client.san.ips.0",
             "http.request.tls.server_name", "http.request.tls.resumed", "tls_client_certificate_pem"]
    text = "|".join(f"{{{n}}}" for n in names)
    c = caddis("a.localhost {\n tls {\n client_auth {\n mode require\n }\n }\n"
               f" log {{\n output file {folder}/access.log\n format json\n }}\n"
               f" respond `{text}`\n}}")
    context = client(c, pair)
    c.wait_certificate("a.localhost", context=context)
    got = body(c, context).decode().split("|")
    der = ssl.PEM_cert_to_DER_cert(pair[0].read_text())
    x = certs.parse(der)
    assert got[0] == "CN=carol.test" and got[1] == "CN=client CA"
    assert got[2] == str(x.serial_number)
    assert got[3] == x.fingerprint(certs.hashes.SHA256()).hex()
    assert base64.b64decode(got[4]) == der
    assert got[5:9] == ["[carol.test]", "192.0.2.7", "a.localhost", "false"]
    assert got[9].strip() == pair[0].read_text().strip()
    c.stop()
    tls = json.loads((folder / "access.log").read_text().splitlines()[-1])["request"]["tls"]
    assert (tls["client_common_name"], tls["client_serial"]) == ("carol.test", got[2])
    assert (tls["server_name"], tls["proto"]) == ("a.localhost", "http/1.1")


def test_no_way_around_a_client_certificate(caddis, clients):
    """Neither by another site's connection nor by another site's session."""
    ca, alice, _ = clients
    site = "{0}.localhost {{\n{1}\n respond {0}\n}}\n"
    auth = f"tls {{\n client_auth {{\n trusted_ca_cert_file {ca.path}\n }}\n }}"
    c = caddis(site.format("a", auth) + site.format("b", "") + site.format("c", auth))
    c.wait_certificate("b.localhost")
    for name in "a", "c":
        c.wait_certificate(f"{name}.localhost", context=client(c, alice))
    with c.connect_tls("b.localhost") as connection:
        response = connection.get(host="a.localhost")
        assert response.status == 421 and response.get("Connection") == "close"
    with c.connect_tls("a.localhost", context=client(c, alice)) as connection:
        assert connection.get(host="b.localhost").status == 421
    context = client(c)
    context.check_hostname = False
    with c.connect_tls("b.localhost", context=context) as connection:
        assert connection.get(host="b.localhost").body == b"b"
        session = connection.sock.session
    raw = socket.create_connection(("127.0.0.1", c.https), timeout=20)
    with pytest.raises((ssl.SSLError, ConnectionError)), raw:
        tls = context.wrap_socket(raw, server_hostname="a.localhost", session=session)
        tls.sendall(b"GET / HTTP/1.1\r\nHost: a.localhost\r\n\r\n")
        assert tls.recv(4096) == b"never"


@pytest.mark.parametrize("option, status", [("", 200), ("strict_sni_host", 421),
                                            ("strict_sni_host insecure_off", 200)])
def test_strict_sni_host(caddis, option, status):
    c = caddis("a.localhost {\n respond a\n}\nb.localhost {\n respond b\n}",
               globals=f"servers {{\n {option}\n }}")
    c.wait_certificate("a.localhost")
    c.wait_certificate("b.localhost")
    with c.connect_tls("a.localhost") as connection:
        assert connection.get(host="b.localhost").status == status


def test_sites_with_their_own_versions_and_protocols(caddis):
    c = caddis("new.localhost {\n tls {\n protocols tls1.3\n }\n respond new\n}\n"
               "old.localhost {\n tls {\n protocols tls1.2 tls1.2\n alpn http/1.1\n"
               " ciphers TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256\n }\n"
               " respond {tls_version}/{tls_cipher}\n}\nany.localhost {\n respond any\n}")
    for name in "new", "old", "any":
        c.wait_certificate(f"{name}.localhost")
    v12, v13 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3
    assert body(c, client(c, maximum=v12), "new.localhost") is None
    assert body(c, client(c, minimum=v13), "new.localhost") == b"new"
    assert body(c, client(c, minimum=v13), "old.localhost") is None
    assert body(c, client(c), "old.localhost") == \
        b"tls1.2/TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256"
    for version in v12, v13:
        assert body(c, client(c, minimum=version, maximum=version), "any.localhost") == b"any"
    for name, protocol in ("old", "http/1.1"), ("any", "h2"):
        context = client(c, alpn=("h2", "http/1.1"))
        with c.connect_tls(f"{name}.localhost", context=context) as connection:
            assert connection.sock.selected_alpn_protocol() == protocol


def test_curves(caddis):
    c = caddis("a.localhost {\n tls {\n curves secp384r1\n }\n respond a\n}\n"
               "b.localhost {\n tls {\n curves x25519mlkem768 x25519\n }\n respond b\n}")
    c.wait_certificate("a.localhost")
    c.wait_certificate("b.localhost")

    def handshake(name, groups):
        done = subprocess.run([OPENSSL, "s_client", "-connect", f"127.0.0.1:{c.https}",
                               "-servername", f"{name}.localhost", "-groups", groups, "-brief"],
                              input=b"", capture_output=True, timeout=60)
        return b"CONNECTION ESTABLISHED" in done.stderr + done.stdout

    assert handshake("a", "P-384") and not handshake("a", "X25519:P-256")
    assert handshake("b", "X25519") and not handshake("b", "P-384")


def test_a_secrets_log_and_its_warning(caddis, folder):
    c = caddis("a.localhost {\n respond x\n tls {\n insecure_secrets_log " f"{folder}/keys" "\n }\n}")
    c.wait_certificate("a.localhost")
    c.stop()
    assert "CLIENT_TRAFFIC_SECRET_0" in (folder / "keys").read_text()
    assert (folder / "keys").stat().st_mode & 0o077 == 0
    assert "can read this site's traffic" in c.log()


def test_a_reload_changes_the_policy(caddis, clients):
    ca, alice, _ = clients
    site = "a.localhost {{\n tls {{\n {0}\n }}\n respond hello\n}}"
    auth = f"client_auth {{\n trusted_ca_cert_file {ca.path}\n }}"
    c = caddis(site.format("protocols tls1.2"))
    c.wait_certificate("a.localhost")
    with c.connect_tls("a.localhost") as before:
        assert before.get(host="a.localhost").body == b"hello"
        c.reload(site.format(auth))
        assert before.get(host="a.localhost").status == 421
    assert body(c, client(c)) is None
    assert body(c, client(c, alice)) == b"hello"


@pytest.mark.parametrize("line, message", [
    ("protocols tls1.1", "no protocol version caddis has"),
    ("protocols tls1.3 tls1.2", "the lower version comes first"),
    ("ciphers TLS_AES_128_GCM_SHA256", "those of TLS 1.3 are always there|suites of TLS 1.3"),
    ("curves brainpool", "no curve"),
    ("alpn spdy/3", "speaks h2 and http/1.1"),
    ("client_auth {\n mode demand\n }", "no mode"),
    ("client_auth {\n trust_pool pki_root\n }", "needs at least one"),
    ("client_auth {\n trusted_ca_cert AAAA\n }", "reading the trusted CA certificates"),
    ("client_auth {\n mode require\n trusted_ca_cert AAAA\n }", "let every certificate in"),
    ("get_certificate tailscale", "tailscale cert NAME"),
    ("protocls tls1.2", 'did you mean "protocols"'),
])
def test_errors_say_what_and_where(caddis, line, message):
    c = caddis(f"a.localhost {{\n tls {{\n {line}\n }}\n}}", start=False)
    done = c.command("validate", "--config", c.file)
    assert done.returncode != 0
    assert re.search(message, done.stdout + done.stderr), done.stdout + done.stderr
    assert f"{c.file}:" in done.stdout + done.stderr


def test_loaded_certificates(caddis, folder):
    """Each serves the names it has, whoever asks; the site's other names get theirs as ever."""
    ca = Authority(folder)
    (folder / "pem/more").mkdir(parents=True)
    for stem, names in ("a", ["a.test", "x.localhost"]), ("more/b", ["*.b.test"]):
        crt, key = ca.issue(*names)
        (folder / f"pem/{stem}.pem").write_bytes(crt.read_bytes() + key.read_bytes())
    (folder / "pem/README").write_text("no certificate")
    c = caddis(f"a.test, c.localhost {{\n tls {{\n load {folder}/pem\n }}\n respond site\n}}")
    c.wait_certificate("c.localhost")  # the local CA's
    context = tls_context(cafile=ca.path)
    for name in "a.test", "www.b.test", "x.localhost":
        with c.connect_tls("localhost", sni=name, context=no_names(context)) as connection:
            assert connection.get(host="a.test").body == b"site"
    assert not list(c.store.glob("certificates/*/a.test"))
    (folder / "pem/broken.pem").write_text("junk")
    refused = c.reload(status=1)
    assert "broken.pem is no certificate with its key" in refused.stdout + refused.stderr


def no_names(context):
    context.check_hostname = False
    return context


def test_a_thousand_names(caddis, folder):
    """One site each, of one's own: all are served, a reload included."""
    ca = Authority(folder)
    pairs = [ca.issue(f"n{i}.test", f"*.n{i}.test") for i in range(20)]
    site = "w{0}.n{1}.test {{\n tls {2} {3}\n respond {0}.{1}\n}}\n"
    text = "".join(site.format(w, i, *pairs[i]) for i in range(20) for w in range(50))
    c = caddis(text)
    for turn in range(2):
        for w, i in (0, 0), (49, 19), (7, 11):
            with c.connect_tls("localhost", sni=f"w{w}.n{i}.test",
                               context=no_names(tls_context(cafile=ca.path))) as connection:
                response = connection.get(host=f"w{w}.n{i}.test")
                assert response.body == f"{w}.{i}".encode()
        if turn == 0:
            c.reload()


def handshake(c, name, *options, send=b""):
    """What openssl s_client says; options of TLS 1.2 and of weak ciphers allowed."""
    done = subprocess.run([OPENSSL, "s_client", "-connect", f"127.0.0.1:{c.https}", "-servername",
                           name, *options], input=send, capture_output=True, timeout=60)
    return (done.stdout + done.stderr).decode(errors="replace")


def connected(text):
    return "Cipher is (NONE)" not in text and "Cipher is" in text


def test_the_post_quantum_group(caddis):
    """Used where OpenSSL has it (3.5); elsewhere a warning says that it is left out."""
    c = caddis("a.localhost {\n tls {\n curves x25519mlkem768 x25519\n }\n respond a\n}")
    c.wait_certificate("a.localhost")
    known = "X25519MLKEM768" in subprocess.run([OPENSSL, "list", "-tls-groups"], text=True,
                                               capture_output=True).stdout
    said = c.command("validate", "--config", c.file)
    assert said.returncode == 0, said.stderr
    if known:
        assert "x25519mlkem768" not in said.stderr
        text = handshake(c, "a.localhost", "-groups", "X25519MLKEM768")
        assert connected(text) and "X25519MLKEM768" in text, text
    else:
        assert "x25519mlkem768" in said.stderr and "3.5 and later" in said.stderr
        assert connected(handshake(c, "a.localhost", "-groups", "X25519"))
    # Alone it would leave nothing where it is missing.
    c.write("a.localhost {\n tls {\n curves x25519mlkem768\n }\n respond a\n}")
    alone = c.command("validate", "--config", c.file)
    assert alone.returncode == (0 if known else 1), alone.stderr


@pytest.mark.parametrize("key_type", ["p256", "rsa2048"])
def test_what_an_a_plus_needs(caddis, key_type):
    """With nothing configured but the line of HSTS: no TLS below 1.2, forward secrecy and
    authenticated encryption only, our order, secure renegotiation that clients cannot start, no
    compression, no answer to what is malformed, HSTS for half a year and more."""
    c = caddis("a.localhost {\n tls {\n"
               f" issuer internal\n key_type {key_type}\n }}\n"
               ' header Strict-Transport-Security "max-age=31536000; includeSubDomains"\n'
               " respond hello\n}")
    c.wait_certificate("a.localhost")
    legacy = ("-cipher", "ALL:@SECLEVEL=0")
    for version in "-tls1", "-tls1_1":
        assert not connected(handshake(c, "a.localhost", version, *legacy)), version
    # Every suite of TLS 1.2 that this OpenSSL knows, one by one.
    suites = subprocess.run([OPENSSL, "ciphers", "-tls1_2", "ALL:COMPLEMENTOFALL:@SECLEVEL=0"],
                            capture_output=True, text=True, check=True).stdout.strip().split(":")
    suites = [s for s in suites if not s.startswith("TLS_")]
    taken = [s for s in suites
             if connected(handshake(c, "a.localhost", "-tls1_2", "-cipher", f"{s}:@SECLEVEL=0"))]
    sign = "ECDSA" if key_type == "p256" else "RSA"
    assert sorted(taken) == sorted(f"ECDHE-{sign}-{s}" for s in (
        "AES128-GCM-SHA256", "AES256-GCM-SHA384", "CHACHA20-POLY1305"))
    # The server's order, not the client's; but who wants ChaCha20 first (no AES in hardware) has it.
    backwards = handshake(c, "a.localhost", "-tls1_2", "-cipher",
                          f"ECDHE-{sign}-AES256-GCM-SHA384:ECDHE-{sign}-AES128-GCM-SHA256")
    forwards = handshake(c, "a.localhost", "-tls1_2", "-cipher",
                         f"ECDHE-{sign}-AES128-GCM-SHA256:ECDHE-{sign}-AES256-GCM-SHA384")
    cipher = [re.search(r"Cipher is (\S+)", t)[1] for t in (backwards, forwards)]
    assert cipher[0] == cipher[1]
    wants = handshake(c, "a.localhost", "-tls1_2", "-cipher",
                      f"ECDHE-{sign}-CHACHA20-POLY1305:ECDHE-{sign}-AES128-GCM-SHA256")
    assert "Cipher is " + f"ECDHE-{sign}-CHACHA20-POLY1305" in wants
    text = handshake(c, "a.localhost", "-tls1_2")
    assert "Secure Renegotiation IS supported" in text and "Compression: NONE" in text
    assert not re.search(r"Server Temp Key: DH\b", text)
    # A client's renegotiation is refused: the connection ends, or no handshake follows.
    raw = tls_context(cafile=c.root, maximum=ssl.TLSVersion.TLSv1_2)
    with c.connect_tls("a.localhost", context=raw) as connection:
        response = connection.get(host="a.localhost")
        age = re.search(r"max-age=(\d+)", response.get("Strict-Transport-Security"))
        assert int(age[1]) >= 15768000
    refused = subprocess.run(
        [OPENSSL, "s_client", "-connect", f"127.0.0.1:{c.https}", "-servername", "a.localhost",
         "-tls1_2"], input=b"R\n", capture_output=True, timeout=60)
    assert b"RENEGOTIATING" in refused.stdout + refused.stderr
    assert b"no renegotiation" in refused.stderr or refused.returncode != 0, refused.stderr
