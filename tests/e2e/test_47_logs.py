"""Access logs: where they go, what is in them, which requests they have."""

import datetime
import gzip
import json
import re
import socket
import threading
import time

import pytest
from lib.caddis import command


def lines(path, count, seconds=30):
    """The file's JSON lines, once there are so many."""
    deadline = time.monotonic() + seconds
    while True:
        text = path.read_text() if path.exists() else ""
        if text.count("\n") >= count:
            return [json.loads(line) for line in text.splitlines()]
        assert time.monotonic() < deadline, text
        time.sleep(0.05)


def site(folder, block, rest="respond hello"):
    return (f"http://localhost {{\n\tlog {{\n\t\toutput file {folder}/a.log\n\t\tformat json\n"
            f"{block}\n\t}}\n\t{rest}\n}}")


def test_filters(caddis, folder):
    c = caddis(f"""http://localhost {{
    log {{
        output file {folder}/a.log
        format filter {{
            wrap json {{
                time_format rfc3339
                level_format upper
                message_key message
                name_key ""
            }}
            fields {{
                request>headers>X-Secret delete
                request>headers>X-Old rename X-New
                request>host replace somewhere
                request>remote_ip ip_mask 16 32
                request>headers>X-Forwarded-For ip_mask {{
                    ipv4 8
                    ipv6 32
                }}
                request>uri query {{
                    delete token
                    replace user REDACTED
                    hash mail
                }}
                request>headers>X-Cookie cookie {{
                    delete a
                    hash b
                    replace c d
                }}
                request>headers>User-Agent regexp "[0-9]+" N
                status hash
                duration delete
            }}
        }}
    }}
    respond hello
}}""")
    c.get("/x?token=1&user=ann&mail=m&keep=%20", fields=[
        ("X-Secret", "s"), ("X-Old", "o"), ("X-Cookie", "a=1; b=2; c=3; e=4"),
        ("X-Forwarded-For", "1.2.3.4, 2001:db8:1::1, junk"), ("User-Agent", "a1b22")])
    line = lines(folder / "a.log", 1)[0]
    request = line["request"]
    headers = request["headers"]
    assert "X-Secret" not in headers and headers["X-New"] == ["o"] and "X-Old" not in headers
    assert request["host"] == "somewhere" and request["remote_ip"] == "127.0.0.0"
    assert headers["X-Forwarded-For"] == ["1.0.0.0, 2001:db8::, junk"]
    assert request["uri"] == "/x?user=REDACTED&mail=62c66a7a&keep=%20"
    assert headers["X-Cookie"] == ["b=d4735e3a; c=d; e=4"]
    assert headers["User-Agent"] == ["aNbN"]
    assert line["status"] == "27badc98" and "duration" not in line
    assert line["level"] == "INFO" and line["message"] == "handled request"
    assert "logger" not in line and re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:.]{12}Z", line["ts"])


def test_append_common_and_console(caddis, folder):
    c = caddis(f"""http://localhost {{
    log one {{
        output file {folder}/a.log
        format append {{
            wrap json
            where "{{host}} {{http.response.header.X-R}}"
        }}
    }}
    log two {{
        output file {folder}/b.log
        format common
    }}
    log three {{
        output file {folder}/c.log
        format combined
    }}
    log four {{
        output file {folder}/d.log
        format filter {{
            wrap console
            request delete
        }}
    }}
    header X-R r
    log_append size_is "{{http.response.header.X-R}}"
    log_append <early "{{path}}"
    rewrite /old /new
    request_header X-Added {{path}}
    basic_auth /user {{ ann {command("hash-password", "-p", "x", "--bcrypt-cost",
                                     "4").stdout.strip()} }}
    respond hello
}}""")
    c.get("/old?q", fields=[("Referer", 'http://r/"'), ("User-Agent", "curl")])
    c.get("/user", fields=[("Authorization", "Basic YW5uOng=")])
    one = lines(folder / "a.log", 2)
    assert one[0]["where"] == "localhost r" and one[0]["size_is"] == "r"
    assert one[0]["early"] == "/old" and one[0]["logger"] == "http.log.access.one"
    assert one[0]["request"]["uri"] == "/old?q" and one[1]["user_id"] == "ann"
    texts = {}
    for name in "bcd":
        deadline = time.monotonic() + 30
        while (folder / f"{name}.log").read_text().count("\n") < 2:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        texts[name] = (folder / f"{name}.log").read_text().splitlines()
    date = r"\[\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4}\]"
    common = rf'127\.0\.0\.1 - - {date} "GET /old\?q HTTP/1\.1" 200 5'
    assert re.fullmatch(common, texts["b"][0]), texts["b"]
    assert " - ann [" in texts["b"][1]
    assert re.fullmatch(common + r' "http://r/\\x22" "curl"', texts["c"][0]), texts["c"]
    assert re.fullmatch(r"\d{4}/\d\d/\d\d [\d:.]{12}\tinfo\thttp\.log\.access\.four\thandled request"
                        r"\t\{.*\}", texts["d"][0]), texts["d"]
    assert '"request"' not in texts["d"][0] and '"status":200' in texts["d"][0]


def test_which_requests(caddis, folder):
    c = caddis(f"""http://localhost, http://a.test, http://b.test {{
    log only_a {{
        hostnames a.test
        output file {folder}/a.log
        format json
    }}
    log rest {{
        hostnames localhost b.test
        output file {folder}/rest.log
        format json
    }}
    log special {{
        no_hostname
        output file {folder}/special.log
        format json
    }}
    log errors {{
        output file {folder}/errors.log
        format json
        level ERROR
    }}
    log some {{
        output file {folder}/some.log
        format json
        sampling {{
            interval 1h
            first 2
            thereafter 3
        }}
    }}
    log_skip /quiet*
    log_name /special special
    skip_log /silent
    error /broken 500
    respond hello
}}""")
    for host, target in (("a.test", "/1"), ("localhost", "/2"), ("b.test", "/quiet"),
                         ("a.test", "/special"), ("b.test", "/3"), ("b.test", "/silent"),
                         ("localhost", "/broken"), ("a.test", "/4")):
        c.get(target, host=host)

    def uris(name, count):
        return [line["request"]["uri"] for line in lines(folder / f"{name}.log", count)]

    assert uris("a", 2) == ["/1", "/4"]
    assert uris("rest", 3) == ["/2", "/3", "/broken"]
    assert uris("special", 1) == ["/special"]
    assert uris("errors", 1) == ["/broken"]
    assert uris("some", 3) == ["/1", "/2", "/4"]


def test_a_request_that_a_reload_overtakes(caddis, folder, scripted):
    go = threading.Event()

    def slow(raw):
        raw.read_request()
        raw.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab")
        assert go.wait(60)
        raw.send("cd")

    o = scripted(slow)
    text = site(folder, "\t\tformat append {\n\t\t\twrap json\n\t\t\twhose {vars.who}\n\t\t}",
                f"vars who mine\n\tlog_append also {{vars.who}}\n\trequest_header X-Set config\n"
                f"\treverse_proxy {o.address}")
    c = caddis(text)
    with c.connect() as connection:
        connection.request("GET", "/slow", read=False)
        connection.read_head()
        c.reload("http://localhost {\n\trespond other\n}")
        go.set()
        connection.expect(b"abcd")
    line = lines(folder / "a.log", 1)[0]
    assert (line["whose"], line["also"]) == ("mine", "mine")
    assert line["request"]["headers"]["X-Set"] == ["config"]


def test_rolling(caddis, folder):
    c = caddis(site(folder, "").replace(
        f"file {folder}/a.log", f"file {folder}/a.log {{\n\t\t\troll_size 8KiB\n"
        "\t\t\troll_keep 2\n\t\t\tmode 0644\n\t\t}"))
    assert (folder / "a.log").stat().st_mode & 0o777 == 0o644
    with c.connect() as connection:
        deadline = time.monotonic() + 60
        n = 0
        while True:
            for _ in range(20):
                assert connection.get(f"/{n:06}").status == 200
                n += 1
            rolled = sorted(folder.glob("a-*.log.gz"))
            if len(rolled) == 2 and n > 200:
                break
            assert time.monotonic() < deadline, list(folder.iterdir())
            time.sleep(0.05)
    for path in rolled:
        assert re.fullmatch(r"a-\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d\.\d{3}\.log\.gz", path.name)
        try:
            text = gzip.decompress(path.read_bytes()).decode()
        except FileNotFoundError:
            continue  # another one has taken its place
        assert text.endswith("\n") and all(json.loads(line) for line in text.splitlines())


@pytest.mark.parametrize("kind", ["tcp", "udp", "unix"])
def test_net(caddis, folder, kind):
    if kind == "unix":
        listener = socket.socket(socket.AF_UNIX)
        address = f"unix/{folder}/log.sock"
        listener.bind(f"{folder}/log.sock")
    else:
        listener = socket.socket(type=socket.SOCK_DGRAM if kind == "udp" else socket.SOCK_STREAM)
        listener.bind(("127.0.0.1", 0))
        address = f"{kind}/127.0.0.1:{listener.getsockname()[1]}"
    listener.settimeout(60)
    if kind != "udp":
        listener.listen()
    c = caddis(site(folder, "").replace(f"file {folder}/a.log", f"net {address}"))
    if kind == "udp":
        c.get("/one")
        assert json.loads(listener.recv(65536))["request"]["uri"] == "/one"
        return
    listener.accept()[0].close()  # the attempt at the start
    c.get("/one")
    connection = listener.accept()[0]
    connection.settimeout(60)
    reader = connection.makefile()
    assert json.loads(reader.readline())["request"]["uri"] == "/one"
    connection.shutdown(socket.SHUT_RDWR)
    connection.close()
    reader.close()
    # Whatever the kernel took for the dead connection may be lost; what comes later is not.
    listener.settimeout(0.3)
    deadline = time.monotonic() + 60
    while True:
        assert time.monotonic() < deadline
        c.get("/two")
        try:
            connection = listener.accept()[0]
            break
        except TimeoutError:
            pass
    connection.settimeout(60)
    assert json.loads(connection.makefile().readline())["request"]["uri"] == "/two"
    connection.close()
    listener.close()


def test_net_that_is_not_there(caddis, folder):
    from lib.ports import free_port

    port = free_port()
    c = caddis(site(folder, "").replace(
        f"file {folder}/a.log", f"net 127.0.0.1:{port} {{\n\t\t\tsoft_start\n\t\t}}"))
    assert c.get("/early").body == b"hello"
    listener = socket.create_server(("127.0.0.1", port))
    listener.settimeout(60)
    reader = listener.accept()[0].makefile()
    assert json.loads(reader.readline())["request"]["uri"] == "/early"
    reader.close()
    listener.close()


@pytest.mark.parametrize("block, words", [
    ("log { output net 127.0.0.1:1 }", "the log cannot be opened: connecting: Connection refused"),
    ("log { output fil /tmp/x }", 'did you mean "file"?'),
    ("log { output file /tmp/cdx.log { roll_siz 1 } }", 'did you mean "roll_size"?'),
    ("log { output file /tmp/cdx.log { mode 0444 } }", "no mode such as 0640"),
    ("log { format xml }", "unknown format"),
    ("log { format filter { request>uri frobnicate } }", "unknown log filter"),
    ("log { format filter { request>uri query } }", "needs a block"),
    ("log { format json { time_format sundial } }", "unknown format"),
    ("log { level LOUD }", "DEBUG, INFO, WARN or ERROR"),
    ("log { sampling { often } }", 'no option "often"'),
    ("log_name nobody", "there is no log of the name"),
    ("log_append x", "needs 2 arguments"),
])
def test_mistakes(tmp_path, block, words):
    file = tmp_path / "Caddyfile"
    file.write_text(f"http://localhost {{\n{block}\n}}\n")
    done = command("validate", "-c", str(file))
    assert done.returncode == 1 and words in done.stderr and ":2:" in done.stderr, done.stderr


# ---- the program's own log ----


def test_own_log(caddis, folder, eventually):
    own = folder / "own.log"
    log = f"log {{\n\t\toutput file {own}\n\t\tformat json\n\t\tlevel INFO\n\t}}"
    c = caddis("http://localhost {\n\tlog\n\trespond hello\n}", globals=log)
    assert c.get().body == b"hello"
    # The site's log without a block goes where the program's own goes.
    eventually(lambda: {"serving", "handled request"} <=
               {line["msg"] for line in lines(own, 2)}, 30)
    assert '"serving"' not in c.log() and "handled request" not in c.log()
    c.file.write_text(c.file.read_text().replace("level INFO", "level ERROR"))
    assert c.command("reload", "--config", c.file).returncode == 0
    quiet = own.stat().st_size
    assert c.get().body == b"hello"
    c.file.write_text(c.file.read_text().replace("level ERROR", "level INFO")
                      .replace(f"output file {own}", "output stderr"))
    assert c.command("reload", "--config", c.file).returncode == 0
    # Back on stderr, and what was quiet is missing in the file.
    assert c.get().body == b"hello"
    c.wait_log("handled request", timeout=30)
    assert own.stat().st_size == quiet


def test_global_logs_by_name(caddis, folder, eventually):
    """include and exclude of the default log and of others; sites' logs are where loggers say."""
    files = {n: folder / n for n in ("default", "access", "one", "acme", "site")}

    def log(name, *options):
        return "log %s {\n\t\toutput file %s\n\t\tformat json\n\t\t%s\n\t}" % (
            name, files[name], "\n\t\t".join(options))

    c = caddis("http://bare.test {\n\tlog\n}\n"
               "http://one.test {\n\tlog one\n}\n"
               "http://site.test {\n\tlog {\n\t\toutput file %s\n\t}\n}" % files["site"],
               globals="\n\t".join([log("default", "exclude http.log.access.one"),
                                    log("access", "include http.log.access.*",
                                        "exclude http.log.access.log0"),
                                    log("one", "include http.log.access.one", "level ERROR"),
                                    log("acme", "include acme tls", "exclude tls.x")]))
    for host in ("bare.test", "one.test", "site.test"):
        c.get(f"/{host}", host=host)

    def hosts(name):
        if not files[name].exists():
            return set()
        all_lines = [json.loads(x) for x in files[name].read_text().splitlines()]
        return {(x["request"]["host"], x["logger"]) for x in all_lines if "request" in x}

    bare = ("bare.test", "http.log.access")
    one = ("one.test", "http.log.access.one")
    eventually(lambda: hosts("access") == {bare, one})
    eventually(lambda: hosts("site") == {("site.test", "http.log.access.log0")})
    eventually(lambda: hosts("default") == {bare})
    assert hosts("one") == set()  # nothing went wrong
    own = [json.loads(x)["logger"] for x in files["default"].read_text().splitlines()]
    assert "caddis" in own
    assert "one.test" in c.log()  # its own log has the default output
    assert "serving" not in c.log() and files["acme"].read_text() == ""


def test_global_log_rearranged_and_sampled(caddis, folder, eventually):
    own = folder / "own.log"
    c = caddis("http://localhost {\n\tlog\n\treverse_proxy 127.0.0.1:1\n}",
               globals="log named {\n\t\toutput file %s\n\t\tinclude http.handlers.reverse_proxy"
                       " http.log.access\n\t\tformat filter {\n\t\t\twrap json {\n"
                       "\t\t\t\ttime_format rfc3339\n\t\t\t}\n\t\t\torigin replace hidden\n"
                       "\t\t\trequest>headers delete\n\t\t}\n"
                       "\t\tsampling {\n\t\t\tinterval 1h\n\t\t\tfirst 3\n\t\t\tthereafter 0\n"
                       "\t\t}\n\t}" % own)
    for _ in range(10):
        assert c.get().status == 502
    eventually(lambda: own.exists() and own.read_text().count("\n") == 6)
    seen = [json.loads(line) for line in own.read_text().splitlines()]
    assert all("T" in x["ts"] for x in seen)
    events = [x for x in seen if x["logger"] == "http.handlers.reverse_proxy"]
    assert len(events) == 3 and all(x["origin"] == "hidden" for x in events)
    assert all("headers" not in x["request"] for x in seen if "request" in x)


def test_times_of_here(caddis, folder, eventually):
    log = folder / "a.log"
    c = caddis("http://localhost {\n\tlog {\n\t\toutput file %s\n\t\tformat json {\n"
               "\t\t\ttime_format rfc3339\n\t\t\ttime_local\n\t\t\tcaller_key c\n\t\t}\n\t}\n}" % log,
               env={"TZ": "Etc/GMT-3"})
    c.get()
    eventually(lambda: log.exists() and log.read_text())
    there = datetime.datetime.fromisoformat(json.loads(log.read_text())["ts"])
    assert there.utcoffset() == datetime.timedelta(hours=3)
    assert abs(there.timestamp() - time.time()) < 120


def test_rolled_by_the_clock(plain, folder, eventually):
    """At a time of day, with a name of one's own; what is left over is tidied up by that name."""
    log = folder / "access.log"
    for day in (1, 2, 3):
        (folder / f"access-202501{day:02}000000.log").write_text("old\n")
    c = plain("http://localhost {\n\tlog {\n\t\toutput file %s {\n\t\t\troll_at 00:00 12:00\n"
              "\t\t\troll_minutes 30\n\t\t\tbackup_time_format 20060102150405\n"
              "\t\t\troll_keep 2\n\t\t\troll_uncompressed\n\t\t}\n\t}\n}" % log,
              env={"LD_PRELOAD": "/usr/$LIB/faketime/libfaketime.so.1", "TZ": "UTC",
                   "FAKETIME": "@2026-03-01 11:59:55", "DONT_FAKE_MONOTONIC": "1"})
    c.get("/before")
    eventually(lambda: log.exists() and "/before" in log.read_text())

    def rolled():
        c.get("/after")
        return [p for p in folder.glob("access-2026*.log")]

    eventually(rolled, 40)
    assert "access-20260301120" in rolled()[0].name
    assert "/before" in rolled()[0].read_text()
    eventually(lambda: len(list(folder.glob("access-*.log"))) == 2)


@pytest.mark.parametrize("log, words", [
    ("log access {\n\t\toutput file\n\t}", "needs"),
    ("log a {\n\t}\n\tlog a {\n\t}", "is there already"),
    ("log {\n\t\tinclude\n\t}", "needs"),
    ("log {\n\t\tformat common\n\t}", "console or json"),
    ("log {\n\t\tlevel LOUD\n\t}", "DEBUG, INFO, WARN or ERROR"),
    ("log {\n\t\toutput file /tmp/cdx.log {\n\t\t\troll_at 24:00\n\t\t}\n\t}", "no time of day"),
    ("log {\n\t\toutput file /tmp/cdx.log {\n\t\t\troll_minutes 60\n\t\t}\n\t}", "no minute"),
    ("log {\n\t\toutput file /tmp/cdx.log {\n\t\t\tbackup_time_format 02-01-2006\n\t\t}\n\t}",
     "no layout"),
])
def test_own_log_mistakes(tmp_path, log, words):
    file = tmp_path / "Caddyfile"
    file.write_text(f"{{\n\t{log}\n}}\nhttp://localhost\n")
    done = command("validate", "-c", str(file))
    assert done.returncode == 1 and words in done.stderr, done.stderr
    assert "Caddyfile:" in done.stderr
