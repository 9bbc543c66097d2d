"""What the driver programs in Python have in common.

A program is called twice. `prepare` makes its tables; `work` runs its pieces of work, each in every round, by several
workers at once and in an order that differs from worker to worker, so that server connections change hands between
clients that have just done different things. A wrong answer or an error ends it with exit code 1; otherwise its last line
says how many answers were checked. PGHOST, PGPORT, PGUSER and PGDATABASE say where, DRIVERS_WORKERS and DRIVERS_ROUNDS
how much, DRIVERS_ONLY (a part of a name) which pieces.
"""

from __future__ import annotations

import os
import random
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

WORKERS = int(os.environ.get("DRIVERS_WORKERS", "6"))
ROUNDS = int(os.environ.get("DRIVERS_ROUNDS", "2"))

HOST = os.environ.get("PGHOST", "127.0.0.1")
PORT = int(os.environ.get("PGPORT", "6432"))
USER = os.environ.get("PGUSER", "postgres")
DATABASE = os.environ.get("PGDATABASE", "postgres")

ONLY = os.environ.get("DRIVERS_ONLY", "")


# How long anything may take that comes from somebody else: a notification, a replica.
PATIENCE_SECONDS = 30

_lock = threading.Lock()
_checks = 0


class WrongAnswer(Exception):
    """An answer that is not the one PostgreSQL gives."""


def check(got: Any, want: Any, what: str = "") -> None:
    """Compares an answer with the right one."""
    global _checks
    if got != want:
        raise WrongAnswer(f"{what or 'answer'}: got {got!r}, want {want!r}")
    with _lock:
        _checks += 1


@contextmanager
def rejected(sqlstate: str, what: str = "") -> Iterator[None]:
    """The statement in it must fail with this SQLSTATE."""
    try:
        yield
    except Exception as error:
        # psycopg2 and the drivers beneath an ORM say `pgcode`, and the ORM wraps its driver's error.
        original = getattr(error, "orig", None) or getattr(error, "__cause__", None) or error
        codes = [getattr(e, name, None) for e in (error, original) for name in ("sqlstate", "pgcode")]
        got = next((code for code in codes if code), None)
        if got is None:
            raise
        check(got, sqlstate, what or "SQLSTATE")
    else:
        raise WrongAnswer(f"{what or 'a statement'} went through; want SQLSTATE {sqlstate}")


class Place:
    """Whose turn it is: one worker's round. Names and values made of it are nobody else's."""

    def __init__(self, worker: int, round_: int) -> None:
        self.worker = worker
        self.round = round_

    @property
    def number(self) -> int:
        return self.worker * 100_000 + self.round

    def name(self, prefix: str) -> str:
        return f"{prefix}_{self.worker}_{self.round}"


Piece = Callable[..., Any]


def order(pieces: Sequence[Piece], place: Place) -> list[Piece]:
    """The pieces in this worker's order: disorder that is the same in every run."""
    chosen = [piece for piece in pieces if ONLY in piece.__name__]
    return random.Random(place.number).sample(chosen, len(chosen))


def in_threads(worker: Callable[[int], None]) -> None:
    """Runs so many workers at once; the first error of any is raised."""
    with ThreadPoolExecutor(WORKERS) as threads:
        for future in [threads.submit(worker, number) for number in range(WORKERS)]:
            future.result()


def main(driver: str, prepare: Callable[[], None], work: Callable[[], None]) -> None:
    """Does what the command line says."""
    what = {"prepare": prepare, "work": work}[sys.argv[1]]
    try:
        what()
    except Exception:
        traceback.print_exc()
        sys.stderr.flush()
        # Not sys.exit: workers that still wait for a server must not hold up the news.
        os._exit(1)
    print(f"{driver}: {_checks} answers checked")
