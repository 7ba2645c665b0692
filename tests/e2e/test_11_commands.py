"""The commands beside run: fmt, adapt, explain, validate, completion and the servers in one line."""

import json
import os
import pathlib
import subprocess
import tempfile
import time
import urllib.request

from lib.caddis import BIN, command
from lib.ports import free_port

ONE_LINE = "example.com < reverse_proxy localhost:8000 ; header A b >   # mine\n"
LAID_OUT = "example.com {\n\treverse_proxy localhost:8000\n\theader A b\n} # mine\n"


# ---- fmt


def test_fmt_prints_and_says_that_the_file_was_not_like_that(tmp_path):
    (tmp_path / "Caddyfile").write_text(ONE_LINE)
    done = command("fmt", cwd=tmp_path)
    assert (done.stdout, done.returncode) == (LAID_OUT, 1)
    assert "--overwrite" in done.stderr
    assert (tmp_path / "Caddyfile").read_text() == ONE_LINE
    (tmp_path / "other").write_text(LAID_OUT)
    done = command("fmt", tmp_path / "other")
    assert (done.stdout, done.stderr, done.returncode) == (LAID_OUT, "", 0)


def test_fmt_overwrites_in_place_and_keeps_rights_and_links(tmp_path):
    real = tmp_path / "real"
    real.write_text(ONE_LINE)
    real.chmod(0o640)
    (tmp_path / "Caddyfile").symlink_to(real)
    for _ in range(2):
        done = command("fmt", "-w", cwd=tmp_path)
        assert (done.stdout, done.stderr, done.returncode) == ("", "", 0)
    assert real.read_text() == LAID_OUT
    assert real.stat().st_mode & 0o777 == 0o640
    assert (tmp_path / "Caddyfile").is_symlink()
    assert {p.name for p in tmp_path.iterdir()} == {"real", "Caddyfile"}


def test_fmt_diff_and_standard_input(tmp_path):
    (tmp_path / "f").write_text("a {\n\tb\n  c\n}\n")
    done = command("fmt", "--diff", tmp_path / "f")
    assert done.stdout == "  a {\n  \tb\n-   c\n+ \tc\n  }\n"
    assert done.returncode == 1
    (tmp_path / "g").write_text("a { b }")
    with open(tmp_path / "g") as f:
        done = command("fmt", "-", stdin=f)
    assert (done.stdout, done.returncode) == ("a {\n\tb\n}\n", 0)


def test_fmt_leaves_a_broken_file_alone(tmp_path):
    (tmp_path / "f").write_text('a {\n\trespond "x\n}\n')
    done = command("fmt", "-w", tmp_path / "f")
    assert done.returncode == 1 and done.stdout == ""
    assert "f:2:10: error: the quote that opens here is never closed" in done.stderr
    assert (tmp_path / "f").read_text() == 'a {\n\trespond "x\n}\n'


# ---- adapt, explain

SITES = """
{
    http_port 8001
    https_port 8002
    local_certs
}
(common) {
    header X-C {args[0]}
}
example.com, www.example.com {
    @post {
        method POST
        path /api/*
    }
    reverse_proxy localhost:8000
    import common one
    handle /api/* {
        respond "got"
    }
    handle @post {
        rewrite /x{uri}
        @q query a=b
        respond @q "q"
        error 403
    }
    try_files /nothing {path} =404
    handle_errors 404 {
        respond gone
    }
}
http://plain.example < respond hello >
"""


def test_adapt_tells_routes_in_running_order(tmp_path):
    (tmp_path / "Caddyfile").write_text(SITES)
    done = command("adapt", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("\n") == 1
    tree = json.loads(done.stdout)
    assert tree["options"]["http_port"] == 8001
    assert {"name": "http_port", "arguments": ["8001"], "at": "Caddyfile:3:5"} in tree[
        "options_written"
    ]
    site, plain = tree["sites"]
    assert site["addresses"] == ["example.com", "www.example.com"]
    assert [r["directive"] for r in site["routes"]] == [
        "header", "try_files", "handle", "handle", "reverse_proxy",
    ]
    header, _, api, post, _ = site["routes"]
    assert header["arguments"] == ["X-C", "one"] and header["at"] == "Caddyfile:8:5"
    assert api["match"] == "/api/*" and api["routes"][0]["arguments"] == ["got"]
    assert post["match"] == "@post" and post["first_match_only"]
    assert [r["directive"] for r in post["routes"]] == ["rewrite", "error", "respond"]
    assert site["matchers"][0]["conditions"][0]["arguments"] == ["POST"]
    assert site["error_routes"][0]["statuses"] == ["404"]
    assert plain["routes"][0]["arguments"] == ["hello"]
    assert {c["name"]: c["issuers"] for c in tree["certificates"]} == {
        "example.com": ["local"], "www.example.com": ["local"],
    }
    ports = {(x["address"].rsplit(":", 1)[1], x["tls"]) for x in tree["listeners"]}
    assert ports == {("8001", False), ("8002", True)}
    pretty = command("adapt", "--pretty", "--config", tmp_path / "Caddyfile", cwd=tmp_path)
    assert pretty.stdout.count("\n") > 50
    (tmp_path / "Caddyfile").write_text("a { bogus }")
    done = command("adapt", cwd=tmp_path)
    assert done.returncode == 1 and done.stdout == "" and "Caddyfile:1:5: error" in done.stderr


def explain(folder, *words):
    done = command("explain", *words, cwd=folder)
    assert done.returncode == 0, done.stderr
    return [" ".join(line.split()) for line in done.stdout.splitlines()]


def test_explain_a_request(tmp_path):
    (tmp_path / "Caddyfile").write_text(SITES)
    (tmp_path / "there").write_text("x")
    lines = explain(tmp_path)
    assert lines.index("header X-C one Caddyfile:8:5") < lines.index(
        "reverse_proxy localhost:8000 Caddyfile:15:5"
    )
    lines = explain(tmp_path, "https://example.com/there")
    assert lines[0] == "GET https://example.com/there from 203.0.113.1"
    assert lines[1] == "Site example.com (Caddyfile:10:1): the host is its own"
    at = lines.index("no handle @post Caddyfile:20:5")
    assert lines[at + 1] == "@post is not met: method"
    assert lines[-1] == "answered by reverse_proxy"
    # files are really looked for
    lines = explain(tmp_path, "https://example.com/elsewhere")
    assert lines[-2] == "error 404, which a file matcher asks for"
    assert lines[-1] == "then handle_errors 404 Caddyfile:27:5"
    assert "redirected to HTTPS (308, port 8002)" in explain(
        tmp_path, "http://www.example.com/"
    )[1].lower().replace("https", "HTTPS")
    assert explain(tmp_path, "http://plain.example")[-1] == "answered by respond"
    assert "unrecognized_name" in explain(tmp_path, "https://other.example")[1]
    assert explain(tmp_path, "http://plain.example:99")[1] == "Nothing listens on port 99."


def test_explain_runs_what_changes_the_request(tmp_path):
    (tmp_path / "Caddyfile").write_text(
        "http://a.example {\n"
        "\t@moved path /x/api\n"
        "\t@from remote_ip 10.0.0.0/8\n"
        "\t@field header X-A b\n"
        "\thandle @from {\n\t\tabort\n\t}\n"
        "\thandle_path /v1/* {\n\t\trewrite /x{uri}\n\t\trespond @moved moved\n\t}\n"
        "\thandle @field {\n\t\tredir * /b\n\t}\n}\n"
    )
    lines = explain(tmp_path, "http://a.example/v1/api")
    assert "the request is now GET /api" in lines and "the request is now GET /x/api" in lines
    assert lines[-1] == "answered by respond"
    assert "not asked: of these only the first that matches runs" in explain(
        tmp_path, "http://a.example/v1/other"
    )
    assert explain(tmp_path, "http://a.example/")[-1] == "nothing answers: an empty 200"
    assert explain(tmp_path, "--client", "10.1.2.3", "http://a.example/")[-1] == "answered by abort"
    assert explain(tmp_path, "-H", "X-A: b", "http://a.example/")[-1] == "answered by redir"
    for words in (["ftp://a/"], ["http://a b/"], ["-H", "x", "http://a.example"], ["--client", "x", "a"]):
        assert command("explain", *words, cwd=tmp_path).returncode == 1


# ---- servers without a Caddyfile


def serving(*words, url, **options):
    """Runs a command that serves, until url answers: status, fields, text."""
    with tempfile.TemporaryDirectory(prefix="cd", dir="/tmp") as folder:
        log = open(pathlib.Path(folder) / "log", "wb")
        env = dict(os.environ, HOME=folder, XDG_RUNTIME_DIR=folder, XDG_DATA_HOME=folder)
        process = subprocess.Popen(
            [str(BIN), *map(str, words)], env=env, stdin=subprocess.DEVNULL, stdout=log,
            stderr=log, **options,
        )
        try:
            deadline = time.monotonic() + 60
            while True:
                assert process.poll() is None, (pathlib.Path(folder) / "log").read_text()
                try:
                    with urllib.request.urlopen(url, timeout=20) as answer:
                        return answer.status, dict(answer.headers), answer.read().decode()
                except OSError:
                    assert time.monotonic() < deadline
                    time.sleep(0.05)
        finally:
            process.terminate()
            assert process.wait(60) == 0
            log.close()


def test_respond_answers_with_what_it_is_given():
    port = free_port()
    body = "/a`b\"c\\ {x} ; }"
    status, fields, text = serving(
        "respond", "--listen", f":{port}", "--status", "201", "-H", "X-A: b c", body,
        url=f"http://127.0.0.1:{port}/",
    )
    assert (status, fields["X-A"], text) == (201, "b c", body)
    port = free_port()
    assert serving("respond", "-l", f":{port}", "204", url=f"http://127.0.0.1:{port}/")[0] == 204


def test_file_server_serves_the_working_folder(tmp_path):
    (tmp_path / "a b.txt").write_text("there")
    port = free_port()
    listen = ("--listen", f"127.0.0.1:{port}")
    got = serving("file-server", *listen, url=f"http://127.0.0.1:{port}/a%20b.txt", cwd=tmp_path)
    assert got[2] == "there"
    got = serving(
        "file-server", "--browse", "--root", tmp_path, *listen, url=f"http://127.0.0.1:{port}/"
    )
    assert "a b.txt" in got[2]


def test_reverse_proxy_passes_on(caddis):
    port = free_port()
    assert command("reverse-proxy").returncode == 1
    origin = caddis("http://localhost:{http} { respond \"{header.X-Up} {host}\" }\n")
    status, fields, text = serving(
        "reverse-proxy", "--from", f"http://:{port}", "--to", f"localhost:{origin.http}",
        "--change-host-header", "--header-up", "X-Up: yes", "--header-down", "X-Down: down",
        url=f"http://127.0.0.1:{port}/",
    )
    assert (status, fields["X-Down"], text) == (200, "down", "yes localhost")


# ---- run --watch


def test_watch_reloads_when_a_file_changes(caddis):
    c = caddis(
        "import parts/*.caddy\nhttp://b.localhost:{http} { respond old }\n", args=["--watch"],
        start=False,
    )
    parts = c.file.parent / "parts"
    parts.mkdir()
    part = parts / "a.caddy"
    part.write_text("http://a.localhost:%d { respond one }\n" % c.http)
    c.start()

    def until(host, want):
        deadline = time.monotonic() + 60
        while c.get("/", host=host).body.decode() != want:
            assert time.monotonic() < deadline, c.log()
            time.sleep(0.05)

    until("a.localhost", "one")
    new = parts / ".new"  # as editors do it
    new.write_text("http://a.localhost:%d { respond two }\n" % c.http)
    new.rename(part)
    until("a.localhost", "two")
    c.file.write_text(c.file.read_text().replace("respond old", "respond new"))
    until("b.localhost", "new")
    part.write_text("broken {\n")
    deadline = time.monotonic() + 60
    while "never closed" not in c.log():
        assert time.monotonic() < deadline, c.log()
        time.sleep(0.05)
    until("a.localhost", "two")
    (parts / "b.caddy").write_text("http://c.localhost:%d { respond three }\n" % c.http)
    part.write_text("http://a.localhost:%d { respond four }\n" % c.http)
    until("a.localhost", "four")
    until("c.localhost", "three")


def test_online_looks_at_origins(tmp_path, origin):
    """Each name once, with the place of the first line that has it."""
    o = origin()
    file = tmp_path / "Caddyfile"
    file.write_text(f"http://localhost:{free_port()} {{\n\treverse_proxy /a nothing.invalid:80\n"
                    f"\treverse_proxy /b {{\n\t\tto nothing.invalid:80 127.0.0.1:{free_port()}\n\t}}\n"
                    f"\treverse_proxy {o.address}\n}}\n")
    done = command("validate", "--online", "-c", file)
    said = [line for line in done.stdout.splitlines() if "origin" in line]
    assert said[0].startswith(f"problem {file}:2:19: the origin \"nothing.invalid\" has no address")
    assert said[1].startswith(f"advice {file}:4:25: nobody answers at the origin \"127.0.0.1\"")
    assert said[2:] == ["problem origins: 3 looked at"] and done.returncode == 1


def test_options_as_caddy_has_them(tmp_path):
    """Letters in one word; what is Caddy's and not here says why."""
    file = tmp_path / "Caddyfile"
    file.write_text("a.test {\nrespond x\n}\n")
    done = command("fmt", "-dw", file)
    assert "+ \trespond x" in done.stdout or "+\trespond x" in done.stdout, done.stdout
    assert command("adapt", "-pc", file).returncode == 0
    assert command("adapt", f"-pc{file}").returncode == 0
    for words in (("run", "--resume"), ("run", "--pingback", "x"), ("file-server", "-t"),
                  ("file-server", "export-template"), ("trust", "--address", "x"),
                  ("untrust", "--cert", "x"), ("list-modules", "--json")):
        done = command(*words)
        assert done.returncode == 1 and "is Caddy's and not in caddis: " in done.stderr, words
    assert "the only local CA is local" in command("trust", "--ca", "other").stderr
    env = tmp_path / "env"
    env.write_text("FROM_FILE=yes\n")
    assert "\nFROM_FILE=yes\n" in command("environ", "--envfile", env).stdout


# ---- completion, manual page and the like


def test_completion_knows_commands_and_options(tmp_path):
    (tmp_path / "c").write_text(command("completion", "bash").stdout)
    script = (
        f"source {tmp_path}/c; COMP_CWORD=1 COMP_WORDS=(caddis valid); _caddis; "
        "echo ${COMPREPLY[@]}; COMP_CWORD=2 COMP_WORDS=(caddis fmt --o); _caddis; "
        "echo ${COMPREPLY[@]}"
    )
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("validate\n--overwrite\n", "")
    assert "-l overwrite -s w -d" in command("completion", "fish").stdout
    assert "#compdef caddis" in command("completion", "zsh").stdout
    powershell = command("completion", "powershell").stdout
    assert "-CommandName caddis" in powershell and "'fmt' = @('--overwrite', " in powershell
    assert command("completion", "tcsh").returncode == 1


def test_manual_page(tmp_path):
    assert command("manpage", "--directory", tmp_path).returncode == 0
    page = (tmp_path / "caddis.8").read_text()
    assert page.startswith(".TH CADDIS 8") and ".SS caddis fmt\n" in page
    assert "\\-\\-overwrite" in page
    assert command("manpage", "-o", tmp_path / "nowhere").returncode == 1


def test_what_is_not_there_says_why():
    done = command("upgrade")
    assert done.returncode == 1 and "in caddis:" in done.stderr
    assert "reverse_proxy\n" in command("list-modules").stdout
    assert "caddis" in command("build-info").stdout
