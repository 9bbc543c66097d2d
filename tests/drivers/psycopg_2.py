#!/usr/bin/env python3
"""psycopg2: implicit transactions, named cursors, COPY, notifications, its threaded pool."""

from __future__ import annotations

import io
import select
import threading
from collections.abc import Callable
from typing import Any

import psycopg2
from psycopg2 import extensions
from psycopg2.extras import DictCursor, execute_batch, execute_values
from psycopg2.pool import ThreadedConnectionPool

from work import PATIENCE_SECONDS, ROUNDS, WORKERS, Place, check, in_threads, main, order, rejected

Connection = Any

TABLES = """
    CREATE TABLE item (id bigserial PRIMARY KEY, owner int NOT NULL, kind text NOT NULL, value bigint);
    CREATE SCHEMA elsewhere;
    CREATE TABLE elsewhere.place AS SELECT 'elsewhere'::text AS name;
    CREATE TABLE place AS SELECT 'here'::text AS name"""

listening = threading.Lock()


def one(connection: Connection, query: str, parameters: Any = None) -> Any:
    """The only value of the only row."""
    with connection.cursor() as cursor:
        cursor.execute(query, parameters)
        row = cursor.fetchone()
        return row and row[0]


def run(connection: Connection, query: str, parameters: Any = None) -> None:
    with connection.cursor() as cursor:
        cursor.execute(query, parameters)


def transactions_by_with(connection: Connection, place: Place) -> None:
    with connection:
        run(connection, "INSERT INTO item (owner, kind, value) VALUES (%s, 'with', 1)", (place.number,))
        check(one(connection, "SELECT count(*) FROM item WHERE owner = %s AND kind = 'with'", (place.number,)), 1)
    with rejected("22012"), connection:
        run(connection, "INSERT INTO item (owner, kind, value) VALUES (%s, 'with', 2)", (place.number,))
        run(connection, "SELECT 1 / 0")
    with connection:
        check(one(connection, "SELECT sum(value) FROM item WHERE owner = %s AND kind = 'with'", (place.number,)), 1)
        run(connection, "SAVEPOINT a")
        with rejected("42P01"):
            run(connection, "SELECT * FROM nowhere")
        with rejected("25P02"):
            run(connection, "SELECT 1")
        run(connection, "ROLLBACK TO a")
        check(one(connection, "SELECT 1"), 1)


def autocommit(connection: Connection, place: Place) -> None:
    connection.autocommit = True
    try:
        for value in range(5):
            run(connection, "INSERT INTO item (owner, kind, value) VALUES (%s, 'auto', %s)", (place.number, value))
            found = one(connection, "SELECT count(*) FROM item WHERE owner = %s AND kind = 'auto'", (place.number,))
            check(found, value + 1, "own writes")
        check(connection.info.transaction_status, extensions.TRANSACTION_STATUS_IDLE)
        with rejected("22012"):
            run(connection, "SELECT 1; SELECT 1 / 0; SELECT 2")
        check(one(connection, "SELECT 1; SELECT 2"), 2, "the last of several")
    finally:
        connection.autocommit = False


def named_cursors(connection: Connection, place: Place) -> None:
    with connection, connection.cursor(place.name("cursor"), cursor_factory=DictCursor) as cursor:
        cursor.itersize = 30
        cursor.execute("SELECT n, n * 2 AS twice FROM generate_series(1, 100) n")
        check(sum(row["twice"] for row in cursor), 10_100)
    with connection:
        cursor = connection.cursor(place.name("hold"), withhold=True)
        cursor.execute("SELECT generate_series(1, 100)")
        check(len(cursor.fetchmany(10)), 10)
    with connection:
        check(one(connection, "SELECT count(*) FROM place"), 1)
    with connection:
        check(len(cursor.fetchall()), 90, "a cursor that outlives its transaction")
        cursor.close()
        run(connection, "CLOSE ALL")


def copy(connection: Connection, place: Place) -> None:
    rows = "".join(f"{place.number}\tcopy\t{value}\n" for value in range(1000))
    with connection, connection.cursor() as cursor:
        cursor.copy_expert("COPY item (owner, kind, value) FROM STDIN", io.StringIO(rows))
        check(cursor.rowcount, 1000)
        got = io.StringIO()
        query = f"COPY (SELECT owner, kind, value FROM item WHERE owner = {place.number} AND kind = 'copy' ORDER BY value) TO STDOUT"
        cursor.copy_expert(query, got)
        check(got.getvalue(), rows)
    with rejected("22P02"), connection, connection.cursor() as cursor:
        cursor.copy_expert("COPY item (owner, kind, value) FROM STDIN", io.StringIO("x\ty\tz\n"))
    with connection, connection.cursor() as cursor:
        got = io.StringIO()
        cursor.copy_expert(query, got)
        check(got.getvalue(), rows, "COPY as first statement")


def many_rows(connection: Connection, place: Place) -> None:
    rows = [(place.number, "many", value) for value in range(300)]
    with connection, connection.cursor() as cursor:
        returned = execute_values(cursor, "INSERT INTO item (owner, kind, value) VALUES %s RETURNING value", rows, fetch=True)
        check(sum(row[0] for row in returned), 44_850)
        execute_batch(cursor, "UPDATE item SET value = -value WHERE owner = %s AND kind = %s AND value = %s", rows[:50])
    with connection:
        query = "SELECT sum(value) FROM item WHERE owner = %s AND kind = 'many'"
        check(one(connection, query, (place.number,)), 44_850 - 2 * 1225)


def settings_follow(connection: Connection, place: Place) -> None:
    connection.autocommit = True
    try:
        connection.set_client_encoding("LATIN1")
        run(connection, "SET search_path TO elsewhere; SET DateStyle TO 'SQL, DMY'; SET IntervalStyle TO iso_8601")
        for _ in range(3):
            check(one(connection, "SELECT 'é' || name FROM place"), "éelsewhere")
            check(one(connection, "SELECT date '2026-01-31'::text"), "31/01/2026")
            check(one(connection, "SELECT interval '1 day 2 hours'::text"), "P1DT2H")
        connection.set_client_encoding("UTF8")
        run(connection, "RESET search_path; RESET DateStyle; RESET IntervalStyle")
        check(one(connection, "SELECT name || '🐢' FROM place"), "here🐢")
        check(one(connection, "SELECT date '2026-01-31'::text"), "2026-01-31")
    finally:
        connection.autocommit = False


def session_modes(connection: Connection, place: Place) -> None:
    connection.set_session(isolation_level="SERIALIZABLE", readonly=True, deferrable=True)
    with connection:
        check(one(connection, "SHOW transaction_isolation"), "serializable")
        check(one(connection, "SHOW transaction_read_only"), "on")
        check(one(connection, "SELECT count(*) FROM place"), 1)
    connection.set_session(isolation_level="REPEATABLE READ", readonly=True, deferrable=False)
    with connection:
        check(one(connection, "SELECT count(*) FROM place"), 1)
        with rejected("25006"):
            run(connection, "INSERT INTO place VALUES ('no')")
    connection.set_session(isolation_level="DEFAULT", readonly="DEFAULT", deferrable="DEFAULT")
    with connection:
        check(one(connection, "SHOW transaction_isolation"), "read committed")
        check(one(connection, "SHOW transaction_read_only"), "off")
    # In autocommit the same goes by way of SET default_transaction_read_only.
    connection.set_session(readonly=True, autocommit=True)
    check(one(connection, "SHOW default_transaction_read_only"), "on")
    check(one(connection, "SELECT count(*) FROM place"), 1)
    with rejected("25006"):
        run(connection, "INSERT INTO place VALUES ('no')")
    connection.set_session(readonly="DEFAULT", autocommit=False)


def notifications(connection: Connection, place: Place) -> None:
    channel = place.name("channel")
    connection.autocommit = True
    try:
        with listening:
            run(connection, f"LISTEN {channel}")
            run(connection, f"NOTIFY {channel}, 'own'")
            while not connection.notifies:
                check(select.select([connection], [], [], PATIENCE_SECONDS)[0], [connection], "a notification in time")
                connection.poll()
            check(connection.notifies.pop().payload, "own")
            run(connection, "UNLISTEN *")
    finally:
        connection.autocommit = False


def cancelling(connection: Connection, place: Place) -> None:
    is_over = threading.Event()

    def cancel() -> None:
        # One that comes before the statement does is lost.
        while not is_over.wait(0.2):
            connection.cancel()

    canceller = threading.Thread(target=cancel)
    canceller.start()
    with rejected("57014"), connection:
        try:
            run(connection, "SELECT pg_sleep(%s)", (PATIENCE_SECONDS,))
        finally:
            is_over.set()
            canceller.join()
    with connection:
        check(one(connection, "SELECT %s::int", (place.number,)), place.number)


def large_objects(connection: Connection, place: Place) -> None:
    content = bytes(range(256)) * 300
    with connection:
        written = connection.lobject(0, "wb")
        written.write(content)
        written.close()
    with connection:
        check(connection.lobject(written.oid, "rb").read(), content)
        connection.lobject(written.oid).unlink()


def two_phase_commit(connection: Connection, place: Place) -> None:
    identifier = connection.xid(place.number, place.name("global"), "branch")
    insert = "INSERT INTO item (owner, kind, value) VALUES (%s, 'two-phase', 1)"
    count = "SELECT count(*) FROM item WHERE owner = %s AND kind = 'two-phase'"
    with connection:
        before = one(connection, count, (place.number,))
    for finish, more in ((connection.tpc_rollback, 0), (connection.tpc_commit, 1)):
        connection.tpc_begin(identifier)
        run(connection, insert, (place.number,))
        connection.tpc_prepare()
        finish()
        with connection:
            check(one(connection, count, (place.number,)), before + more)


def reset_between_uses(connection: Connection, place: Place) -> None:
    run(connection, "SET application_name TO 'left behind'")
    connection.commit()
    connection.reset()
    check(one(connection, "SHOW application_name"), "")
    connection.rollback()


PIECES: list[Callable[[Connection, Place], None]] = [
    transactions_by_with, autocommit, named_cursors, copy, many_rows, settings_follow, session_modes, notifications,
    cancelling, large_objects, two_phase_commit, reset_between_uses,
]  # fmt: skip


def prepare() -> None:
    connection = psycopg2.connect("")
    with connection:
        run(connection, TABLES)
    connection.close()


def work() -> None:
    pool = ThreadedConnectionPool(1, WORKERS, "")

    def worker(number: int) -> None:
        for round_ in range(ROUNDS):
            place = Place(number, round_)
            for piece in order(PIECES, place):
                # putconn rolls back what is open; the settings of whoever had it before stay.
                connection = pool.getconn()
                piece(connection, place)
                pool.putconn(connection)

    in_threads(worker)
    pool.closeall()


if __name__ == "__main__":
    main(f"psycopg2 {psycopg2.__version__.split()[0]}", prepare, work)
