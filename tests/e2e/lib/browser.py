"""Debian's Chromium without a window, driven over its DevTools protocol (one WebSocket)."""

import asyncio
import contextlib
import json
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import time

import websockets

FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
         "--disable-background-networking", "--disable-component-update", "--disable-sync",
         "--disable-dev-shm-usage", "--disable-extensions", "--remote-debugging-port=0"]
START_TIMEOUT = 90.0  # of a browser on a busy machine


class Browser:
    """trust: hashes of keys (base64 of SHA-256 of the SPKI) whose certificates are believed."""

    def __init__(self, trust=()):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="cd", dir="/tmp"))
        self.log = open(self.folder / "log", "wb")
        flags = [*FLAGS, f"--user-data-dir={self.folder}/profile"]
        if trust:
            flags.append("--ignore-certificate-errors-spki-list=" + ",".join(trust))
        env = {"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "HOME": str(self.folder),
               "XDG_RUNTIME_DIR": str(self.folder), "LANG": "C.UTF-8"}
        self.process = subprocess.Popen(["/usr/bin/chromium", *flags, "about:blank"], env=env,
                                        stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log,
                                        start_new_session=True)
        self.url = self._devtools()

    def _devtools(self):
        """Where it listens: it writes that into its profile."""
        path = self.folder / "profile/DevToolsActivePort"
        end = time.monotonic() + START_TIMEOUT
        while True:
            lines = path.read_text().splitlines() if path.exists() else []
            if len(lines) == 2:
                return f"ws://127.0.0.1:{lines[0]}{lines[1]}"
            log = (self.folder / "log").read_text(errors="replace")
            assert self.process.poll() is None, log[-3000:]
            assert time.monotonic() < end, f"Chromium does not come up: {log[-3000:]}"
            time.sleep(0.05)

    def run(self, page, script, timeout=60.0):
        """Opens page and gives back what script, an expression (a promise is waited for), is
        there."""
        return asyncio.run(self._run(page, script, timeout))

    async def _run(self, page, script, timeout):
        async with websockets.connect(self.url, max_size=1 << 26, open_timeout=30) as ws:
            ids = iter(range(1, 1000))

            async def call(method, session=None, **params):
                n = next(ids)
                message = {"id": n, "method": method, "params": params}
                await ws.send(json.dumps(message | ({"sessionId": session} if session else {})))
                while True:
                    answer = json.loads(await asyncio.wait_for(ws.recv(), timeout))
                    if answer.get("id") == n:
                        assert "error" not in answer, answer
                        return answer["result"]

            target = (await call("Target.createTarget", url="about:blank"))["targetId"]
            session = (await call("Target.attachToTarget", targetId=target,
                                  flatten=True))["sessionId"]
            gone = await call("Page.navigate", session, url=page)
            assert "errorText" not in gone, gone
            loaded = "new Promise(f => document.readyState == 'complete' ? f() : onload = f)"
            for expression in (loaded, script):
                result = await call("Runtime.evaluate", session, expression=expression,
                                    awaitPromise=True, returnByValue=True)
                assert "exceptionDetails" not in result, result
            return result["result"].get("value")

    def finish(self):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.log.close()
        shutil.rmtree(self.folder, ignore_errors=True)
