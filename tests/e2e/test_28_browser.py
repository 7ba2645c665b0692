"""A browser's own HTTP/2 and WebSockets: Debian's Chromium."""

import asyncio
import base64
import hashlib
import json
import threading

import pytest
import websockets
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from lib.browser import Browser

SITE = """localhost {
	log {
		output file %s/access.log
	}
	handle /ws {
		reverse_proxy 127.0.0.1:%d
	}
	handle {
		header Content-Type text/html
		respond "<!doctype html><title>caddis</title>"
	}
}"""

# Sends texts and bytes of several sizes, waits for all echoes, closes; what came back, how it ended
# and over which version the page was loaded.
TALK = """new Promise((done, fail) => {
    const big = 'z'.repeat(70000), sent = ['hello', '', big, new Uint8Array([0, 255, 1])];
    const got = [], socket = new WebSocket(`wss://${location.host}/ws?room=1`, ['chat']);
    socket.binaryType = 'arraybuffer';
    socket.onopen = () => sent.forEach(m => socket.send(m));
    socket.onmessage = m => {
        got.push(typeof m.data == 'string' ? m.data.length : [...new Uint8Array(m.data)]);
        if (got.length == sent.length) socket.close(1000, 'enough');
    };
    socket.onerror = () => fail(new Error('the WebSocket failed'));
    socket.onclose = e => done({
        got, code: e.code, clean: e.wasClean, protocol: socket.protocol,
        page: performance.getEntriesByType('navigation')[0].nextHopProtocol,
    });
})"""


async def echo(ws):
    async for message in ws:
        await ws.send(message)


@pytest.fixture
def echo_port(cleanup):
    ready = threading.Event()
    state = {}

    async def main():
        state["loop"], state["end"] = asyncio.get_running_loop(), asyncio.Event()
        async with websockets.serve(echo, "127.0.0.1", 0, subprotocols=["chat"]) as server:
            state["port"] = next(iter(server.sockets)).getsockname()[1]
            ready.set()
            await state["end"].wait()

    thread = threading.Thread(target=lambda: asyncio.run(main()), daemon=True)
    thread.start()
    assert ready.wait(20)
    cleanup.add(lambda: (state["loop"].call_soon_threadsafe(state["end"].set), thread.join(10)))
    return state["port"]


def test_websocket_over_http2(caddis, cleanup, echo_port, eventually):
    c = caddis("", start=False)
    c.write(SITE % (c.folder, echo_port))
    c.start()
    leaf = x509.load_der_x509_certificate(c.wait_certificate())
    key = leaf.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    browser = Browser([base64.b64encode(hashlib.sha256(key).digest()).decode()])
    cleanup.add(browser.finish)
    said = browser.run(f"https://localhost:{c.https}/", TALK)
    assert said == {"got": [5, 0, 70000, [0, 255, 1]], "code": 1000, "clean": True,
                    "protocol": "chat", "page": "h2"}

    def tunnel():
        lines = (c.folder / "access.log").read_text().splitlines()
        requests = [json.loads(line)["request"] for line in lines]
        return [r for r in requests if r["uri"] == "/ws?room=1"]

    # Handlers and the log see an Upgrade, whatever the version; the version is the client's.
    request = eventually(tunnel)[0]
    assert (request["proto"], request["method"]) == ("HTTP/2.0", "GET"), request
    assert request["headers"]["Upgrade"] == ["websocket"]
