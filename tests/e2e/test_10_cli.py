"""The command line: what a person types first, and what it says when the file is wrong."""

import re
import signal
import socket

import pytest
from lib.caddis import ROOT, command
from lib.ports import free_port

GOOD = "localhost { reverse_proxy localhost:8000 }\n"


def test_version():
    done = command("version")
    assert done.returncode == 0
    assert re.search(r"\d+\.\d+", done.stdout)


@pytest.mark.parametrize("flag", ["help", "--help", "-h"])
def test_help_lists_the_commands(flag):
    done = command(flag)
    assert done.returncode == 0
    for word in ("run", "start", "stop", "reload", "validate", "version", "trust", "untrust",
                 "environ"):
        assert re.search(rf"\b{word}\b", done.stdout), word


@pytest.mark.parametrize("args", [["frobnicate"], ["run", "--no-such-flag"], ["validate", "-Z"]])
def test_unknown_words_are_errors(args):
    done = command(*args)
    assert done.returncode == 1
    assert args[-1] in done.stderr


def test_unknown_command_gets_a_suggestion():
    done = command("relaod")
    assert done.returncode == 1
    assert "reload" in done.stderr


def test_environ_prints_the_environment():
    done = command("environ", env={"CADDIS_TEST_WORD": "xyzzy"})
    assert done.returncode == 0
    assert "CADDIS_TEST_WORD=xyzzy" in done.stdout


def test_validate_good(tmp_path):
    (tmp_path / "f").write_text(GOOD)
    done = command("validate", "--config", tmp_path / "f", "--adapter", "caddyfile")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("text, told", [
    ("http://a.test {\n\trespond hello\n}\n", False),
    ("http://a.test {\n\trespond hello\n}", False),
    ("http://a.test { respond hello }\n", False),
    ("http://a.test {\n  respond hello\n}\n", True),
])
def test_validate_mentions_the_layout(tmp_path, text, told):
    (tmp_path / "Caddyfile").write_text(text)
    done = command("validate", cwd=tmp_path)
    assert done.returncode == 0
    assert done.stderr == ("note: Caddyfile is not laid out as usual: caddis fmt --overwrite"
                           " Caddyfile\n" if told else "")


def test_validate_takes_the_caddyfile_of_the_working_folder(tmp_path):
    (tmp_path / "Caddyfile").write_text(GOOD)
    assert command("validate", cwd=tmp_path).returncode == 0
    (tmp_path / "Caddyfile").write_text("localhost { bogus }\n")
    assert command("validate", cwd=tmp_path).returncode == 1


def test_no_file_at_all(tmp_path):
    done = command("validate", "--config", tmp_path / "missing")
    assert done.returncode == 1
    assert "missing" in done.stderr


def test_validate_bad_names_the_place_and_suggests(tmp_path):
    (tmp_path / "Caddyfile").write_text("localhost {\n\treverse_prxy localhost:8000\n}\n")
    done = command("validate", "-c", "Caddyfile", cwd=tmp_path)
    assert done.returncode == 1
    assert "Caddyfile:2:2" in done.stderr
    assert "reverse_prxy localhost:8000" in done.stderr  # the line itself
    assert re.search(r"^\s*[|\d ]*\s*\^", done.stderr, re.M)  # and the caret
    assert re.search(r'did you mean.*"?reverse_proxy', done.stderr)


def test_all_errors_at_once(tmp_path):
    (tmp_path / "Caddyfile").write_text(
        "{\n\temial a@b.c\n}\n"
        "a.example {\n\trespnd hello\n}\n"
        "b.example {\n\treverse_proxy localhost:8000 {\n\t\tlb_polcy first\n\t}\n}\n"
    )
    done = command("validate", cwd=tmp_path)
    assert done.returncode == 1
    for place, word in (("2:2", "email"), ("5:2", "respond"), ("9:3", "lb_policy")):
        assert f"Caddyfile:{place}" in done.stderr, done.stderr
        assert word in done.stderr


def test_error_in_an_imported_file_names_that_file(tmp_path):
    (tmp_path / "Caddyfile").write_text("import sites/*.caddy\n")
    (tmp_path / "sites").mkdir()
    (tmp_path / "sites/one.caddy").write_text("one.example {\n\tnonsense\n}\n")
    done = command("validate", cwd=tmp_path)
    assert done.returncode == 1
    assert re.search(r"one\.caddy:2:2", done.stderr)


@pytest.mark.parametrize("text", [
    "localhost {\n\treverse_proxy localhost:8000\n",  # no closing brace
    "localhost {\n\treverse_proxy localhost:99999\n}\n",
    'localhost {\n\trespond "open\n}\n',
    "http://localhost:443 {\n\trespond x\n}\n",
    "localhost {\n\trespond a\n}\nlocalhost {\n\trespond b\n}\n",
    "localhost {\n\treverse_proxy ws://localhost:1\n}\n",
    "localhost {\n\ttls /no/such.crt /no/such.key\n}\n",
    "{\n\thttp_port zero\n}\nlocalhost {\n\trespond x\n}\n",
    "{\n\tacme_ca_root /no/such.pem\n}\nlocalhost {\n\trespond x\n}\n",
    "import nothing-here.caddy\n",
    "localhost <\n\trespond x\n}\n",
])
def test_what_is_wrong_is_refused_with_a_place(tmp_path, text):
    (tmp_path / "Caddyfile").write_text(text)
    done = command("validate", cwd=tmp_path)
    assert done.returncode == 1, done.stdout + done.stderr
    assert re.search(r"Caddyfile:\d+:\d+", done.stderr), done.stderr


def test_run_refuses_a_bad_file(tmp_path):
    (tmp_path / "Caddyfile").write_text("localhost {\n\tbogus\n}\n")
    done = command("run", cwd=tmp_path)
    assert done.returncode == 1
    assert "Caddyfile:2:2" in done.stderr


def test_port_in_use_names_the_address_and_the_process(tmp_path):
    with socket.socket() as taken:
        taken.bind(("0.0.0.0", 0))
        taken.listen()
        port = taken.getsockname()[1]
        (tmp_path / "Caddyfile").write_text(
            f"{{\n\tadmin off\n\tstorage file_system {tmp_path}/s\n}}\n:{port} {{\n\trespond x\n}}\n"
        )
        done = command("run", cwd=tmp_path)
    assert done.returncode == 1
    assert str(port) in done.stderr
    assert "python3" in done.stderr or "pytest" in done.stderr, done.stderr


def test_a_second_caddis_on_the_same_port_refuses(caddis):
    first = caddis("http://localhost {\n\trespond first\n}")
    second = caddis("http://localhost {\n\trespond second\n}", http=first.http, start=False)
    second.start(wait=False)
    assert second.wait() == 1
    assert str(first.http) in second.log()
    assert first.get().body == b"first"


def test_run_serves_and_ends_on_sigterm(caddis):
    c = caddis("http://localhost {\n\trespond hello\n}")
    assert c.get().body == b"hello"
    c.stop()


def test_the_one_line_is_a_whole_file(caddis):
    """One after the other: without options they share the control socket's default place."""
    for text in ("http://localhost:{http} { respond hello }",
                 "http://localhost:{http} < respond hello >",
                 "http://localhost:{http}\nrespond hello"):
        c = caddis(text, raw_file=True)
        assert c.get().body == b"hello"
        c.stop()


def test_run_ends_on_sigint(caddis):
    c = caddis("http://localhost {\n\trespond hello\n}")
    c.signal(signal.SIGINT)
    assert c.wait() == 0


def test_start_and_stop(folder, eventually):
    port = free_port()
    (folder / "Caddyfile").write_text(
        f"{{\n\tadmin unix/{folder}/admin.sock\n\tstorage file_system {folder}/store\n}}\n"
        f"http://localhost:{port} {{\n\trespond started\n}}\n"
    )
    done = command("start", "--config", folder / "Caddyfile", folder=folder)
    assert done.returncode == 0, done.stderr
    try:
        with socket.create_connection(("127.0.0.1", port), 5) as s:
            s.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            answer = b""
            while data := s.recv(4096):
                answer += data
        assert answer.endswith(b"started")
    finally:
        done = command("stop", "--config", folder / "Caddyfile", folder=folder)
    assert done.returncode == 0, done.stderr

    def refused():
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            return True

    eventually(refused, 10)


def test_control_socket_is_ours_alone(caddis):
    c = caddis("http://localhost {\n\trespond hello\n}", umask=0)
    assert c.admin.is_socket()
    assert c.admin.stat().st_mode & 0o777 == 0o600


def test_pidfile(caddis, folder):
    c = caddis("http://localhost {\n\trespond hello\n}", args=["--pidfile", str(folder / "pid")])
    assert (folder / "pid").read_text().strip() == str(c.pid)


def test_envfile_and_environment_in_the_file(caddis, folder):
    (folder / "env").write_text('# comment\nexport CADDIS_WORD="from the file"\n')
    c = caddis('http://localhost {\n\trespond "{$CADDIS_WORD} {$CADDIS_OTHER:by default}"\n}',
               args=["--envfile", str(folder / "env")])
    assert c.get().body == b"from the file by default"


# Each mistake: the file, then for every diagnostic its place and what it must say.
MISTAKES = {
    "space before the brace": ("a.test{\n\trespond x\n}\n", ["1:1: error: a space is missing"]),
    "space behind the brace": ("a.test {respond x }\n", ['1:8: error: a space is missing behind']),
    "space before the closer": ("a.test { respond x}\n", ["1:18: error: a space is missing"]),
    "semicolon in a word": ("a.test { reverse_proxy localhost:1; }\n",
                            ["1:24: warning", "1:24: error", "space in front of"]),
    "nginx": ("server {\n\tlisten 80;\n\tlocation / {\n\t\tproxy_pass http://x;\n\t}\n}\n",
              ["2:2: error", "site's address", "3:2: error", "handle"]),
    "proxy": ("a.test {\n\tproxy localhost:1\n}\n", ["2:2: error", "reverse_proxy"]),
    "not yet": ("a.test {\n\tfs x\n}\n", ["2:2: error", "not yet in caddis"]),
    "no braces, one line": ("a.test reverse_proxy localhost:1\n", ["1:8: error", '"{"']),
    "directive first": ("reverse_proxy localhost:1\n", ["1:1: error", "put it into a site"]),
    "other closer": ("a.test {\n\trespond x\n>\n", ["3:1: error", 'closed with "}"']),
    "other closer, one line": ("a.test { respond x >\n", ["1:8: error", 'not with ">"']),
    "closer of the other kind": ("a.test < respond x }\n", ["1:20: error", '">"']),
    "angles in braces": ("a.test {\n\thandle /x < respond x >\n}\n",
                         ["2:12: error", 'are opened with "{"']),
    "scheme and port": ("http://a.test:443 {\n\trespond x\n}\n",
                        ["1:1: error", "contradict", "https://a.test"]),
    "websocket site": ("wss://a.test {\n\trespond x\n}\n",
                       ["1:1: error", "WebSockets need nothing"]),
    "star inside": ("a.*.test {\n\trespond x\n}\n", ["1:1: error", "first label"]),
    "port range": ("a.test:70000 {\n\trespond x\n}\n", ["1:1: error", "1 to 65535"]),
    "both on a port": (":81 {\n\trespond x\n}\nhttps://a.test:81 {\n\trespond x\n}\n",
                       ["4:1: error", "both HTTP and HTTPS"]),
    "same twice": ("a.test {\n\trespond x\n}\nA.test. {\n\trespond x\n}\n",
                   ["4:1: error", '"a.test"']),
    "no origin": ("a.test { reverse_proxy }\n", ["1:10: error", "reverse_proxy localhost:8000"]),
    "only a port": ("a.test { reverse_proxy 8000 }\n", ["1:24: error", "localhost:8000"]),
    "comma": ("a.test { reverse_proxy b:1, c:1 }\n", ["1:24: error", "separated by spaces"]),
    "origin with a path": ("a.test { reverse_proxy http://b:1/x }\n",
                           ["1:24: error", "write http://b:1"]),
    "origin over ws": ("a.test { reverse_proxy ws://b:1 }\n", ["1:24: error", "http://"]),
    "bare IPv6": ("a.test { reverse_proxy ::1:8000 }\n", ["1:24: error", "brackets"]),
    "unix socket": ("a.test { reverse_proxy unix:/run/x }\n", ["1:24: error", "unix//run/x"]),
    "matcher, no target": ("a.test {\n\tredir /x\n}\n", ["2:2: error", "redir * /x"]),
    "matcher, only a status": ("a.test {\n\tredir /x 301\n}\n", ["2:11: error", "is missing"]),
    "unnamed matcher": ("a.test {\n\t@api path /x\n\trespond @ap x\n}\n",
                        ["3:10: error", '"@api"']),
    "option": ("{\n\temial a@b.c\n}\na.test {\n\trespond x\n}\n", ["2:2: error", '"email"']),
    "no address": ("{\n\trespond x\n}\n", ["2:2: error", "address missing"]),
    "log": ("a.test {\n\tlog {\n\t\toutput flie /x\n\t}\n\trespond x\n}\n",
            ["3:10: error", '"file"']),
    "quote": ('a.test {\n\trespond "x\n}\n', ["2:10: error", "never closed"]),
    "mark": ("\ufeffa.test {\r\n\tbogus\r\n}\r\n", ["2:2: error"]),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes_are_explained(tmp_path, name):
    text, says = MISTAKES[name]
    (tmp_path / "Caddyfile").write_text(text, newline="")
    done = command("validate", cwd=tmp_path)
    assert done.returncode == 1, done.stdout + done.stderr
    for word in says:
        place = re.match(r"\d+:\d+: ", word)
        assert (f"Caddyfile:{word}" if place else word) in done.stderr, done.stderr
    # One diagnostic for each place that was named: nothing doubled, nothing that only follows.
    told = re.findall(r"^Caddyfile:(\d+:\d+: \w+)", done.stderr, re.M)
    named = [re.match(r"\d+:\d+: \w+", w).group(0) for w in says if re.match(r"\d+:\d+: ", w)]
    assert sorted(told) == sorted(named), done.stderr


@pytest.mark.parametrize("content", [b"\xff\xfea\x00.\x00b\x00", b"a\x00.\x00b\x00 \x00{\x00",
                                     b"\x7fELF\x02\x01\x01\x00\x00\xfe { }"])
def test_what_is_no_text_is_said_once(tmp_path, content):
    (tmp_path / "Caddyfile").write_bytes(content)
    done = command("validate", cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.count("error: ") == 1 and "UTF-8" in done.stderr, done.stderr


def test_a_folder_is_no_caddyfile(tmp_path):
    done = command("run", "--config", tmp_path)
    assert done.returncode == 1
    assert "Is a directory" in done.stderr


@pytest.mark.parametrize("text", ["", "# nothing\n\n  # here\n"])
def test_a_file_without_sites_is_warned_about(tmp_path, text):
    (tmp_path / "Caddyfile").write_text(text)
    done = command("validate", cwd=tmp_path)
    assert done.returncode == 0
    assert "no site" in done.stderr


def test_a_site_without_directives_is_warned_about(tmp_path):
    (tmp_path / "Caddyfile").write_text("localhost:8000\n")
    done = command("validate", cwd=tmp_path)
    assert done.returncode == 0
    assert "example.com { reverse_proxy localhost:8000 }" in done.stderr


def test_a_bad_snippet_is_one_mistake(tmp_path):
    (tmp_path / "Caddyfile").write_text(
        "(s) {\n\tbogus\n}\na.test {\n\timport s\n}\nb.test {\n\timport s\n}\n")
    done = command("validate", cwd=tmp_path)
    assert done.stderr.count("unknown directive") == 1, done.stderr
    assert done.stderr.endswith("\n1 error\n")


@pytest.mark.parametrize("word,says", [("vlaidate", "validate"), ("fmtt", "fmt")])
def test_commands_that_are_not_there(word, says):
    done = command(word)
    assert done.returncode == 1
    assert says in done.stderr


def test_a_file_in_a_commands_place(tmp_path):
    (tmp_path / "Caddyfile").write_text(GOOD)
    done = command("Caddyfile", cwd=tmp_path)
    assert done.returncode == 1
    assert "caddis run --config Caddyfile" in done.stderr


def test_help_of_a_command_names_its_values():
    done = command("run", "--help")
    assert done.returncode == 0
    assert "--config FILE" in done.stdout and "--workers N" in done.stdout


def test_validate_takes_an_envfile(tmp_path):
    (tmp_path / "Caddyfile").write_text("{$CADDIS_SITE} {\n\trespond x\n}\n")
    (tmp_path / "env").write_text("CADDIS_SITE=a.test\n")
    done = command("validate", "--envfile", "env", cwd=tmp_path)
    assert done.returncode == 0, done.stderr


def test_no_caddyfile_in_the_folder(tmp_path):
    done = command("run", cwd=tmp_path)
    assert done.returncode == 1
    assert "--config FILE" in done.stderr and "reverse_proxy localhost:8000" in done.stderr


def test_nothing_to_stop(tmp_path):
    done = command("stop", "--address", tmp_path / "none.sock")
    assert done.returncode == 1
    assert "no caddis is running" in done.stderr


def test_a_port_in_use_is_said_once_for_both_families(tmp_path, caddis):
    first = caddis("http://localhost {\n\trespond first\n}")
    second = caddis("http://localhost {\n\trespond second\n}", http=first.http, start=False)
    second.start(wait=False)
    assert second.wait() == 1
    assert second.log().count("error: cannot listen") == 1, second.log()
    assert "caddis reload" in second.log()


def test_the_reference_names_every_directive_and_option():
    missing = []
    for file, page in (("proxy/handler/directives.c", "proxy/handler/DIRECTIVES.md"),
                       ("proxy/server/options.c", "proxy/server/OPTIONS.md")):
        reference = (ROOT / page).read_text()
        for name, rest in re.findall(r'^    \{S_INIT\("(\w+)"\), (?!NULL)(\w+)',
                                     (ROOT / file).read_text(), re.M):
            if rest != "S_INIT" and not re.search(rf"\b{name}\b", reference):
                missing.append(name)
    assert not missing
