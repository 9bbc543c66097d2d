"""A relay that lets time pass before each thing a client says.

psql sends its next statement the moment it has read the last answer. After a write that is sooner than any replica has
replayed it, so that nearly every read would go to the primary, to see the client's own writes, and the suite would not
tell whether a replica could have answered. People and applications think in between; so does a client behind this relay.
"""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress

from suite import START_SECONDS, BenchError

CHUNK_BYTES = 1 << 16


async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter, pause: float) -> None:
    """Passes on what comes, each piece after a pause, until either side ends."""
    with suppress(ConnectionError):
        while piece := await source.read(CHUNK_BYTES):
            if pause:
                await asyncio.sleep(pause)
            sink.write(piece)
            await sink.drain()
    sink.close()


async def serve(host: str, own: int, other: int, pause: float, ready: threading.Event) -> None:
    """Serves for ever; says when it is ready."""

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server_reader, server_writer = await asyncio.open_connection(host, other)
        await asyncio.gather(pump(reader, server_writer, pause), pump(server_reader, writer, 0))

    server = await asyncio.start_server(relay, host, own)
    ready.set()
    async with server:
        await server.serve_forever()


def start(host: str, own: int, other: int, milliseconds: int) -> None:
    """Relays from one port to another until this process ends; returns once it does."""
    ready = threading.Event()
    work = serve(host, own, other, milliseconds / 1000, ready)
    threading.Thread(target=lambda: asyncio.run(work), name="relay", daemon=True).start()
    if not ready.wait(START_SECONDS):
        raise BenchError(f"no relay on port {own}")
