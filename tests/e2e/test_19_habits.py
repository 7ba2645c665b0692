"""What people who come from other servers write by habit: the message says what to write instead."""

from lib.caddis import command

SITE = "example.com {\n\t%s\n\treverse_proxy localhost:8000\n}\n"
PROXY = "example.com {\n\treverse_proxy localhost:8000 {\n\t\t%s\n\t}\n}\n"
GLOBAL = "{\n\t%s\n}\nexample.com {\n\treverse_proxy localhost:8000\n}\n"

MISTAKES = [
    # another server's words
    (SITE % "proxy_pass http://localhost", "it is called reverse_proxy"),
    (SITE % "gzip on", "it is called encode"),
    (SITE % "cors", "header Access-Control-Allow-Origin"),
    (SITE % "client_max_body_size 50m", "request_body { max_size 50MB }"),
    (SITE % "limit_req zone=a", "rate_limit { zone"),
    (PROXY % "websocket", "WebSockets need nothing special"),
    (PROXY % "transparent", "leave this out"),
    (PROXY % "timeout 24h", "nothing ends a connection that is quiet"),
    (PROXY % "proxy_set_header X-Real-IP {remote_host}", "it is called header_up"),
    (PROXY % "fail_timeout 5s", "it is called fail_duration"),
    # in the wrong place
    (SITE % "header_up X-Real-IP {remote_host}", "reverse_proxy ORIGIN { header_up ... }"),
    (SITE % "keepalive 7d", "transport http { keepalive ... }"),
    (PROXY % "keepalive 7d", "transport http { ... }"),
    (SITE % "max_size 50MB", "request_body { max_size 50MB }"),
    (SITE % "request_body max_size 50MB", "request_body { max_size 10MB }"),
    (SITE % "rate_limit {remote_host} 10r/m", "rate_limit { zone NAME {"),
    (GLOBAL % "trusted_proxies static private_ranges", "servers { trusted_proxies ... }"),
    (GLOBAL % "servers { trusted_proxies cloudflare }", "trusted_proxies static private_ranges"),
    ("email me@example.com\n" + SITE % "", "{ email me@example.com }"),
    ("example.com\nreverse_proxy localhost:8000\nother.example.com\nreverse_proxy localhost:9000\n",
     'with more than one each needs "{" and "}"'),
    (SITE % "header Cache-Control: no-store", "leave out the colon"),
    (SITE % "encode: gzip", "leave out the colon"),
    # signs
    (SITE % "respond hello world", "goes in quotes"),
    (SITE % "respond \u201chello world\u201d", 'quotes are "..."'),
    (SITE % "// a comment", "a comment begins with #"),
    (SITE % "api path /api/*", "@api path ..."),
    (SITE % "@ api path /api/*", "without a space: @api"),
    (SITE % "@api not /api/*", "write path /api/*"),
    (SITE % "handle ~ ^/api/ {\n\t\trespond x\n\t}", "@name path_regexp ^/api/, then handle @name"),
    (SITE % "handle /a/* /b/* {\n\t\trespond x\n\t}", "@name path /a/* /b/*, then handle @name"),
    (SITE % "rewrite ^/old/(.*)$ /new/$1", "rewrite @old /new/{re.1}"),
    (SITE % "if {path} is /x", "a condition is a matcher"),
    (SITE % "tls self_signed", "tls internal"),
    (SITE % "tls off", "write http:// in front"),
    (SITE % "tls /etc/cert.pem", "tls CERT KEY"),
    (SITE % "crowdsec", "a plug-in's for Caddy"),
    (GLOBAL % "dynamic_dns", "a plug-in's for Caddy"),
    ('{\n\t"apps": {\n\t}\n}\n', "looks like JSON"),
    ("$DOMAIN {\n\trespond x\n}\n", "{$DOMAIN}"),
    ("a.<your-domain> {\n\trespond x\n}\n", "a name of your own"),
    ("example.com: {\n\trespond x\n}\n", "leave out the colon"),
    ("a;b {\n\trespond x\n}\n", 'has a ";"'),
    ("a.test {\n\tlog\n}\na.test {\n\trespond x\n}\n", "put both into that of line 1"),
]

# Valid, but hardly meant.
WARNINGS = [
    ("example.com {\n\treverse_proxy / localhost:8000\n}\n", "for every path leave it out"),
    (SITE % "header / X-Frame-Options DENY", "for every path leave it out"),
    ("www.example.com {\n\tredir example.com{uri} permanent\n}\n", "https://example.com{uri}"),
    (GLOBAL % "ocsp_interval 1h", "staples no OCSP answers"),
    (SITE % "root * ~/site", 'or {$HOME}/...'),
    (SITE % "header Strict-Transport-Security max-age=1; preload", "goes in quotes"),
    (SITE % 'header {\n\t\tAccess-Control-Allow-Origin "https://a.example, https://b.example"\n\t}',
     "for each origin a line with a matcher"),
    (SITE % "handle_path /api { respond x }", "for everything below write /api/*"),
    (PROXY % "header_up X-Forwarded-Proto $scheme", "here it is {scheme}"),
    ("http://example.com {\n\tredir https://$host$request_uri\n}\n", "here it is {host}"),
    ("localhost:8000 {\n\treverse_proxy localhost:8000\n}\n", "go round in a circle"),
    ("http://localhost {\n\thandle {\n\t\treverse_proxy http://127.0.0.1:80\n\t}\n}\n",
     "go round in a circle"),
    ("example.com {\n\troute {\n\t\tfile_server\n\t\treverse_proxy /api/* localhost:8001\n\t}\n}\n",
     'this "reverse_proxy" is never reached'),
    (SITE % "log /var/log/x.log", "log { output file /var/log/x.log }"),
    (SITE % "header X-A ${NAME}", "{$NAME}"),
    (SITE % "header X-Empty", "to take a field away write -X-Empty"),
    ("a.test {\n\troot /srv\n\ttry_files {path} /index.html\n}\n", "file_server serves the files"),
]

# Not what looks alike.
FINE = [
    PROXY % "header_up X-Price $5",
    SITE % 'header X-Shell "$HOME $hostname"',
    SITE % "redir / /app/",
    GLOBAL % "ocsp_stapling off",
    "http://example.com {\n\tredir https://{host}{uri}\n}\n",
    "http://example.com {\n\tredir /old ../new.html\n}\n",
    SITE % "header Strict-Transport-Security max-age=31536000;",
    SITE % "route {\n\t\tfile_server /x/*\n\t\treverse_proxy /api/* localhost:8001\n\t}",
    "a.test {\n\troot /srv\n\troute {\n\t\tfile_server\n\t}\n}\n",
    SITE % "log access\n\theader X-A {$HOME}",
    "localhost:8001, [::1] {\n\treverse_proxy localhost:8000 [::1]:8002\n}\n",
]


def validate(tmp_path, text):
    file = tmp_path / "Caddyfile"
    file.write_text(text)
    return command("validate", "-c", str(file))


def test_a_mistake_teaches(tmp_path):
    for text, words in MISTAKES:
        done = validate(tmp_path, text)
        assert done.returncode == 1 and words in done.stderr, f"{text}\n{done.stderr}"


def test_https_to_an_origin_that_speaks_http(caddis, scripted):
    def refuse(raw):
        raw.fill()
        raw.send(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")

    c = caddis(f"http://localhost {{\n\treverse_proxy https://{scripted(refuse).address}\n}}")
    answer = c.get()
    assert answer.status == 502 and b"speaks no TLS" in answer.body, answer.body


def test_a_warning_teaches(tmp_path):
    for text, words in WARNINGS:
        done = validate(tmp_path, text)
        assert done.returncode == 0 and words in done.stderr, f"{text}\n{done.stderr}"
        assert done.stderr.count(": warning:") == 1, done.stderr
    for text in FINE:
        done = validate(tmp_path, text)
        assert (done.returncode, done.stderr.count(": warning:")) == (0, 0), f"{text}\n{done.stderr}"
