#!/usr/bin/env python3
"""SQLAlchemy: pools that roll back what they get back, the ORM, isolation levels, streaming, over each of its drivers."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import sqlalchemy
from sqlalchemy import Column, ForeignKey, Integer, String, UniqueConstraint, create_engine, event, func, insert, select, text, update
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.orm import Session, declarative_base, relationship, selectinload
from sqlalchemy.orm.exc import StaleDataError

from work import (
    DATABASE, HOST, PORT, ROUNDS, USER, WORKERS, Place, WrongAnswer, check, in_threads, main, order, rejected,
)  # fmt: skip

Engine = sqlalchemy.engine.Engine
Base: Any = declarative_base()


class Author(Base):
    __tablename__ = "author"
    __table_args__ = (UniqueConstraint("name"),)
    id = Column(Integer, primary_key=True)
    name = Column(String, nullable=False)
    version = Column(Integer, nullable=False)
    books = relationship("Book", back_populates="author", cascade="all, delete-orphan", order_by="Book.title")
    # An UPDATE that finds another version touches no row, and the ORM says so.
    __mapper_args__ = {"version_id_col": version}


class Book(Base):
    __tablename__ = "book"
    id = Column(Integer, primary_key=True)
    title = Column(String, nullable=False)
    pages = Column(Integer, nullable=False)
    author_id = Column(ForeignKey("author.id"), nullable=False)
    author = relationship("Author", back_populates="books")


class Counter(Base):
    __tablename__ = "counter"
    id = Column(Integer, primary_key=True)
    value = Column(Integer, nullable=False)


# The second drivers are there in the versions that have them.
DIALECTS = ["psycopg2"] + (["psycopg"] if sqlalchemy.__version__ >= "2" and find_spec("psycopg") else [])

# Were every worker in a transaction and wanted another one besides, none would ever get it.
two_transactions = threading.Lock()


def address(dialect: str) -> str:
    return f"postgresql+{dialect}://{USER}@{HOST}:{PORT}/{DATABASE}"


def orm_unit_of_work(engine: Engine, place: Place) -> None:
    name = place.name(engine.driver)
    with Session(engine, future=True) as session:
        author = Author(name=name, books=[Book(title=f"t{n}", pages=n) for n in range(10)])
        session.add(author)
        session.commit()
        # The commit has expired it: this reads it again.
        check(author.name, name)
        check([book.pages for book in author.books], list(range(10)))
        author.books[3].pages = 100
        del author.books[0]
        session.commit()
        query = select(func.count(), func.sum(Book.pages)).where(Book.author_id == author.id)
        check(tuple(session.execute(query).one()), (9, 142))
    with Session(engine, future=True) as session:
        # The ORM's sessions are transactions, which read from the primary.
        query = select(Author).where(Author.name == name).options(selectinload(Author.books))
        check(len(session.execute(query).scalar_one().books), 9, "what another connection has committed")


def savepoints(engine: Engine, place: Place) -> None:
    name = place.name("savepoint" + engine.driver)
    with Session(engine, future=True) as session:
        session.add(Author(name=name))
        session.flush()
        with rejected("23505"), session.begin_nested():
            session.add(Author(name=name))
            session.flush()
        with session.begin_nested() as nested:
            session.add(Author(name=name + "b"))
            session.flush()
            nested.rollback()
        session.commit()
        count = session.execute(select(func.count()).where(Author.name.like(name + "%"))).scalar_one()
        check(count, 1)


def versions_conflict(engine: Engine, place: Place) -> None:
    name = place.name("version" + engine.driver)
    with two_transactions, Session(engine, future=True) as session:
        author = Author(name=name)
        session.add(author)
        session.commit()
        check(author.version, 1)
        with engine.begin() as other:
            other.execute(update(Author.__table__).where(Author.name == name).values(version=7))
        author.name = name + "!"
        try:
            session.commit()
            raise WrongAnswer("overwrote another version")
        except StaleDataError:
            session.rollback()
        check((author.name, author.version), (name, 7))
        author.name = name + "!"
        session.commit()
        check(author.version, 8)


def core_transactions(engine: Engine, place: Place) -> None:
    key = place.number * 10 + DIALECTS.index(engine.driver)
    with engine.begin() as connection:
        connection.execute(insert(Counter.__table__), [{"id": key, "value": 0}])
    for _ in range(5):
        with engine.begin() as connection:
            value = connection.execute(select(Counter.value).where(Counter.id == key).with_for_update()).scalar_one()
            connection.execute(update(Counter.__table__).where(Counter.id == key).values(value=value + 1))
    with rejected("22012"), engine.begin() as connection:
        connection.execute(update(Counter.__table__).where(Counter.id == key).values(value=1000))
        connection.execute(text("SELECT 1 / 0"))
    with engine.begin() as connection:
        query = select(Counter.value).where(Counter.id == key).with_for_update(read=True)
        check(connection.execute(query).scalar_one(), 5)


def isolation_levels(engine: Engine, place: Place) -> None:
    for level in ("READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"):
        with engine.connect().execution_options(isolation_level=level) as connection:
            check(connection.execute(text("SHOW transaction_isolation")).scalar_one(), level.lower())
            check(connection.execute(text("SELECT count(*) FROM fixed")).scalar_one(), 1000)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        key = -1 - (place.number * 10 + DIALECTS.index(engine.driver))
        connection.execute(insert(Counter.__table__), [{"id": key, "value": 1}])
        check(connection.execute(select(Counter.value).where(Counter.id == key)).scalar_one(), 1)
    # Given back to the pool, a connection has its engine's level again.
    with engine.connect() as connection:
        check(connection.execute(text("SHOW transaction_isolation")).scalar_one(), "read committed")


def read_only(engine: Engine, place: Place) -> None:
    options = {"postgresql_readonly": True, "postgresql_deferrable": True, "isolation_level": "REPEATABLE READ"}
    with engine.connect().execution_options(**options) as connection:
        check(connection.execute(text("SHOW transaction_read_only")).scalar_one(), "on")
        check(connection.execute(text("SELECT sum(n) FROM fixed")).scalar_one(), 500_500)
        with rejected("25006"):
            connection.execute(insert(Counter.__table__), [{"id": -(10**9), "value": 1}])
    with engine.connect() as connection:
        check(connection.execute(text("SHOW transaction_read_only")).scalar_one(), "off")


def streaming(engine: Engine, place: Place) -> None:
    with engine.connect().execution_options(stream_results=True, max_row_buffer=50) as connection:
        result = connection.execute(text("SELECT n FROM fixed ORDER BY n"))
        check(sum(row[0] for row in result), 500_500)
        sizes = [len(rows) for rows in connection.execute(text("SELECT n FROM fixed")).partitions(300)]
        check(sizes, [300, 300, 300, 100])


def settings_by_session(engine: Engine, place: Place) -> None:
    with engine.connect() as connection:
        connection.execute(text("SET LOCAL work_mem = '77kB'"))
        check(connection.execute(text("SHOW work_mem")).scalar_one(), "77kB")
        connection.execute(text("SET search_path = elsewhere"))
        check(connection.execute(text("SELECT name FROM place")).scalar_one(), "elsewhere")
    # Neither was committed: the pool's rollback has taken back both.
    with engine.connect() as connection:
        check(connection.execute(text("SELECT name FROM place")).scalar_one(), "here")
        check(connection.execute(text("SHOW work_mem")).scalar_one(), "4MB")
        check(connection.execute(text("SHOW application_name")).scalar_one(), "set on connect")


def many_rows(engine: Engine, place: Place) -> None:
    name = place.name("many" + engine.driver)
    with engine.begin() as connection:
        author = connection.execute(insert(Author.__table__).returning(Author.id), {"name": name, "version": 1}).scalar_one()
        connection.execute(insert(Book.__table__), [{"title": str(n), "pages": n, "author_id": author} for n in range(500)])
    with engine.begin() as connection:
        connection.execute(text("DELETE FROM book WHERE author_id = :author AND pages % 2 = 1"), {"author": author})
        check(connection.execute(select(func.sum(Book.pages)).where(Book.author_id == author)).scalar_one(), 62_250)


def inspection(engine: Engine, place: Place) -> None:
    inspector = sqlalchemy.inspect(engine)
    check({column["name"] for column in inspector.get_columns("book")}, {"id", "title", "pages", "author_id"})
    check(inspector.get_foreign_keys("book")[0]["referred_table"], "author")
    check(inspector.get_pk_constraint("author")["constrained_columns"], ["id"])


PIECES: list[Callable[[Engine, Place], None]] = [
    orm_unit_of_work, savepoints, versions_conflict, core_transactions, isolation_levels, read_only, streaming,
    settings_by_session, many_rows, inspection,
]  # fmt: skip


async def asynchronously() -> None:
    engine = create_async_engine(address("asyncpg"), pool_size=3, max_overflow=2)

    async def worker(number: int) -> None:
        for round_ in range(ROUNDS * 3):
            async with engine.begin() as connection:
                key = 10**8 + Place(number, round_).number
                await connection.execute(insert(Counter.__table__), [{"id": key, "value": 1}])
                check((await connection.execute(select(Counter.value).where(Counter.id == key))).scalar_one(), 1)
            async with engine.connect() as connection:
                result = await connection.stream(text("SELECT n FROM fixed"))
                check(sum([row[0] async for row in result]), 500_500)

    await asyncio.gather(*[worker(number) for number in range(WORKERS)])
    await engine.dispose()


def pooled(dialect: str) -> Engine:
    engine = create_engine(address(dialect), future=True, pool_size=3, max_overflow=WORKERS, pool_pre_ping=True)

    @event.listens_for(engine, "connect")
    def on_connect(connection: Any, _: Any) -> None:
        connection.autocommit = True
        cursor = connection.cursor()
        cursor.execute("SET application_name = 'set on connect'")
        cursor.close()
        connection.autocommit = False

    return engine


def prepare() -> None:
    engine = create_engine(address("psycopg2"), future=True)
    Base.metadata.create_all(engine)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE fixed AS SELECT generate_series(1, 1000) AS n"))
        connection.execute(text("CREATE TABLE place AS SELECT 'here'::text AS name; CREATE SCHEMA elsewhere"))
        connection.execute(text("CREATE TABLE elsewhere.place AS SELECT 'elsewhere'::text AS name"))


def work() -> None:
    engines = [pooled(dialect) for dialect in DIALECTS]

    def worker(number: int) -> None:
        for round_ in range(ROUNDS):
            place = Place(number, round_)
            for piece in order(PIECES, place):
                for engine in engines:
                    piece(engine, place)

    in_threads(worker)
    asyncio.run(asynchronously())


if __name__ == "__main__":
    main(f"SQLAlchemy {sqlalchemy.__version__} ({', '.join([*DIALECTS, 'asyncpg'])})", prepare, work)
