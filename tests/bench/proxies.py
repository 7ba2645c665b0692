"""The programs that the bench compares: their configurations, and one of them running.

In: a folder that holds site.crt and site.key (certificate()); the binary of caddis. Out: a Proxy,
pinned to its cores, that tells its CPU time and its memory. All get the same task: one origin, the
same certificate, forwarded-for fields, no access log but on the port LOGGED. The clients offer
one cipher suite and one group (client_env()), so that nobody is faster by what it negotiates."""

import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
BUILD = HERE.parents[1] / "build-bench"
OFFER = """
openssl_conf = all
[all]
ssl_conf = ssl
[ssl]
system_default = offer
[offer]
MinProtocol = TLSv1.3
Ciphersuites = TLS_AES_128_GCM_SHA256
Groups = X25519
"""
TICK = os.sysconf("SC_CLK_TCK")
ORIGIN, HELD, PLAIN, TLS, LOGGED = 18100, 18101, 18180, 18443, 18444
LOAD_CORE = str(os.cpu_count() - 1)
START_S = 120  # for anything to listen

NGINX = """
worker_processes {workers}; daemon off; pid {dir}/nginx.pid; error_log {dir}/error.log;
events {{ worker_connections 16384; multi_accept on; }}
http {{
  access_log off; sendfile on; tcp_nodelay on; keepalive_requests 100000000;
  client_body_temp_path {dir}/b; proxy_temp_path {dir}/p; fastcgi_temp_path {dir}/f;
  uwsgi_temp_path {dir}/u; scgi_temp_path {dir}/s; keepalive_timeout 300s;
  client_max_body_size 0; ssl_protocols TLSv1.2 TLSv1.3;
  ssl_certificate {dir}/site.crt; ssl_certificate_key {dir}/site.key;
  upstream o {{ server 127.0.0.1:{origin}; keepalive 128; keepalive_requests 100000000; }}
  proxy_http_version 1.1; proxy_max_temp_file_size 0;
  server {{
    listen {plain} backlog=4096; listen {tls} ssl http2 backlog=4096; server_name localhost;
    location / {{
      proxy_pass http://o; proxy_set_header Connection "";
      proxy_set_header Host $host; proxy_set_header X-Forwarded-For $remote_addr;
      proxy_set_header X-Forwarded-Proto $scheme; proxy_set_header X-Forwarded-Host $host;
    }}
    location /held/ {{
      proxy_pass http://127.0.0.1:{held}; proxy_set_header Host $host;
      proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection $http_connection;
      proxy_request_buffering off; proxy_read_timeout 300s;
    }}
  }}
  server {{
    listen {logged} ssl http2 backlog=4096; server_name localhost;
    access_log {dir}/nginx-access.log;
    location / {{
      proxy_pass http://o; proxy_set_header Connection "";
      proxy_set_header Host $host; proxy_set_header X-Forwarded-For $remote_addr;
      proxy_set_header X-Forwarded-Proto $scheme; proxy_set_header X-Forwarded-Host $host;
    }}
  }}
}}
"""
HAPROXY = """
global
  nbthread {workers}
  maxconn 12000
  no strict-limits
  ssl-default-bind-options ssl-min-ver TLSv1.2
defaults
  mode http
  timeout connect 5s
  timeout client 300s
  timeout server 300s
  timeout tunnel 300s
  option forwardfor
  http-reuse always
frontend f
  bind :{plain} backlog 4096
  bind :{tls} ssl crt {dir}/site.pem alpn h2,http/1.1 backlog 4096
  http-request set-header X-Forwarded-Proto http if !{{ ssl_fc }}
  http-request set-header X-Forwarded-Proto https if {{ ssl_fc }}
  http-request set-header X-Forwarded-Host %[req.hdr(Host)]
  use_backend held if {{ path_beg /held/ }}
  default_backend b
frontend logged
  bind :{logged} ssl crt {dir}/site.pem alpn h2,http/1.1 backlog 4096
  option httplog
  log stdout format raw local0
  http-request set-header X-Forwarded-Proto https
  http-request set-header X-Forwarded-Host %[req.hdr(Host)]
  default_backend b
backend b
  server o 127.0.0.1:{origin}
backend held
  server o 127.0.0.1:{held}
"""
CADDYFILE = """
{{
	http_port {plain}
	https_port {tls}
	auto_https disable_redirects
	storage file_system {dir}/store
	skip_install_trust
	admin {admin}
	grace_period 1s
}}
http://localhost:{plain} {{
	reverse_proxy 127.0.0.1:{origin}
}}
https://localhost:{tls} {{
	tls {dir}/site.crt {dir}/site.key
	reverse_proxy /held/* 127.0.0.1:{held}
	reverse_proxy 127.0.0.1:{origin}
}}
https://localhost:{logged} {{
	tls {dir}/site.crt {dir}/site.key
	log {{
		output file {dir}/{name}-access.log
	}}
	reverse_proxy 127.0.0.1:{origin}
}}
"""


def run(*args, **options):
    return subprocess.run([str(a) for a in args], check=True, **options)


def prepare(others):
    """Installs what is missing and builds; the path of caddis ($CADDIS_BIN: that one)."""
    run(HERE.parents[1] / "cmd/packages", "bench", stdout=sys.stderr)
    BUILD.mkdir(exist_ok=True)
    flags = ["-O2", "-g", "-Wall", "-Wextra", "-D_GNU_SOURCE"]
    run("gcc", *flags, HERE / "origin.c", "-o", BUILD / "origin")
    run("gcc", *flags, HERE / "load.c", "-o", BUILD / "load", "-lssl", "-lcrypto", "-lpthread")
    run("gcc", *flags, HERE / "relay.c", "-o", BUILD / "relay", "-lssl", "-lcrypto")
    if "caddis" not in others or os.environ.get("CADDIS_BIN"):
        return os.environ.get("CADDIS_BIN", "caddis")
    run("cmake", "-S", HERE.parents[1], "-B", BUILD / "caddis", "-G", "Ninja",
        "-DCMAKE_BUILD_TYPE=Release", stdout=subprocess.DEVNULL)
    run("cmake", "--build", BUILD / "caddis", "--target", "caddis", stdout=subprocess.DEVNULL)
    return str(BUILD / "caddis/caddis")


def client_env():
    """The environment of a client that uses OpenSSL."""
    path = BUILD / "client.cnf"
    path.write_text(OFFER)
    return {**os.environ, "OPENSSL_CONF": str(path)}


def certificate(folder):
    run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
        "-keyout", folder / "site.key", "-out", folder / "site.crt", "-days", "30", "-subj",
        "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", stderr=subprocess.DEVNULL)
    (folder / "site.pem").write_text((folder / "site.crt").read_text()
                                     + (folder / "site.key").read_text())


def configuration(name, folder, workers):
    """The text that the rows of requests and memory need; "" for the floor."""
    admin = "off" if name == "caddy" else f"unix/{folder}/admin.sock"
    text = {"nginx": NGINX, "haproxy": HAPROXY, "caddy": CADDYFILE, "caddis": CADDYFILE}
    return text.get(name, "").format(
        dir=folder, origin=ORIGIN, held=HELD, plain=PLAIN, tls=TLS, logged=LOGGED,
        workers=workers, admin=admin, name=name)


def command(name, folder, config, binary, workers):
    caddyfile = ["run", "--adapter", "caddyfile", "--config", config]
    return {
        "floor": [BUILD / "relay", ORIGIN, PLAIN, TLS, folder / "site.crt", folder / "site.key"],
        "nginx": ["nginx", "-c", config, "-p", folder],
        "haproxy": ["haproxy", "-W", "-f", config],
        "caddy": ["caddy", *caddyfile],
        "caddis": [binary, *caddyfile, "--workers", workers],
    }[name]


def wait_port(port, process, log):
    end = time.monotonic() + START_S
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            if process.poll() is not None or time.monotonic() > end:
                words = log.read_text()[-3000:] if log.exists() else ""
                sys.exit(f"bench: nothing listens on {port}:\n{words}")
            time.sleep(0.01)


class Proxy:
    """One of them running, until stop(). With a config of its own it listens where that says."""

    def __init__(self, name, folder, binary, workers=1, config=None, cores="0", wait=(PLAIN, TLS)):
        self.name, self.log = name, folder / f"{name}.log"
        if config is None:
            config = folder / f"{name}.conf"
            config.write_text(configuration(name, folder, workers))
        env = {**os.environ, "GOMAXPROCS": str(workers), "XDG_DATA_HOME": str(folder),
               "XDG_CONFIG_HOME": str(folder), "HOME": str(folder)}
        argv = command(name, folder, config, binary, workers)
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                ["taskset", "-c", cores, *map(str, argv)], env=env,
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
        for port in wait:
            wait_port(port, self.process, self.log)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def pids(self):
        found, todo = [], [self.process.pid]
        while todo:
            pid = todo.pop()
            try:
                children = [task.read_text() for task in
                            pathlib.Path(f"/proc/{pid}/task").glob("*/children")]
            except (FileNotFoundError, ProcessLookupError):
                continue  # it has just ended
            found.append(pid)
            todo += [int(p) for text in children for p in text.split()]
        return found

    def cpu(self):
        """Seconds of CPU time so far, of all processes and their threads."""
        total = 0
        for pid in self.pids():
            fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            total += int(fields[11]) + int(fields[12])
        return total / TICK

    def memory(self):
        """Bytes of anonymous pages; those that processes share after a fork count once."""
        return sum(anonymous(pid) for pid in self.pids())

    def descriptors(self):
        return sum(len(os.listdir(f"/proc/{pid}/fd")) for pid in self.pids())

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(15)
        except subprocess.TimeoutExpired:
            pass
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait()


def anonymous(pid):
    try:
        text, word = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text(), "Pss_Anon:"
    except PermissionError:  # not root: shared pages count more than once
        text, word = pathlib.Path(f"/proc/{pid}/status").read_text(), "RssAnon:"
    return int(text.split(word)[1].split()[0]) * 1024


def version(name):
    return subprocess.run(["dpkg-query", "-W", "-f", "${Version}", name], text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout


def size(name, binary):
    """Bytes of the program, stripped; None: there is none."""
    path = binary if name == "caddis" else shutil.which(
        name, path=os.environ["PATH"] + ":/usr/sbin")
    if not path or name == "floor":
        return None
    with tempfile.TemporaryDirectory() as folder:
        copy = pathlib.Path(folder) / name
        run("strip", "-o", copy, path)
        return copy.stat().st_size
