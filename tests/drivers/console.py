"""Python's drivers on the console: each as it comes, in text and in binary, with and without transactions of its own.

Prints one line for each driver, and fails at the first answer that is not right.
"""

import asyncio
import sys
from decimal import Decimal

import asyncpg
import psycopg
import psycopg2

# A table for each type of column that there is.
TABLES = ("CLIENTS", "PINS", "POOLS", "SERVERS", "NODES", "DATABASES", "STATS", "LISTS", "CONFIG", "MEM", "STATE")


def check(condition: object, what: object) -> None:
    if not condition:
        sys.exit(f"console.py: {what!r}")


def check_lists(rows: list) -> None:
    lists = dict(tuple(row) for row in rows)
    check(isinstance(lists["databases"], int) and lists["used_clients"] >= 1, lists)


def with_psycopg(autocommit: bool) -> None:
    with psycopg.connect("dbname=pgweir", autocommit=autocommit) as connection:
        for binary in (False, True):
            for table in TABLES:
                cursor = connection.execute(f"SHOW {table}", binary=binary)
                check(cursor.description is not None, table)
            check_lists(connection.execute("SHOW LISTS", binary=binary).fetchall())
            stats = connection.execute("SHOW STATS", binary=binary).fetchall()
            check(all(isinstance(row[1], Decimal) for row in stats), stats)
            nodes = connection.execute("SHOW NODES", binary=binary)
            column = [column.name for column in nodes.description].index("writes")
            check(sum(row[column] is True for row in nodes.fetchall()) == 1, "one node for writes")
        try:
            connection.execute("SELECT 1")
            sys.exit("console.py: SELECT did not fail")
        except psycopg.errors.SyntaxError as error:
            check("SHOW HELP" in (error.diag.message_hint or ""), error)
        connection.rollback()
        with connection.pipeline():
            answers = [connection.execute("SHOW VERSION") for _ in range(3)]
            check(len({answer.fetchone() for answer in answers}) == 1, "three versions")
        # Often enough to be prepared.
        for _ in range(8):
            connection.execute("SHOW VERSION", prepare=True)


def with_psycopg2() -> None:
    connection = psycopg2.connect("dbname=pgweir")
    with connection, connection.cursor() as cursor:
        for table in TABLES:
            cursor.execute(f"SHOW {table}")
            cursor.fetchall()
        cursor.execute("SHOW LISTS")
        check_lists(cursor.fetchall())
    connection.close()


async def with_asyncpg() -> None:
    connection = await asyncpg.connect(database="pgweir")
    for table in TABLES:
        await connection.fetch(f"SHOW {table}")
    check_lists(await connection.fetch("SHOW LISTS"))
    async with connection.transaction():
        check(str(await connection.fetchval("SHOW VERSION")).startswith("pgweir "), "version")
        rows = [row async for row in connection.cursor("SHOW CONFIG", prefetch=7)]
        check(len(rows) > 40, len(rows))
    check(await connection.execute("SHOW HELP") == "SHOW", "SHOW HELP")
    await connection.close()


def main() -> None:
    for autocommit in (True, False):
        with_psycopg(autocommit)
    print("psycopg", psycopg.__version__)
    with_psycopg2()
    print("psycopg2", psycopg2.__version__)
    asyncio.run(with_asyncpg())
    print("asyncpg", asyncpg.__version__)


if __name__ == "__main__":
    main()
