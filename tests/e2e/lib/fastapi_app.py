"""An app as people deploy it: FastAPI under uvicorn, from Debian's packages. Run as
`fastapi_app.py PORT`; it answers once it listens."""

import sys

import uvicorn
from fastapi import FastAPI, Request, WebSocket, WebSocketDisconnect

app = FastAPI()


@app.get("/who")
async def who(request: Request):
    return {"client": request.client.host, "url": str(request.url)}


@app.post("/upload")
async def upload(request: Request):
    size = 0
    async for piece in request.stream():
        size += len(piece)
    return {"size": size}


@app.websocket("/ws/{room}")
async def chat(socket: WebSocket, room: str):
    await socket.accept()
    try:
        while True:
            await socket.send_text(f"{room}: {await socket.receive_text()}")
    except WebSocketDisconnect:
        pass


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning",
                proxy_headers=True, forwarded_allow_ips="127.0.0.1")
