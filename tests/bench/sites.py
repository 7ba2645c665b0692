"""What many sites cost: time until the last of them answers, time of a reload, memory of a site.

In: how many; the programs. Every site has a name, a certificate file of its own and an origin; the
programs run on one core with one worker. Out: measure()'s numbers, and stored(): the bars for
caddis with as many certificates in its store."""

import datetime
import math
import pathlib
import signal
import socket
import ssl
import subprocess
import time

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from proxies import ORIGIN, PLAIN, TLS, Proxy
from report import Bar
from rows import settled

SIZES, QUICK = (10, 1000, 10000), 1000
DAY = datetime.timedelta(days=1)
LOAD_MAX_S, NAME_MAX = 2.0, 20_000  # until 10,000 names are ready; bytes of one
PATIENCE_S = 60  # for a start or a reload; what takes longer is given as longer

NGINX = """
worker_processes 1; daemon off; pid {dir}/nginx.pid; error_log {dir}/error.log;
events {{ worker_connections 1024; }}
http {{
  access_log off; server_names_hash_max_size 65536; server_names_hash_bucket_size 128;
  client_body_temp_path {dir}/b; proxy_temp_path {dir}/p; fastcgi_temp_path {dir}/f;
  uwsgi_temp_path {dir}/u; scgi_temp_path {dir}/s;
  add_header X-Generation {generation};
{sites}
}}
"""
NGINX_SITE = """  server {{
    listen {tls} ssl; server_name {name};
    ssl_certificate {pair}.crt; ssl_certificate_key {pair}.key;
    location / {{ proxy_pass http://127.0.0.1:{origin}; }}
  }}"""
HAPROXY = """
global
  nbthread 1
  no strict-limits
defaults
  mode http
  timeout connect 5s
  timeout client 300s
  timeout server 300s
frontend f
  bind :{tls} ssl crt {dir}/pem{count}
  http-response set-header X-Generation {generation}
  use_backend %[req.hdr(host),lower]
{sites}
"""
HAPROXY_SITE = """backend {name}
  server o 127.0.0.1:{origin}"""
CADDYFILE = """{{
	http_port {plain}
	https_port {tls}
	skip_install_trust
	storage file_system {store}
	admin unix/{slashes}{dir}/admin.sock
	{redirects}
}}
{sites}
"""
CADDYFILE_SITE = """{name} {{
	{certificate}
	header X-Generation {generation}
	reverse_proxy 127.0.0.1:{origin}
}}"""


def site_name(i):
    return f"site{i}.example.internal"


def sign(name, key, issuer, issuer_key, ca, days=60):
    now = datetime.datetime.now(datetime.timezone.utc)
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - DAY)
        .not_valid_after(now + days * DAY)
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
    )
    if not ca:
        names = x509.SubjectAlternativeName([x509.DNSName(name)])
        builder = builder.add_extension(names, critical=False)
    return builder.sign(issuer_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def pem(key):
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                             serialization.NoEncryption())


def make_pairs(folder, sizes):
    """For each name a chain and a key, as HAProxy wants them, and as the store has them when its
    local CA has made them."""
    root_key, middle_key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(
        ec.SECP256R1())
    root = sign("root", root_key, "root", root_key, True, days=3600)
    middle = sign("middle", middle_key, "root", root_key, True)
    authority = folder / "names/pki/authorities/local"
    authority.mkdir(parents=True)
    for file, content in (("root.crt", root), ("root.key", pem(root_key)),
                          ("intermediate.crt", middle), ("intermediate.key", pem(middle_key))):
        (authority / file).write_bytes(content)
    for count in sizes:
        (folder / f"pem{count}").mkdir()
    for i in range(max(sizes)):
        name = site_name(i)
        key = ec.generate_private_key(ec.SECP256R1())
        chain = sign(name, key, "middle", middle_key, False) + middle
        private = pem(key)
        pair(folder, name).parent.mkdir(parents=True)
        pathlib.Path(f"{pair(folder, name)}.crt").write_bytes(chain)
        pathlib.Path(f"{pair(folder, name)}.key").write_bytes(private)
        for count in sizes:
            if i < count:
                (folder / f"pem{count}" / f"{name}.pem").write_bytes(chain + private)


def pair(folder, name):
    return folder / "names/certificates/local" / name / name


def configuration(program, folder, count, generation, in_store=False):
    common = dict(dir=folder, tls=TLS, plain=PLAIN, origin=ORIGIN, generation=generation,
                  count=count)
    outer, inner = {"nginx": (NGINX, NGINX_SITE), "haproxy": (HAPROXY, HAPROXY_SITE)}.get(
        program, (CADDYFILE, CADDYFILE_SITE))
    sites = []
    for i in range(count):
        p = pair(folder, site_name(i))
        sites.append(inner.format(name=site_name(i), pair=p, **common,
                                  certificate="" if in_store else f"tls {p}.crt {p}.key"))
    return outer.format(sites="\n".join(sites), slashes="/" if program == "caddy" else "",
                        store=folder / ("names" if in_store else "empty"),
                        redirects="" if in_store else "auto_https disable_redirects", **common)


def wait_for(name, generation, leaf):
    """Until the site answers with its own certificate, as the configuration of that generation; the
    seconds that took, or inf."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    request = f"GET / HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n".encode()
    begin = time.monotonic()
    while time.monotonic() < begin + PATIENCE_S:
        try:
            with socket.create_connection(("127.0.0.1", TLS), PATIENCE_S) as plain:
                with context.wrap_socket(plain, server_hostname=name) as s:
                    s.sendall(request)
                    answer = b""
                    while piece := s.recv(65536):
                        answer += piece
                    if (b" 200 " in answer.split(b"\r\n")[0] and s.getpeercert(True) == leaf
                            and f"x-generation: {generation}\r\n".encode() in answer.lower()):
                        return time.monotonic() - begin
        except OSError:
            pass
        time.sleep(0.005)
    return math.inf


def reload(program, proxy, binary, config):
    if program in ("nginx", "haproxy"):
        proxy.process.send_signal(signal.SIGHUP if program == "nginx" else signal.SIGUSR2)
        return
    subprocess.run([binary if program == "caddis" else "caddy", "reload", "--config", config,
                    "--adapter", "caddyfile"], check=True, stdout=subprocess.DEVNULL,
                   stderr=subprocess.DEVNULL)


def measure(program, folder, binary, count, in_store=False):
    """(seconds until the last site answers, CPU seconds by then, bytes of memory, seconds of a
    reload until the last site answers from it); inf: longer than we wait"""
    config, last = folder / f"{program}.sites", site_name(count - 1)
    leaf = ssl.PEM_cert_to_DER_cert(
        pathlib.Path(f"{pair(folder, last)}.crt").read_text().split("-----END")[0]
        + "-----END CERTIFICATE-----\n")
    config.write_text(configuration(program, folder, count, 1, in_store))
    with Proxy(program, folder, binary, config=config, wait=()) as proxy:
        ready = wait_for(last, 1, leaf)
        if math.isinf(ready):
            return (math.inf,) * 4
        worked, memory = proxy.cpu(), settled(proxy)
        config.write_text(configuration(program, folder, count, 2, in_store))
        begin = time.monotonic()
        reload(program, proxy, binary, config)
        asked = time.monotonic() - begin
        return ready, worked, memory, asked + wait_for(last, 2, leaf)


def memory_of_one(memory):
    """Bytes a site, from {number of sites: bytes}."""
    known = {n: m for n, m in memory.items() if not math.isinf(m)}
    few, many = min(known), max(known)
    return (known[many] - known[few]) / (many - few) if many > few else math.inf


def stored(folder, binary, sizes):
    """The bars for caddis as it is used: certificates in the store, redirects from HTTP."""
    few, many = (measure("caddis", folder, binary, n, in_store=True) for n in (sizes[0], sizes[-1]))
    ready, worked, memory, again = many
    name = memory_of_one({sizes[0]: few[2], sizes[-1]: memory})
    names = f"{sizes[-1]:,} names, certificates in the store"
    return [
        Bar(f"{names}: start", f"{ready:.2f} s ({worked:.2f} s of CPU)", f"{LOAD_MAX_S:g} s",
            ready <= LOAD_MAX_S),
        Bar(f"{names}: reload", f"{again:.2f} s", f"{LOAD_MAX_S:g} s", again <= LOAD_MAX_S),
        Bar(f"{names}: memory", f"{name / 1000:.1f} KB a name", f"{NAME_MAX / 1000:g} KB",
            name <= NAME_MAX),
    ]
