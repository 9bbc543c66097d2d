"""A relay between psql and what it talks to: it lets time pass, and speaks another sub-protocol than psql does.

psql sends its next statement the moment it has read the last answer. After a write that is sooner than any replica has
replayed it, so that nearly every read would go to the primary, to see the client's own writes, and the suite would not
tell whether a replica could have answered. Applications think in between; so does a client behind this relay.

psql says everything in simple queries, drivers do not. The relay turns each into a pipeline of the extended-query
protocol, either of an unnamed statement or of a named one that it prepares once per text, as pgbench names these modes.
"""

from __future__ import annotations

import asyncio
import re
import struct
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field

from suite import START_SECONDS, BenchError

PROTOCOLS = ("simple", "extended", "prepared")

SSL_REQUEST, GSS_REQUEST, PROTOCOL_3_0 = 80877103, 80877104, 196608

# pg_regress gives the psql of each file this application_name; what it says to prepare the suite stays as it is.
SCRIPT = b"application_name\0pg_regress/"

HEADER = struct.Struct("!cI")  # tag, and the length of all but the tag
SYNC = HEADER.pack(b"S", 4)
FLUSH = HEADER.pack(b"H", 4)

# A Sync behind such a statement would be taken for a part of the data, or not, as the server comes to fail.
COPY_IN = re.compile(rb"\s*COPY\b.*\bFROM\s+STD(?:IN|OUT)\b", re.IGNORECASE | re.DOTALL)

# What a server says to a pipeline and not to a simple query: ParseComplete, BindComplete, NoData.
PIPELINES_OWN = frozenset((b"1", b"2", b"n"))

# Texts after which a connection has no prepared statements.
FORGETTING = ("DISCARD ALL", "DEALLOCATE ALL")


def message(tag: bytes, body: bytes) -> bytes:
    return HEADER.pack(tag, len(body) + 4) + body


async def read_message(source: asyncio.StreamReader) -> tuple[bytes, bytes]:
    """The next message: its tag, and all of its bytes."""
    header = await source.readexactly(HEADER.size)
    tag, length = HEADER.unpack(header)
    return tag, header + await source.readexactly(length - 4)


@dataclass
class Conversation:
    """One client's connection."""

    protocol: str
    pause: float  # seconds
    client: tuple[asyncio.StreamReader, asyncio.StreamWriter]
    server: tuple[asyncio.StreamReader, asyncio.StreamWriter]
    prepared: dict[bytes, bytes] = field(default_factory=dict)  # names by text
    preparing: tuple[bytes, bytes] | None = None  # the text and the name that ParseComplete will confirm
    names: int = 0
    is_translated: bool = False  # a simple query of the client's is under way as a pipeline
    owes_sync: bool = False  # at the end of the data that are copied in

    async def run(self) -> None:
        """Relays to the end."""
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            if await self.start():
                await asyncio.gather(self.from_client(), self.from_server())
        for _, writer in (self.client, self.server):
            writer.close()

    async def start(self) -> bool:
        """Relays what comes before messages have tags; false if that was all, as with a cancel request."""
        reader, writer = self.client
        while True:
            length = await reader.readexactly(4)
            packet = await reader.readexactly(struct.unpack("!I", length)[0] - 4)
            self.server[1].write(length + packet)
            (code,) = struct.unpack("!I", packet[:4])
            if code == PROTOCOL_3_0:
                if SCRIPT not in packet:
                    self.protocol = "simple"
                return True
            if code not in (SSL_REQUEST, GSS_REQUEST):
                await self.server[1].drain()
                return False
            writer.write(await self.server[0].readexactly(1))

    async def from_client(self) -> None:
        reader, writer = self.client[0], self.server[1]
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                tag, whole = await read_message(reader)
                if self.pause and tag == b"Q":
                    await asyncio.sleep(self.pause)
                for piece in self.translated(tag, whole):
                    writer.write(piece)
                await writer.drain()
        writer.close()

    def translated(self, tag: bytes, whole: bytes) -> Iterator[bytes]:
        """What the server gets for a message of the client's."""
        if self.protocol == "simple":
            yield whole
        elif tag == b"Q":
            self.is_translated = True
            yield from self.pipeline(whole[HEADER.size : -1])
        elif tag in (b"c", b"f") and self.is_translated:
            # If the copy has failed, nobody waits for its end.
            if self.owes_sync:
                self.owes_sync = False
                yield whole + SYNC
        else:
            yield whole

    def pipeline(self, text: bytes) -> Iterator[bytes]:
        name = self.prepared.get(text)
        if name is None:
            self.names += 1
            name = b"relay%d" % self.names if self.protocol == "prepared" else b""
            self.preparing = (text, name)
            yield message(b"P", name + b"\0" + text + b"\0\0\0")
        yield message(b"B", b"\0" + name + b"\0" + bytes(6))
        yield message(b"D", b"P\0")
        yield message(b"E", bytes(5))
        self.owes_sync = COPY_IN.match(text) is not None
        yield FLUSH if self.owes_sync else SYNC
        if text.decode(errors="replace").strip(" ;\n").upper() in FORGETTING:
            self.prepared.clear()

    async def from_server(self) -> None:
        reader, writer = self.server[0], self.client[1]
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                tag, whole = await read_message(reader)
                if not self.is_translated or tag not in PIPELINES_OWN:
                    writer.write(whole)
                    await writer.drain()
                self.note(tag)
        writer.close()

    def note(self, tag: bytes) -> None:
        """Follows the server's side of a pipeline."""
        if tag == b"1" and self.preparing and self.protocol == "prepared":
            text, name = self.preparing
            self.prepared[text] = name
        elif tag in (b"E", b"C") and self.owes_sync:
            self.owes_sync = False
            self.server[1].write(SYNC)
        elif tag == b"Z":
            self.is_translated = False


async def serve(host: str, own: int, other: int, protocol: str, pause: float, ready: threading.Event) -> None:
    """Serves for ever; says when it is ready."""

    async def relay(*client: asyncio.StreamReader | asyncio.StreamWriter) -> None:
        server = await asyncio.open_connection(host, other)
        await Conversation(protocol, pause, client, server).run()

    server = await asyncio.start_server(relay, host, own)
    ready.set()
    async with server:
        await server.serve_forever()


def start(host: str, own: int, other: int, protocol: str, milliseconds: int) -> None:
    """Relays from one port to another until this process ends; returns once it does."""
    ready = threading.Event()
    work = serve(host, own, other, protocol, milliseconds / 1000, ready)
    threading.Thread(target=lambda: asyncio.run(work), name=f"relay {own}", daemon=True).start()
    if not ready.wait(START_SECONDS):
        raise BenchError(f"no relay on port {own}")
