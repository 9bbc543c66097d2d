#!/usr/bin/env python3
"""asyncpg: its pool and reset query, statements prepared in the binary protocol, cursors, records copied, LISTEN."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import asyncpg

from work import (
    DATABASE, HOST, PATIENCE_SECONDS, PORT, ROUNDS, USER, WORKERS, Place, WrongAnswer, check, main, order,
    rejected,
)  # fmt: skip

Connection = Any

TABLES = """
    CREATE TABLE item (id bigserial PRIMARY KEY, owner int NOT NULL, kind text NOT NULL, value bigint);
    CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy');
    CREATE TYPE pair AS (a int, b text);
    CREATE TABLE feeling (owner int, how mood, what pair);
    CREATE SCHEMA elsewhere;
    CREATE TABLE elsewhere.place AS SELECT 'elsewhere'::text AS name;
    CREATE TABLE place AS SELECT 'here'::text AS name"""


async def reads_its_writes(connection: Connection, place: Place) -> None:
    for value in range(5):
        await connection.execute("INSERT INTO item (owner, kind, value) VALUES ($1, 'own', $2)", place.number, value)
        found = await connection.fetchval("SELECT count(*) FROM item WHERE owner = $1 AND kind = 'own'", place.number)
        check(found, value + 1, "own writes")


async def transactions_nest(connection: Connection, place: Place) -> None:
    insert = "INSERT INTO item (owner, kind, value) VALUES ($1, 'nested', $2)"
    async with connection.transaction():
        await connection.execute(insert, place.number, 1)
        with rejected("22012"):
            async with connection.transaction():
                await connection.execute(insert, place.number, 2)
                await connection.fetch("SELECT 1 / 0")
        async with connection.transaction():
            await connection.execute(insert, place.number, 4)
    check(await connection.fetchval("SELECT sum(value) FROM item WHERE owner = $1 AND kind = 'nested'", place.number), 5)
    for isolation in ("serializable", "repeatable_read"):
        async with connection.transaction(isolation=isolation, readonly=True):
            check(await connection.fetchval("SHOW transaction_isolation"), isolation.replace("_", " "))
            check(await connection.fetchval("SELECT count(*) FROM place"), 1)
    with rejected("25006"):
        async with connection.transaction(readonly=True):
            await connection.execute(insert, place.number, 8)


async def cursors(connection: Connection, place: Place) -> None:
    async with connection.transaction():
        total = 0
        async for record in connection.cursor("SELECT generate_series(1, $1::int)", 300, prefetch=40):
            total += record[0]
        check(total, 45_150)
        cursor = await connection.cursor("SELECT generate_series(1, 100)")
        await cursor.forward(10)
        check([record[0] for record in await cursor.fetch(3)], [11, 12, 13])
        check(await connection.fetchval("SELECT 1"), 1)
        check((await cursor.fetchrow())[0], 14)
    async with connection.transaction(readonly=True):
        statement = await connection.prepare("SELECT n FROM generate_series(1, 100) n WHERE n % $1 = 0")
        check([record["n"] async for record in statement.cursor(25)], [25, 50, 75, 100])


async def prepared_statements(connection: Connection, place: Place) -> None:
    statement = await connection.prepare("SELECT $1::int * 2 AS twice, $2::text AS name")
    check([attribute.name for attribute in statement.get_attributes()], ["twice", "name"])
    check([parameter.name for parameter in statement.get_parameters()], ["int4", "text"])
    for number in range(10):
        check(tuple(await statement.fetchrow(number, "x")), (number * 2, "x"))
        await connection.execute("SELECT 1")
    # Other clients prepare the same texts, and some of their own.
    for number in range(10):
        query = f"SELECT $1::int + {number} AS sum{(place.number + number) % 4}"
        check(await connection.fetchval(query, place.round), place.round + number)
        check(await connection.fetchval(query, place.worker), place.worker + number)


async def many_rows(connection: Connection, place: Place) -> None:
    rows = [(place.number, value) for value in range(300)]
    await connection.executemany("INSERT INTO item (owner, kind, value) VALUES ($1, 'many', $2)", rows)
    query = "SELECT count(*), sum(value) FROM item WHERE owner = $1 AND kind = 'many'"
    check(tuple(await connection.fetchrow(query, place.number)), (300, 44_850))
    with rejected("22003"):
        # executemany is one transaction: none of these stays.
        await connection.executemany(
            "INSERT INTO item (owner, kind, value) VALUES ($1, 'many', ($2::int8 * 1000000000)::int4)", rows[:10]
        )
    check(tuple(await connection.fetchrow(query, place.number)), (300, 44_850))


async def records_copied(connection: Connection, place: Place) -> None:
    records = [(place.number, "copy", value) for value in range(1000)]
    status = await connection.copy_records_to_table("item", records=records, columns=("owner", "kind", "value"))
    check(status, "COPY 1000")
    got = bytearray()

    async def take(data: bytes) -> None:
        got.extend(data)

    query = "SELECT value FROM item WHERE owner = $1 AND kind = 'copy' ORDER BY value"
    await connection.copy_from_query(query, place.number, output=take)
    check(got.decode().split(), [str(value) for value in range(1000)])
    with rejected("22P02"):
        await connection.copy_to_table("item", source=broken_rows(), columns=("owner", "kind", "value"))
    check(await connection.fetchval("SELECT count(*) FROM item WHERE owner = $1 AND kind = 'bad'", place.number), 0)


async def broken_rows() -> Any:
    yield b"1\tbad\tnot a number\n"


async def types(connection: Connection, place: Place) -> None:
    now = datetime(2026, 1, 31, 12, 30, 15, 123456, tzinfo=UTC)
    row = await connection.fetchrow(
        "SELECT $1::numeric, $2::timestamptz, $3::bytea, $4::int[], $5::text, $6::jsonb",
        Decimal("1234.5600"), now, bytes(range(256)), [1, None, 3], "żółw 🐢", '{"a": 1}',
    )  # fmt: skip
    check(tuple(row), (Decimal("1234.5600"), now, bytes(range(256)), [1, None, 3], "żółw 🐢", '{"a": 1}'))
    # Types of the database's own, which asyncpg looks up in the catalog when it meets them.
    await connection.execute("INSERT INTO feeling VALUES ($1, $2, $3)", place.number, "happy", (7, "seven"))
    row = await connection.fetchrow("SELECT how, what FROM feeling WHERE owner = $1", place.number)
    check((row["how"], tuple(row["what"])), ("happy", (7, "seven")))
    check(len(await connection.fetchval("SELECT repeat('z', 1000000)")), 1_000_000)


async def settings_until_release(connection: Connection, place: Place) -> None:
    # The pool's reset query takes them back.
    await connection.execute("SET search_path = elsewhere; SET timezone = 'Asia/Tokyo'; SET work_mem = '77kB'")
    for _ in range(3):
        check(await connection.fetchval("SELECT name FROM place"), "elsewhere")
        check(await connection.fetchval("SELECT current_setting('work_mem')"), "77kB")
        check(connection.get_settings().TimeZone, "Asia/Tokyo")


async def clean_after_acquire(connection: Connection, place: Place) -> None:
    check(await connection.fetchval("SELECT name FROM place"), "here")
    check(await connection.fetchval("SHOW work_mem"), "4MB")
    check(await connection.fetchval("SHOW application_name"), "asyncpg work")


async def advisory_locks_until_release(connection: Connection, place: Place) -> None:
    check(await connection.fetchval("SELECT pg_try_advisory_lock($1)", place.number), True)
    check(await connection.fetchval("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = $1", place.number), 1)


async def notifications(connection: Connection, place: Place) -> None:
    channel, heard = place.name("channel"), asyncio.get_running_loop().create_future()

    def hear(*arguments: Any) -> None:
        if not heard.done():
            heard.set_result(arguments[-1])

    await connection.add_listener(channel, hear)
    await connection.execute("SELECT pg_notify($1, 'told')", channel)
    check(await asyncio.wait_for(heard, PATIENCE_SECONDS), "told")
    # UNLISTEN; what it leaves to be done the pool's reset query does.
    await connection.remove_listener(channel, hear)


async def timeouts_cancel(connection: Connection, place: Place) -> None:
    try:
        await connection.fetchval("SELECT pg_sleep($1)", PATIENCE_SECONDS, timeout=0.1)
        raise WrongAnswer("slept")
    except asyncio.TimeoutError:
        pass
    check(await connection.fetchval("SELECT $1::int", place.number), place.number)


async def errors(connection: Connection, place: Place) -> None:
    for query, state in [("SELECT 1 / 0", "22012"), ("SELEC", "42601"), ("SELECT * FROM nowhere", "42P01")]:
        with rejected(state):
            await connection.fetch(query)
        check(await connection.fetchval("SELECT $1::int", place.number), place.number)
    with rejected("42601"):
        await connection.execute("SELECT 1; SELEC")


Piece = Callable[[Connection, Place], Coroutine[Any, Any, None]]

PIECES: list[Piece] = [
    reads_its_writes, transactions_nest, cursors, prepared_statements, many_rows, records_copied, types,
    settings_until_release, clean_after_acquire, advisory_locks_until_release, notifications, timeouts_cancel, errors,
]  # fmt: skip

SERVER = {"host": HOST, "port": PORT, "user": USER, "database": DATABASE, "server_settings": {"application_name": "asyncpg work"}}


async def make_tables() -> None:
    connection = await asyncpg.connect(**SERVER)
    await connection.execute(TABLES)
    await connection.close()


async def all_work() -> None:
    # One connection fewer than workers: they, too, change hands.
    async with asyncpg.create_pool(**SERVER, min_size=1, max_size=max(1, WORKERS - 1), statement_cache_size=20) as pool:

        async def worker(number: int) -> None:
            for round_ in range(ROUNDS):
                place = Place(number, round_)
                for piece in order(PIECES, place):
                    async with pool.acquire() as connection:
                        await piece(connection, place)
                async with pool.acquire() as connection, connection.transaction():
                    query = "SELECT count(*) FROM item WHERE owner = $1 AND kind = 'many'"
                    check(await connection.fetchval(query, place.number), 300, "what another connection has committed")

        await asyncio.gather(*[worker(number) for number in range(WORKERS)])


if __name__ == "__main__":
    main(f"asyncpg {asyncpg.__version__}", lambda: asyncio.run(make_tables()), lambda: asyncio.run(all_work()))
