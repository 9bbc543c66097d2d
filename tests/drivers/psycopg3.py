#!/usr/bin/env python3
"""psycopg 3: transactions, pipelines, cursors, COPY, prepared statements that come and go, its pool."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import psycopg
from psycopg import errors, pq, sql
from psycopg.rows import dict_row
from psycopg_pool import ConnectionPool

from work import ONLY, PATIENCE_SECONDS, ROUNDS, WORKERS, Place, WrongAnswer, check, in_threads, main, order, rejected

Connection = psycopg.Connection[Any]

TABLES = """
    CREATE TABLE item (id bigserial PRIMARY KEY, owner int NOT NULL, kind text NOT NULL, value bigint, UNIQUE (owner, kind, value));
    CREATE SCHEMA elsewhere;
    CREATE TABLE elsewhere.place (name text);
    INSERT INTO elsewhere.place VALUES ('elsewhere');
    CREATE TABLE place (name text);
    INSERT INTO place VALUES ('here')"""

# One at a time waits for somebody else while it keeps a server connection.
listening = threading.Lock()


def one(connection: Connection, query: str, parameters: Any = None, **options: Any) -> Any:
    """The only value of the only row."""
    row = connection.execute(query, parameters, **options).fetchone()
    return row and row[0]


def autocommit_reads_its_writes(connection: Connection, place: Place) -> None:
    for value in range(5):
        new = one(connection, "INSERT INTO item (owner, kind, value) VALUES (%s, %s, %s) RETURNING value",
                  (place.number, "autocommit", value))
        check(new, value)
        found = one(connection, "SELECT count(*) FROM item WHERE owner = %s AND kind = %s", (place.number, "autocommit"))
        check(found, value + 1, "own writes")
    connection.execute("UPDATE item SET value = value + 10 WHERE owner = %s AND kind = 'autocommit'", (place.number,))
    check(one(connection, "SELECT sum(value) FROM item WHERE owner = %s AND kind = 'autocommit'", (place.number,)), 60)


def transactions_commit_roll_back_and_nest(connection: Connection, place: Place) -> None:
    insert = "INSERT INTO item (owner, kind, value) VALUES (%s, 'nested', %s)"
    count = "SELECT count(*) FROM item WHERE owner = %s AND kind = 'nested'"
    with connection.transaction():
        connection.execute(insert, (place.number, 1))
        with rejected("22012"), connection.transaction():
            connection.execute(insert, (place.number, 2))
            connection.execute("SELECT 1 / 0")
        check(one(connection, count, (place.number,)), 1, "after ROLLBACK TO")
        with connection.transaction(force_rollback=True):
            connection.execute(insert, (place.number, 3))
            check(one(connection, count, (place.number,)), 2)
    check(one(connection, count, (place.number,)), 1, "after COMMIT")
    with rejected("23505"), connection.transaction():
        connection.execute(insert, (place.number, 4))
        connection.execute(insert, (place.number, 4))
    check(one(connection, count, (place.number,)), 1, "after ROLLBACK")


def without_autocommit(connection: Connection, place: Place) -> None:
    connection.autocommit = False
    try:
        connection.execute("INSERT INTO item (owner, kind, value) VALUES (%s, 'manual', 1)", (place.number,))
        check(connection.info.transaction_status, pq.TransactionStatus.INTRANS)
        connection.rollback()
        check(one(connection, "SELECT count(*) FROM item WHERE owner = %s AND kind = 'manual'", (place.number,)), 0)
        with rejected("42P01"):
            connection.execute("SELECT * FROM nowhere")
        with rejected("25P02"):
            connection.execute("SELECT 1")
        connection.rollback()
        connection.execute("INSERT INTO item (owner, kind, value) VALUES (%s, 'manual', 2)", (place.number,))
        connection.commit()
        check(one(connection, "SELECT value FROM item WHERE owner = %s AND kind = 'manual'", (place.number,)), 2)
    finally:
        connection.rollback()
        connection.autocommit = True


def pipelines(connection: Connection, place: Place) -> None:
    with connection.pipeline():
        cursors = [connection.execute("SELECT %s::int * 2", (number,)) for number in range(40)]
        connection.execute("INSERT INTO item (owner, kind, value) VALUES (%s, 'pipeline', 1)", (place.number,))
        count = connection.execute("SELECT count(*) FROM item WHERE owner = %s AND kind = 'pipeline'", (place.number,))
    check([cursor.fetchone()[0] for cursor in cursors], [number * 2 for number in range(40)])
    check(count.fetchone()[0], 1)
    with rejected("22012"), connection.pipeline():
        connection.execute("SELECT 1")
        connection.execute("SELECT 1 / %s", (0,))
        connection.execute("INSERT INTO item (owner, kind, value) VALUES (%s, 'pipeline', 2)", (place.number,))
    check(one(connection, "SELECT count(*) FROM item WHERE owner = %s AND kind = 'pipeline'", (place.number,)), 1)
    with connection.pipeline() as pipeline, connection.transaction():
        connection.execute("INSERT INTO item (owner, kind, value) VALUES (%s, 'pipeline', 3)", (place.number,))
        pipeline.sync()
        connection.execute("INSERT INTO item (owner, kind, value) VALUES (%s, 'pipeline', 4)", (place.number,))
    check(one(connection, "SELECT sum(value) FROM item WHERE owner = %s AND kind = 'pipeline'", (place.number,)), 8)


def executemany_returns(connection: Connection, place: Place) -> None:
    with connection.cursor() as cursor:
        rows = [(place.number, value) for value in range(100)]
        cursor.executemany("INSERT INTO item (owner, kind, value) VALUES (%s, 'many', %s) RETURNING value", rows, returning=True)
        got = [cursor.fetchone()[0]]
        while cursor.nextset():
            got.append(cursor.fetchone()[0])
    check(got, list(range(100)))
    check(one(connection, "SELECT sum(value) FROM item WHERE owner = %s AND kind = 'many'", (place.number,)), 4950)


def server_side_cursors(connection: Connection, place: Place) -> None:
    with connection.transaction(), connection.cursor(place.name("cursor")) as cursor:
        cursor.itersize = 70
        cursor.execute("SELECT generate_series(1, %s)", (300,))
        check(sum(row[0] for row in cursor), 45_150)
    with connection.transaction(), connection.cursor(place.name("scroll"), scrollable=True) as cursor:
        cursor.execute("SELECT generate_series(1, 100)")
        cursor.scroll(49)
        check(cursor.fetchone()[0], 50)
        cursor.scroll(-10)
        check(cursor.fetchmany(2), [(41,), (42,)])
    with connection.cursor(place.name("hold"), withhold=True) as cursor:
        cursor.execute("SELECT generate_series(1, 50)")
        check(len(cursor.fetchmany(20)), 20)
        check(one(connection, "SELECT 7"), 7)
        check(cursor.fetchall()[-1][0], 50)
    # Proof that none is left, which is what releases the server connection.
    connection.execute("CLOSE ALL")


def copy_both_ways(connection: Connection, place: Place) -> None:
    with connection.cursor() as cursor:
        with cursor.copy("COPY item (owner, kind, value) FROM STDIN") as copy:
            for value in range(500):
                copy.write_row((place.number, "copy", value))
        check(cursor.rowcount, 500)
        with cursor.copy("COPY item (owner, kind, value) FROM STDIN (FORMAT BINARY)") as copy:
            copy.set_types(("int4", "text", "int8"))
            for value in range(500, 1000):
                copy.write_row((place.number, "copy", value))
        query = sql.SQL("COPY (SELECT value FROM item WHERE owner = {} AND kind = 'copy') TO STDOUT").format(place.number)
        with cursor.copy(query) as copy:
            copy.set_types(["int8"])
            check(sum(row[0] for row in copy.rows()), 499_500)


def copy_that_fails(connection: Connection, place: Place) -> None:
    with rejected("22P02"), connection.cursor().copy("COPY item (owner, kind, value) FROM STDIN") as copy:
        copy.write(f"{place.number}\tbad\tnot a number\n")
    class GivenUp(Exception):
        pass
    try:
        with connection.cursor().copy("COPY item (owner, kind, value) FROM STDIN") as copy:
            copy.write_row((place.number, "bad", 1))
            raise GivenUp
    except (GivenUp, errors.QueryCanceled):
        pass
    check(one(connection, "SELECT count(*) FROM item WHERE owner = %s AND kind = 'bad'", (place.number,)), 0)


def prepared_statements_come_and_go(connection: Connection, place: Place) -> None:
    threshold = connection.prepare_threshold
    connection.prepare_threshold = 1
    try:
        for turn in range(3):
            for number in range(8):
                query = f"SELECT %s::int + {number} AS sum{number % 5}"
                check(one(connection, query, (turn,)), turn + number)
                check(one(connection, query, (turn + 1,), prepare=True), turn + number + 1)
        # After any DROP psycopg deallocates everything and prepares anew.
        connection.execute("DROP TABLE IF EXISTS pg_temp.never_made")
        for _ in range(3):
            check(one(connection, "SELECT %s || 'x'", (place.name("after"),)), place.name("after") + "x")
    finally:
        connection.prepare_threshold = threshold


def settings_follow(connection: Connection, place: Place) -> None:
    zone = ["UTC", "Asia/Tokyo", "America/New_York"][place.number % 3]
    hours = {"UTC": 0, "Asia/Tokyo": 9, "America/New_York": 19}[zone]
    try:
        connection.execute(f"SET timezone = '{zone}'")
        connection.execute(f"SELECT set_config('application_name', '{place.name('worker')}', false)")
        connection.execute("SET search_path = elsewhere, public")
        connection.execute("SET statement_timeout = '59s'")
        for _ in range(3):
            check(one(connection, "SELECT name FROM place"), "elsewhere", "search_path")
            check(one(connection, "SELECT extract(hour FROM timestamptz '2026-01-01 00:00Z')::int"), hours, zone)
            check(connection.info.parameter_status("TimeZone"), zone)
            check(one(connection, "SHOW application_name"), place.name("worker"))
            check(one(connection, "SELECT current_setting('statement_timeout')"), "59s")
        with connection.transaction():
            connection.execute("SET LOCAL work_mem = '77kB'")
            check(one(connection, "SHOW work_mem"), "77kB")
        check(one(connection, "SHOW work_mem") != "77kB", True, "SET LOCAL is gone")
        with connection.transaction(force_rollback=True):
            connection.execute("SET search_path = public")
            check(one(connection, "SELECT name FROM place"), "here")
        check(one(connection, "SELECT name FROM place"), "elsewhere", "SET rolled back")
    finally:
        connection.execute("RESET ALL")
    check(one(connection, "SELECT name FROM place"), "here", "after RESET ALL")


def errors_leave_the_connection_usable(connection: Connection, place: Place) -> None:
    for query, state in [
        ("SELECT 1 / 0", "22012"),
        ("SELEC 1", "42601"),
        ("SELECT * FROM nowhere", "42P01"),
        ("SELECT nothing FROM item", "42703"),
        ("SELECT 'x'::int", "22P02"),
        ("DO $$ BEGIN RAISE EXCEPTION 'own' USING ERRCODE = 'AB123'; END $$", "AB123"),
        ("SET timezone = 'Nowhere/Land'", "22023"),
        ("SET LOCAL nosuch = 1", "42704"),
    ]:
        with rejected(state, query):
            connection.execute(query)
        check(one(connection, "SELECT %s::int", (place.number,)), place.number)
    with rejected("42P02"):
        connection.execute("SELECT $1")
    with rejected("57014"):
        connection.execute("SET statement_timeout = '20ms'; SELECT pg_sleep(30)")
    connection.execute("RESET statement_timeout")
    check(one(connection, "SHOW statement_timeout"), "0")


def isolation_and_read_only(connection: Connection, place: Place) -> None:
    for level in psycopg.IsolationLevel:
        connection.isolation_level = level
        with connection.transaction():
            check(one(connection, "SHOW transaction_isolation"), level.name.lower().replace("_", " "))
    connection.isolation_level = None
    connection.read_only = True
    with connection.transaction():
        check(one(connection, "SHOW transaction_read_only"), "on")
        check(one(connection, "SELECT count(*) FROM place"), 1)
    with rejected("25006"), connection.transaction():
        connection.execute("INSERT INTO item (owner, kind, value) VALUES (%s, 'read only', 1)", (place.number,))
    connection.read_only = None
    connection.deferrable = True
    with connection.transaction():
        check(one(connection, "SHOW transaction_deferrable"), "on")
    connection.deferrable = None


def types_in_text_and_binary(connection: Connection, place: Place) -> None:
    values = [Decimal("12345.678900"), "żółw 🐢", bytes(range(256)) * 40, [1, None, 3], True, 2**62, 1.5, None]
    for binary in (False, True):
        query = "SELECT %s::numeric, %s::text, %s::bytea, %s::int[], %s::bool, %s::int8, %s::float8, %s::text"
        check(list(connection.execute(query, values, binary=binary).fetchone()), values)
    wide = "x" * 300_000
    check(one(connection, "SELECT length(%s)", (wide,)), len(wide))
    check(len(one(connection, "SELECT repeat('y', 1000000)")), 1_000_000)
    with connection.cursor(row_factory=dict_row) as cursor:
        cursor.execute("SELECT 1 AS a, jsonb_build_object('k', %s::int) AS b", (place.number,))
        check(cursor.fetchone(), {"a": 1, "b": {"k": place.number}})


def temporary_tables_and_advisory_locks(connection: Connection, place: Place) -> None:
    connection.execute("CREATE TEMPORARY TABLE mine (a int)")
    connection.execute("INSERT INTO mine VALUES (%s)", (place.number,))
    check(one(connection, "SELECT a FROM mine"), place.number)
    connection.execute("DROP TABLE mine")
    connection.execute("DISCARD TEMP")
    with connection.transaction():
        connection.execute("CREATE TEMPORARY TABLE mine (a int) ON COMMIT DROP")
        check(one(connection, "SELECT count(*) FROM mine"), 0)
    check(one(connection, "SELECT pg_try_advisory_lock(%s)", (place.number,)), True)
    check(one(connection, "SELECT pg_advisory_unlock(%s)", (place.number,)), True)
    connection.execute("SELECT pg_advisory_unlock_all()")
    with connection.transaction():
        check(one(connection, "SELECT pg_try_advisory_xact_lock(%s)", (place.number,)), True)


def notifications_arrive(connection: Connection, place: Place) -> None:
    channel = place.name("channel")
    with listening:
        connection.execute(f"LISTEN {channel}")
        with psycopg.connect("", autocommit=True) as other:
            other.execute("SELECT pg_notify(%s, %s)", (channel, "from another"))
        deadline = time.monotonic() + PATIENCE_SECONDS
        for notification in connection.notifies():
            check((notification.channel, notification.payload), (channel, "from another"))
            break
        check(time.monotonic() < deadline, True, "a notification in time")
        connection.execute("UNLISTEN *")


def cancelling(connection: Connection, place: Place) -> None:
    timer = threading.Timer(0.1, connection.cancel)
    timer.start()
    with rejected("57014"):
        connection.execute("SELECT pg_sleep(%s)", (PATIENCE_SECONDS,))
    timer.join()
    check(one(connection, "SELECT %s::int", (place.number,)), place.number)


def connection_per_piece(_: Connection, place: Place) -> None:
    with psycopg.connect("", application_name=place.name("short"), options="-c work_mem=78kB") as connection:
        check(one(connection, "SHOW application_name"), place.name("short"))
        check(one(connection, "SHOW work_mem"), "78kB")
        connection.execute("INSERT INTO item (owner, kind, value) VALUES (%s, 'short', 1)", (place.number,))
    with psycopg.connect("") as connection, connection.transaction():
        found = one(connection, "SELECT count(*) FROM item WHERE owner = %s AND kind = 'short'", (place.number,))
        check(found, 1, "what another connection has committed, read by a transaction")


def target_session_attributes(_: Connection, place: Place) -> None:
    for attributes in ("any", "read-write", "primary", "prefer-standby"):
        with psycopg.connect("", target_session_attrs=attributes, autocommit=True) as connection:
            check(one(connection, "SHOW transaction_read_only"), "off", attributes)
            check(one(connection, "SELECT pg_is_in_recovery()"), False, attributes)
    for attributes in ("read-only", "standby"):
        try:
            psycopg.connect("", target_session_attrs=attributes).close()
            raise WrongAnswer(f"let in as {attributes}")
        except psycopg.OperationalError as error:
            check("not read-only" in str(error) or "not in hot standby" in str(error), True, str(error))
    read_only = "-c default_transaction_read_only=on"
    with psycopg.connect("", target_session_attrs="read-only", options=read_only) as connection:
        check(one(connection, "SELECT count(*) FROM place"), 1)
        with rejected("25006"):
            connection.execute("INSERT INTO place VALUES ('no')")


def async_connections(_: Connection, place: Place) -> None:
    async def ask(number: int) -> None:
        async with await psycopg.AsyncConnection.connect("") as connection:
            async with connection.transaction():
                cursor = await connection.execute("SELECT %s::int", (number,))
                check((await cursor.fetchone())[0], number)

    async def ask_all() -> None:
        await asyncio.gather(*[ask(place.number + number) for number in range(3)])

    asyncio.run(ask_all())


PIECES: list[Callable[[Connection, Place], None]] = [
    autocommit_reads_its_writes, transactions_commit_roll_back_and_nest, without_autocommit, pipelines, executemany_returns,
    server_side_cursors, copy_both_ways, copy_that_fails, prepared_statements_come_and_go, settings_follow,
    errors_leave_the_connection_usable, isolation_and_read_only, types_in_text_and_binary,
    temporary_tables_and_advisory_locks, notifications_arrive, cancelling, connection_per_piece, target_session_attributes,
    async_connections,
]  # fmt: skip


def prepare() -> None:
    with psycopg.connect("", autocommit=True) as connection:
        connection.execute(TABLES)


def work() -> None:
    def discard(connection: Connection) -> None:
        connection.autocommit = True
        connection.execute("DISCARD ALL")
        connection.autocommit = False

    # DISCARD ALL takes prepared statements with it, of which psycopg would not know.
    reset = ConnectionPool("", kwargs={"prepare_threshold": None}, min_size=1, max_size=WORKERS, reset=discard)

    def worker(number: int) -> None:
        with psycopg.connect("", autocommit=True) as connection:
            for round_ in range(ROUNDS):
                place = Place(number, round_)
                for piece in order(PIECES, place):
                    piece(connection, place)
                with reset.connection() as pooled:
                    pooled.autocommit = True
                    settings_follow(pooled, Place(number, round_ + ROUNDS))
                    pooled.execute("SET application_name = 'left behind'")
                    pooled.autocommit = False
        with reset.connection() as pooled:
            check(one(pooled, "SHOW application_name"), "")

    with reset:
        in_threads(worker)
    if not ONLY:
        with psycopg.connect("") as connection, connection.transaction():
            check(one(connection, "SELECT count(*) FROM item WHERE kind = 'copy'"), WORKERS * ROUNDS * 1000)


if __name__ == "__main__":
    main(f"psycopg {psycopg.__version__}", prepare, work)
