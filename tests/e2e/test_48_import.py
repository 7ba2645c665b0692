"""caddis import: the same requests to the original server and to caddis with what import printed."""

import subprocess
import time

import pytest
from lib.caddis import command
from lib.origin import Response
from lib.ports import free_port
from lib.raw import connect

NGINX = """
daemon off; master_process off; pid DIR/nginx.pid; error_log DIR/error.log;
events { worker_connections 64; }
http {
  access_log off;
  client_body_temp_path DIR/b; proxy_temp_path DIR/p; fastcgi_temp_path DIR/f;
  uwsgi_temp_path DIR/u; scgi_temp_path DIR/s;
  include /etc/nginx/mime.types;
  map $http_upgrade $connection_upgrade { default upgrade; '' close; }
  upstream app { server @O@; keepalive 4; }
  server {
    listen PORT;
    server_name localhost;
    client_max_body_size 1k;
    add_header X-Frame-Options SAMEORIGIN always;
    rewrite ^/old/(.*)$ /new/$1 permanent;
    location / {
      proxy_pass http://app;
      proxy_http_version 1.1;
      proxy_set_header Host $host;
      proxy_set_header X-Real-IP $remote_addr;
      proxy_set_header X-Kind "app $request_method";
    }
    location /api/ { proxy_pass http://@O@/v1/; }
    location /keep/ { proxy_pass http://@O@; proxy_set_header Host fixed.example; }
    location = /exact { return 200 "exactly"; }
    location /exact { return 204; }
    location ^~ /firm/ { return 201 firm; }
    location ~ \\.txt$ { return 202 text; }
    location ~* \\.jpe?g$ { return 203; }
    location /files/ { alias DIR/files/; }
    location /app/ { root DIR; try_files $uri $uri/ /app/index.html; }
    location /closed { deny all; }
    location /asks/ { auth_basic x; auth_basic_user_file DIR/none; proxy_pass http://app; }
    location /asks/no/ { auth_basic off; proxy_pass http://app; }
    location /here/ { allow 127.0.0.1; deny all; proxy_pass http://app; }
    location /all-but/ { deny 127.0.0.0/8; allow all; proxy_pass http://app; }
    location /key/ { if ($http_x_key != abc) { return 401; } proxy_pass http://app; }
    location /inside/ { internal; alias DIR/files/; }
    location /outer/ { proxy_pass http://app; location ~ \\.sh$ {
      auth_basic x; auth_basic_user_file DIR/none; } }
    location /gone { return 410; }
    location /to { return 302 https://example.com$request_uri; }
  }
  server {
    listen PORT;
    server_name closed.localhost;
    auth_basic x; auth_basic_user_file DIR/none;
    deny 10.0.0.1;
    location / { proxy_pass http://app; }
    location = /health { return 200 fine; }
    location /files/ { alias DIR/files/; try_files $uri @app; }
    location @app { proxy_pass http://app; }
  }
  server {
    listen PORT;
    server_name refused.localhost;
    deny 127.0.0.1;
    location / { proxy_pass http://app; }
    location /x/ { proxy_pass http://app; }
  }
}
"""

APACHE = """
ServerRoot DIR
PidFile DIR/apache.pid
ErrorLog DIR/error.log
Mutex pthread
ServerName localhost
LoadModule mpm_event_module MODULES/mod_mpm_event.so
LoadModule authz_core_module MODULES/mod_authz_core.so
LoadModule proxy_module MODULES/mod_proxy.so
LoadModule proxy_http_module MODULES/mod_proxy_http.so
LoadModule proxy_balancer_module MODULES/mod_proxy_balancer.so
LoadModule lbmethod_byrequests_module MODULES/mod_lbmethod_byrequests.so
LoadModule slotmem_shm_module MODULES/mod_slotmem_shm.so
LoadModule headers_module MODULES/mod_headers.so
LoadModule alias_module MODULES/mod_alias.so
LoadModule rewrite_module MODULES/mod_rewrite.so
LoadModule dir_module MODULES/mod_dir.so
LoadModule authn_core_module MODULES/mod_authn_core.so
LoadModule authn_file_module MODULES/mod_authn_file.so
LoadModule auth_basic_module MODULES/mod_auth_basic.so
LoadModule authz_user_module MODULES/mod_authz_user.so
<Directory />
  Require all denied
</Directory>
<Directory DIR/files>
  Require all granted
</Directory>
<FilesMatch "^\\.ht">
  Require all denied
</FilesMatch>
Listen 127.0.0.1:PORT
<Proxy balancer://group>
  BalancerMember http://@O@
</Proxy>
<VirtualHost *:PORT>
  ServerName localhost
  DocumentRoot DIR/files
  ProxyPreserveHost On
  ProxyPass /static !
  ProxyPass /api/ http://@O@/v1/
  ProxyPassReverse /api/ http://@O@/v1/
  ProxyPass /group/ balancer://group/
  ProxyPass /keep http://@O@/keep
  <Location /keep/asks>
    AuthType Basic
    AuthName x
    AuthUserFile DIR/none
    Require valid-user
  </Location>
  <LocationMatch "^/api/(v2|v3)/">
    Require all denied
  </LocationMatch>
  <Directory DIR/files/private>
    Require all denied
  </Directory>
  Alias /other DIR/app
  <IfModule mod_rewrite.c>
    RewriteRule ^/none/ - [F]
    RewriteRule ^/away/ - [G]
  </IfModule>
  Redirect 403 /forbidden
  RequestHeader set X-Fixed "a b"
  Header set X-Frame-Options SAMEORIGIN
  RewriteEngine On
  RewriteRule ^/moved$ /elsewhere [R=301,L]
  Redirect permanent /old http://localhost:PORT/new
</VirtualHost>
"""


@pytest.fixture
def world(folder, cleanup, caddis, origin):
    (folder / "files/static").mkdir(parents=True)
    (folder / "files/private").mkdir()
    (folder / "files/private/x.css").write_text("private")
    (folder / "files/.htaccess").write_text("")
    (folder / "app").mkdir()
    (folder / "files/a.css").write_text("body{}")
    (folder / "files/index.html").write_text("front")
    (folder / "files/static/s.css").write_text("static")
    (folder / "app/index.html").write_text("the app")
    (folder / "app/x.css").write_text("x")
    o = origin(lambda r: Response(body=f"{r.method} {r.target} {r.get('Host')} "
                                       f"{r.get('X-Real-IP')} {r.get('X-Kind')} "
                                       f"{r.get('X-Fixed')}".encode()))

    def make(name, text, argv):
        port, ours = free_port(), free_port()
        text = text.replace("DIR", str(folder)).replace("@O@", o.address)
        text = text.replace("MODULES", "/usr/lib/apache2/modules")
        (folder / name).write_text(text.replace("PORT", str(port)))
        (folder / "import").write_text(text.replace("PORT", str(ours)))
        done = command("import", name, folder / "import")
        assert done.returncode == 0, done.stderr
        server = subprocess.Popen([a.replace("DIR", str(folder)) for a in argv],
                                  stderr=subprocess.PIPE)
        cleanup.add(lambda: (server.kill(), server.wait()))
        c = caddis(done.stdout)
        end = time.monotonic() + 20
        while True:
            assert server.poll() is None, server.stderr.read()
            try:
                connect(port).close()
                break
            except OSError:
                assert time.monotonic() < end
                time.sleep(0.05)
        return c, port, ours, done.stdout

    return make


def compare(c, theirs, ours, rows, field, host="localhost"):
    for row in rows:
        method, target, body = (row + (None,))[:3] if isinstance(row, tuple) else ("GET", row, None)
        got = []
        for port in (theirs, ours):
            fields = [("Host", host), ("Connection", "close")]
            with connect(port) as connection:
                a = connection.request(method, target, fields, body)
            answer = a.body if a.status < 400 and a.status // 100 != 3 else b""
            got.append((a.status, answer.replace(str(port).encode(), b"PORT"),
                        a.get(field) if a.status < 300 else None))
        assert got[0] == got[1], (target, c.log())


def test_nginx(world):
    c, theirs, ours, text = world("nginx", NGINX, ["/usr/sbin/nginx", "-c", "DIR/nginx"])
    warnings = [line for line in text.splitlines() if "# WARNING" in line]
    assert len(warnings) == 4, warnings
    compare(c, theirs, ours, [
        "/", "/a?b=c", "/api/x?y", "/keep/x", "/exact", "/exactly", "/firm/a.txt", "/a/b.txt",
        "/a.JPG", "/files/a.css", "/files/none", "/app/x.css", "/app/deep/link", "/closed",
        "/gone", "/old/x", ("POST", "/", b"x" * 100), ("POST", "/", b"x" * 2000), "/asks/x",
        "/asks/no/x", "/here/x", "/all-but/x", "/key/x", "/inside/a.css", "/outer/x",
        "/outer/deep/x.sh",
    ], "X-Frame-Options")
    compare(c, theirs, ours, ["/", "/x", "/health", "/files/a.css", "/files/none"], "X-None",
            "closed.localhost")
    compare(c, theirs, ours, ["/", "/x/y"], "X-None", "refused.localhost")
    # nginx completes a redirect with host and port where it is its own; ours is relative, as written.
    with connect(ours) as connection:
        a = connection.get("/to?x")
    assert (a.status, a.get("Location")) == (302, "https://example.com/to?x")


def test_apache(world):
    c, theirs, ours, text = world(
        "apache", APACHE, ["/usr/sbin/apache2", "-f", "DIR/apache", "-DFOREGROUND"])
    compare(c, theirs, ours, [
        "/api/x?y", "/group/z", "/keep", "/keep/x", "/static/s.css", "/a.css", "/moved", "/old/a?b",
        "/nothing", "/keep/asks", "/keep/asks/x", "/keep/asksno", "/api/v2/x", "/api/v1/x",
        "/.htaccess", "/private/x.css", "/other/x.css", "/none/x", "/away/x", "/forbidden/x",
    ], "X-Frame-Options")


TRAEFIK = """
services:
  app:
    expose: [PORT]
    labels:
      - "traefik.http.routers.a.rule=Host(`localhost`)"
      - "traefik.http.routers.a.entrypoints=web"
      - "traefik.http.routers.b.rule=Host(`localhost`) && PathPrefix(`/api`)"
      - "traefik.http.routers.b.entrypoints=web"
      - "traefik.http.routers.b.middlewares=strip"
      - "traefik.http.routers.b.service=app"
      - "traefik.http.middlewares.strip.stripprefix.prefixes=/api"
      - "traefik.http.services.app.loadbalancer.server.port=PORT"
"""

PYSERVE = """
server:
  host: 0.0.0.0
  port: LISTEN
  reverse_proxy:
    - {host: 127.0.0.1, path: /api, port: PORT, ssl: false, websocket: true}
    - {host: 127.0.0.1, path: /, port: PORT, ssl: false}
"""


@pytest.mark.parametrize("name, text", [("traefik", TRAEFIK), ("pyserve", PYSERVE)],
                         ids=["traefik", "pyserve"])
def test_labels_and_yaml(folder, caddis, origin, name, text):
    o = origin()
    port = free_port()
    (folder / "x").write_text(text.replace("PORT", o.address.split(":")[1])
                              .replace("LISTEN", str(port)))
    done = command("import", name, folder / "x")
    assert done.returncode == 0, done.stderr
    caddyfile = done.stdout.replace("app:", "127.0.0.1:")
    c = caddis(caddyfile.replace("http://localhost {", f"http://localhost:{port} {{"))
    with connect(port) as connection:
        assert connection.get("/x").body == b"GET /x", caddyfile
        assert connection.get("/api/y?z").body == b"GET /y?z", c.log()


def test_what_traefik_closed_stays_closed(folder, caddis, origin):
    o = origin()
    label = "traefik.http.middlewares."
    rows = {"file": ("x@file", ""), "digest": ("d", f"{label}d.digestauth.users=a:b:c"),
            "users": ("u", f"{label}u.basicauth.usersfile=/etc/users"),
            "plugin": ("p", f"{label}p.plugin.crowdsec.enabled=true"),
            "chain": ("c", f"{label}c.chain.middlewares=nobody"),
            "open": ("o@docker", f"{label}o.headers.customresponseheaders.X-A=b")}
    lines = []
    for name, (middleware, text) in rows.items():
        lines += [f"traefik.http.routers.{name}.rule=Host(`{name}.localhost`)", text,
                  f"traefik.http.routers.{name}.middlewares={middleware}",
                  f"traefik.http.routers.{name}.entrypoints=web",
                  f"traefik.http.routers.{name}.service=s"]
    lines.append(f"traefik.http.services.s.loadbalancer.server.port={o.address.split(':')[1]}")
    (folder / "x").write_text("\n".join(lines))
    done = command("import", "traefik", folder / "x")
    assert done.stdout.count("WARNING") == 5, done.stdout
    port = free_port()
    text = done.stdout.replace("ORIGIN:", "127.0.0.1:")
    caddis(text.replace(".localhost {", f".localhost:{port} {{"))
    for name in rows:
        with connect(port) as connection:
            status = connection.get("/", [("Host", f"{name}.localhost")]).status
        assert status == (200 if name == "open" else 401), name
    off = "services:\n  a:\n    labels:\n"
    for text in ("traefik.enable=false", "traefik.http.routers.a.rule=Host(`a.test`)"):
        off += f"      - {text}\n"
    (folder / "x").write_text(off + off.replace("services:\n", "").replace("=false", "=true")
                              .replace("a:", "b:").replace("a.", "b."))
    done = command("import", "traefik", folder / "x")
    assert "a.test {" not in done.stdout and "b.test {" in done.stdout, done.stdout


def test_mistakes_name_file_and_line(folder):
    (folder / "x").write_text("server {\n  listen 80\n}\n")
    done = command("import", "nginx", folder / "x")
    assert done.returncode == 1 and "line 2" in done.stderr and str(folder / "x") in done.stderr
    for words in ((), ("nginx",), ("lighttpd", "x"), ("nginx", folder / "none")):
        done = command("import", *words)
        assert done.returncode == 1 and done.stderr
