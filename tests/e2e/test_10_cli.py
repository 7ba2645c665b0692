"""The command line: what a person types first, and what it says when the file is wrong."""

import re
import signal
import socket

import pytest
from lib.caddis import command
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
