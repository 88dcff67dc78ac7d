"""FastAPI, sse-starlette and asyncpg's LISTEN, as somebody who knows them would write it."""

import asyncio
import os
from contextlib import asynccontextmanager

import asyncpg
from fastapi import FastAPI
from sse_starlette.sse import EventSourceResponse

queues: set[asyncio.Queue] = set()


def heard(_connection, _pid, _channel, payload):
    for queue in queues:
        queue.put_nowait(payload)


@asynccontextmanager
async def lifespan(_app):
    connection = await asyncpg.connect(host=os.environ["BENCH_SOCKET"], port=5432, user="app", database="postgres")
    await connection.add_listener("bench", heard)
    yield


app = FastAPI(lifespan=lifespan)


@app.get("/events")
async def events():
    queue = asyncio.Queue()
    queues.add(queue)

    async def stream():
        try:
            while True:
                yield {"data": await queue.get()}
        finally:
            queues.discard(queue)

    return EventSourceResponse(stream())
