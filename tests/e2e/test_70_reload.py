"""Reload and stop: nothing that is under way is cut."""

import os
import signal
import threading
import time

import pytest
from lib.origin import Response
from lib.ports import free_port
from lib.raw import Closed

UPGRADE = [("Connection", "Upgrade"), ("Upgrade", "echo/1")]
SWITCH = "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo/1\r\n\r\n"


def say(word):
    return f"http://localhost {{\n\trespond {word}\n}}"


def echo_script(raw):
    raw.read_request()
    raw.send(SWITCH)
    try:
        while raw.fill():
            raw.send(raw.take(len(raw.buffer)))
    except Closed:
        pass  # a client that leaves may look like a reset from here


def test_reload_takes_the_new_file(caddis):
    c = caddis(say("one"))
    assert c.get().body == b"one"
    c.reload(say("two"))
    assert c.get().body == b"two"


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGUSR1])
def test_reload_by_signal(caddis, eventually, number):
    c = caddis(say("one"))
    c.write(say("two"))
    c.signal(number)
    eventually(lambda: c.get().body == b"two")


def test_reload_is_told_to_systemd(caddis):
    c = caddis(say("one"))
    c.notified.clear()
    c.write(say("two"))
    c.signal(signal.SIGHUP)
    c.wait_notified("RELOADING=1")
    c.wait_notified("READY=1")


def test_keep_alive_connection_sees_the_new_file(caddis):
    c = caddis(say("one"))
    with c.connect() as connection:
        assert connection.get().body == b"one"
        c.reload(say("two"))
        assert connection.get().body == b"two"


@pytest.mark.parametrize("how", ["command", "signal"])
def test_bad_file_is_refused_and_the_old_one_runs_on(caddis, how):
    c = caddis(say("one"))
    bad = "http://localhost {\n\trespnd two\n}"
    if how == "command":
        done = c.reload(bad, status=1)
        said = done.stderr
    else:
        c.write(bad)
        c.signal(signal.SIGHUP)
        c.wait_log("respnd")
        said = c.log()
    line = 1 + c.file.read_text().split("\n").index("\trespnd two")
    assert f"Caddyfile:{line}:2" in said, said
    assert "respond" in said
    assert c.get().body == b"one"
    c.reload(say("three"))
    assert c.get().body == b"three"


def test_reload_that_cannot_be_carried_out_is_rolled_back(caddis, scripted):
    """A port that someone else has: the whole file is refused."""
    taken = scripted(lambda raw: None)
    c = caddis(say("one"))
    done = c.reload(say("two") + f"\n:{taken.port} {{\n\trespond x\n}}", status=1)
    assert str(taken.port) in done.stderr
    assert c.get().body == b"one"


def test_reload_when_nothing_runs(caddis):
    c = caddis(say("one"), start=False)
    done = c.command("reload", "--config", c.file)
    assert done.returncode == 1
    assert str(c.admin) in done.stderr


def test_request_under_way_ends_under_its_own_configuration(caddis, scripted):
    asked, answer = threading.Event(), threading.Event()

    def script(raw):
        raw.read_request()
        asked.set()
        assert answer.wait(20)
        raw.send("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nold")

    c = caddis(f"http://localhost {{\n\theader X-Conf old\n\treverse_proxy {scripted(script).address}\n}}")
    with c.connect() as connection:
        connection.request("GET", read=False)
        assert asked.wait(10)
        c.reload(say("new"))
        assert c.get().body == b"new"
        answer.set()
        response = connection.read_response()
        assert (response.body, response.get("X-Conf")) == (b"old", "old")
        assert connection.get().body == b"new"


def test_download_under_way_goes_on(caddis, scripted):
    size = 30 << 20

    def script(raw):
        raw.read_request()
        raw.send(f"HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n")
        for _ in range(size >> 20):
            raw.send(b"\0" * (1 << 20))

    c = caddis(f"http://localhost {{\n\treverse_proxy {scripted(script).address}\n}}")
    with c.connect(rcvbuf=65536) as connection:
        connection.request("GET", read=False)
        connection.read_response(body=False)
        for word in ("one", "two", "three"):
            connection.discard(1 << 20)
            c.reload(say(word))
        connection.discard(size - (3 << 20))


@pytest.mark.parametrize("tls", [False, True])
def test_tunnel_lives_on(caddis, scripted, tls):
    """Over reloads that change, and at last remove, the route it came by."""
    o = scripted(echo_script)
    site = "localhost" if tls else "http://localhost"
    proxy = f"{site} {{\n\treverse_proxy {o.address}\n}}"
    c = caddis(proxy)
    if tls:
        c.wait_certificate()
    with (c.connect_tls() if tls else c.connect()) as connection:
        assert connection.get("/", UPGRADE).status == 101
        for i, text in enumerate([proxy, f"{site} {{\n\trespond gone\n}}", proxy,
                                  f"{site} {{\n\trespond gone\n}}"]):
            connection.send(f"before {i}".encode())
            connection.expect(f"before {i}".encode())
            c.reload(text)
            connection.send(f"after {i}".encode())
            connection.expect(f"after {i}".encode())


def test_twenty_reloads_under_load_without_a_failed_request(caddis, origin):
    o = origin(lambda r: Response(body=r.target, chunked=r.target.endswith("3")))
    site = "http://localhost {\n\theader X-N %d\n\treverse_proxy " + o.address + "\n}"
    c = caddis(site % 0)
    stop = threading.Event()
    failures, served = [], []

    def kept(n):
        """Keep-alive; a connection may be closed by the server only after it said so."""
        connection, i = c.connect(), 0
        try:
            while not stop.is_set():
                i += 1
                answer = connection.get(f"/{n}/{i}")
                assert (answer.status, answer.body) == (200, f"/{n}/{i}".encode())
                served.append(1)
                if answer.has_token("Connection", "close"):
                    connection.close()
                    connection = c.connect()
        except (AssertionError, OSError) as e:
            failures.append(e)
        finally:
            connection.close()

    def fresh(n):
        i = 0
        while not stop.is_set():
            i += 1
            try:
                assert c.get(f"/f{n}/{i}").status == 200
                served.append(1)
            except (AssertionError, OSError) as e:
                failures.append(e)

    threads = [threading.Thread(target=kept, args=(n,)) for n in range(6)]
    threads += [threading.Thread(target=fresh, args=(n,)) for n in range(3)]
    for t in threads:
        t.start()
    try:
        for i in range(1, 21):
            c.reload(site % i)
            assert c.get().get("X-N") == str(i)
    finally:
        stop.set()
        for t in threads:
            t.join()
    assert failures == [], failures[:3]
    assert len(served) > 200


def test_idle_connections_are_not_closed_by_reloads(caddis):
    c = caddis(say("x0"))
    connections = [c.connect() for _ in range(20)]
    for connection in connections:
        assert connection.get().body == b"x0"
    for i in range(3):
        c.reload(say(f"x{i}"))
    for connection in connections:
        assert connection.get().body == b"x2"
        connection.close()


def test_memory_and_descriptors_are_flat_over_reloads(plain):
    c = plain("".join(f"http://s{i}.test {{\n\trespond {i}\n}}\n" for i in range(50)))
    text = c.file.read_text()

    def reload(times):
        for i in range(times):
            c.file.write_text(text + f"# {i}\n")
            done = c.command("reload", "--config", c.file)
            assert done.returncode == 0, done.stderr
        assert c.get(host="s7.test").body == b"7"
        time.sleep(0.5)

    reload(20)
    memory, descriptors = c.memory(), c.descriptors()
    reload(60)
    assert c.memory() - memory < 2 << 20
    assert c.descriptors() <= descriptors + 2


def test_listeners_come_and_go(caddis):
    port = free_port()
    c = caddis(say("one"))
    for _ in range(3):
        c.reload(say("one") + f"\n:{port} {{\n\trespond extra\n}}")
        assert c.get(port=port, host="x").body == b"extra"
        c.reload(say("one"))
        with pytest.raises(OSError):
            for _ in range(50):
                c.connect(port, timeout=1).close()
                time.sleep(0.02)


def test_new_site_gets_its_certificate_after_a_reload(caddis):
    c = caddis("a.localhost {\n\trespond A\n}")
    c.wait_certificate("a.localhost")
    with c.connect_tls("a.localhost") as old:
        c.reload("a.localhost {\n\trespond A2\n}\nb.localhost {\n\trespond B\n}")
        c.wait_certificate("b.localhost")
        assert old.get().body == b"A2"


# ---- stopping ----


def test_stop_lets_requests_finish(caddis, scripted):
    asked, answer = threading.Event(), threading.Event()

    def script(raw):
        raw.read_request()
        asked.set()
        assert answer.wait(20)
        raw.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    c = caddis(f"http://localhost {{\n\treverse_proxy {scripted(script).address}\n}}",
               globals="grace_period 20s")
    idle = c.connect()
    idle.get("/", host="nobody")
    with c.connect() as connection:
        connection.request("GET", read=False)
        assert asked.wait(10)
        c.signal(signal.SIGTERM)
        c.wait_notified("STOPPING=1")
        assert idle.closed(5), "idle connections are closed at once"
        with pytest.raises(OSError):
            for _ in range(100):
                c.connect(timeout=1).close()
                time.sleep(0.02)
        answer.set()
        assert connection.read_response().body == b"ok"
        assert connection.closed()
    assert c.wait() == 0


def test_grace_period_ends(caddis, scripted):
    c = caddis(f"http://localhost {{\n\treverse_proxy {scripted(echo_script).address}\n}}",
               globals="grace_period 1s")
    with c.connect() as connection:
        connection.get("/", UPGRADE)
        started = time.monotonic()
        c.signal(signal.SIGTERM)
        connection.send(b"still here")
        connection.expect(b"still here")
        assert c.wait(10) == 0
        assert 0.5 < time.monotonic() - started < 8


def test_second_signal_ends_at_once(caddis, scripted):
    c = caddis(f"http://localhost {{\n\treverse_proxy {scripted(echo_script).address}\n}}",
               globals="grace_period 60s")
    with c.connect() as connection:
        connection.get("/", UPGRADE)
        c.signal(signal.SIGTERM)
        c.wait_notified("STOPPING=1")
        assert c.process.poll() is None
        c.signal(signal.SIGTERM)
        assert c.wait(5) == 2


def test_stop_command(caddis):
    c = caddis(say("one"))
    done = c.command("stop", "--config", c.file)
    assert done.returncode == 0, done.stderr
    assert c.wait() == 0
    assert not c.admin.exists()


def test_dead_control_socket_is_replaced(caddis):
    c = caddis(say("one"))
    c.kill()
    assert c.admin.exists()
    c.start()
    c.reload(say("two"))
    assert c.get().body == b"two"


def test_server_process_that_dies_is_replaced(caddis, eventually):
    """The parent starts the server again, with the same listening sockets."""
    c = caddis(say("one"))
    c.expect_restart = True
    children = c.children()
    assert len(children) == 1
    os.kill(children[0], signal.SIGKILL)

    def again():
        try:
            return c.get().body == b"one"
        except (OSError, Closed):
            return False

    eventually(again)
    assert c.children() != children


def test_server_ends_when_its_parent_dies(caddis, eventually):
    c = caddis(say("one"))
    child = c.children()[0]
    os.kill(c.pid, signal.SIGKILL)
    eventually(lambda: not os.path.exists(f"/proc/{child}"), 5)
    c.wait()
