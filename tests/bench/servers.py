"""A primary and its streaming replicas, and whatever else a benchmark runs beside them.

Everything lives in a `Workplace`: one directory, one unprivileged account (PostgreSQL and PgBouncer refuse root),
ports on loopback below the range that the kernel hands out by itself. Leaving the workplace stops what was started in
it and removes the directory.
"""

from __future__ import annotations

import glob
import os
import pwd
import random
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

LOOPBACK = "127.0.0.1"
DATABASE = "bench"
SUPERUSER = "postgres"

# Linux hands out ports from 32768 on by itself (ip_local_port_range): below it nobody takes one by chance.
PORTS = range(21_000, 32_768)

START_SECONDS = 60
STOP_SECONDS = 20
POLL_SECONDS = 0.05

PRIMARY_SETTINGS = f"""
listen_addresses = '{LOOPBACK}'
max_connections = 200
shared_buffers = '256MB'
wal_level = replica
max_wal_senders = 10
hot_standby = on
fsync = off
synchronous_commit = off
full_page_writes = off
autovacuum = off
checkpoint_timeout = '1h'
max_wal_size = '4GB'
jit = off
log_min_messages = error
"""


class BenchError(Exception):
    """Something the benchmark needs did not work; the message says what, and shows the program's own words."""


@dataclass(frozen=True)
class Account:
    """The user that servers and poolers run as."""

    uid: int
    gid: int

    @staticmethod
    def unprivileged() -> Account:
        """The caller, unless the caller is root: then `postgres`, which Debian's package makes, or `nobody`."""
        if os.geteuid() != 0:
            return Account(os.geteuid(), os.getegid())
        for name in (SUPERUSER, "nobody"):
            try:
                entry = pwd.getpwnam(name)
                return Account(entry.pw_uid, entry.pw_gid)
            except KeyError:
                continue
        raise BenchError("running as root, and there is neither a user `postgres` nor `nobody` to drop to")


@dataclass
class Program:
    """A program that runs in the background and writes to a log of its own."""

    name: str
    popen: subprocess.Popen[Any]
    log: Path
    stop_signal: signal.Signals

    @property
    def pid(self) -> int:
        return self.popen.pid

    def require_running(self) -> None:
        if self.popen.poll() is not None:
            tail = self.log.read_text(errors="replace")[-2000:]
            raise BenchError(f"{self.name} ended with status {self.popen.returncode}:\n{tail}")

    def stop(self) -> None:
        if self.popen.poll() is not None:
            return
        self.popen.send_signal(self.stop_signal)
        try:
            self.popen.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.popen.kill()
            self.popen.wait()


@dataclass
class Workplace:
    """Where one run of a benchmark happens; a context manager."""

    account: Account = field(default_factory=Account.unprivileged)
    directory: Path = field(default_factory=lambda: Path(tempfile.mkdtemp(prefix="pgweir-bench-")))
    programs: list[Program] = field(default_factory=list)
    taken_ports: set[int] = field(default_factory=set)

    def __enter__(self) -> Workplace:
        os.chown(self.directory, self.account.uid, self.account.gid)
        return self

    def __exit__(self, *_failure: object) -> None:
        for program in reversed(self.programs):
            program.stop()
        shutil.rmtree(self.directory, ignore_errors=True)

    def popen_arguments(self) -> dict[str, Any]:
        """How every program is started: as the account, in the directory, blind to the caller's PG* variables."""
        arguments: dict[str, Any] = {
            "cwd": self.directory,
            "env": {"HOME": str(self.directory), "PATH": os.environ["PATH"], "LC_ALL": "C"},
            "stdin": subprocess.DEVNULL,
            "start_new_session": True,  # Ctrl-C reaches the benchmark alone, which then stops its programs in order
        }
        if os.geteuid() == 0:
            arguments |= {"user": self.account.uid, "group": self.account.gid, "extra_groups": []}
        return arguments

    def run(self, *command: object) -> str:
        """Runs a command to its end and returns what it printed."""
        done: subprocess.CompletedProcess[str] = subprocess.run(
            [str(word) for word in command],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            **self.popen_arguments(),
        )
        if done.returncode != 0:
            raise BenchError(f"{' '.join(map(str, command))}\n{done.stdout[-2000:]}")
        return done.stdout

    def start(self, name: str, *command: object, stop_signal: signal.Signals = signal.SIGTERM) -> Program:
        """Starts a program that is stopped when the workplace is left."""
        log = self.directory / f"{name}.log"
        with log.open("wb") as sink:
            popen = subprocess.Popen(
                [str(word) for word in command],
                stdout=sink,
                stderr=subprocess.STDOUT,
                **self.popen_arguments(),
            )
        program = Program(name, popen, log, stop_signal)
        self.programs.append(program)
        return program

    def stop(self, program: Program) -> None:
        program.stop()
        self.programs.remove(program)

    def write(self, name: str, text: str) -> Path:
        """Writes a file that the account may read."""
        path = self.directory / name
        path.write_text(text, encoding="utf-8")
        os.chown(path, self.account.uid, self.account.gid)
        return path

    def adopt(self, binary: Path) -> Path:
        """Copies a program to where the account may run it: root's home is closed to others."""
        copy = self.directory / binary.name
        if not copy.exists():
            shutil.copy2(binary, copy)
            copy.chmod(0o755)
        return copy

    def port(self) -> int:
        """A free port that this run has not given out yet."""
        for candidate in random.sample(PORTS, len(PORTS)):
            if candidate not in self.taken_ports and is_free(candidate):
                self.taken_ports.add(candidate)
                return candidate
        raise BenchError(f"no free port from {PORTS.start} to {PORTS.stop - 1}")


def version_in(text: str) -> str:
    """The version number that a program's `--version` tells."""
    match = re.search(r"\d+(\.\d+)+", text)
    if match is None:
        raise BenchError(f"no version number in: {text}")
    return match[0]


def is_free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def postgres_binaries() -> Path:
    """The directory of the newest PostgreSQL server here."""
    debian = glob.glob("/usr/lib/postgresql/*/bin/initdb")
    if debian:
        return Path(max(debian, key=lambda path: float(path.split("/")[4]))).parent
    found = shutil.which("initdb")
    if found is None:
        raise BenchError("no PostgreSQL server here (initdb); `scripts/setup servers` installs one")
    return Path(found).resolve().parent


@dataclass(frozen=True)
class Cluster:
    """A primary and its replicas, all serving the database `bench`."""

    workplace: Workplace
    binaries: Path
    primary: int
    replicas: tuple[int, ...]

    @staticmethod
    def start(workplace: Workplace, replicas: int, scale: int) -> Cluster:
        """Starts the servers and fills pgbench's tables; returns when every replica has replayed them."""
        binaries = postgres_binaries()
        ports = [workplace.port() for _ in range(1 + replicas)]
        cluster = Cluster(workplace, binaries, ports[0], tuple(ports[1:]))
        cluster._start_primary()
        for port in cluster.replicas:
            cluster._start_replica(port)
        cluster._fill(scale)
        return cluster

    @property
    def version(self) -> str:
        return version_in(self.workplace.run(self.binaries / "postgres", "--version"))

    @property
    def nodes(self) -> tuple[int, ...]:
        return (self.primary, *self.replicas)

    def query(self, port: int, sql: str, database: str = DATABASE) -> str:
        """The single value that a query returns."""
        connection = ("-h", LOOPBACK, "-p", port, "-U", SUPERUSER, "-d", database)
        psql = self.binaries / "psql"
        return self.workplace.run(psql, "-XAtq", *connection, "-c", sql).strip()

    def wait_for(self, port: int, sql: str, program: Program, database: str = DATABASE) -> None:
        """Waits until the query answers `t`."""
        deadline = time.monotonic() + START_SECONDS
        while True:
            program.require_running()
            try:
                if self.query(port, sql, database) == "t":
                    return
                problem = "another answer"
            except BenchError as error:
                problem = str(error)
            if time.monotonic() > deadline:
                raise BenchError(f"{program.name}: `{sql}` is not true after {START_SECONDS} s: {problem}")
            time.sleep(POLL_SECONDS)

    def commits(self, port: int) -> int:
        """Transactions that a node has finished in the database so far."""
        return int(self.query(port, f"SELECT xact_commit FROM pg_stat_database WHERE datname = '{DATABASE}'"))

    def _start_primary(self) -> None:
        data = self.workplace.directory / f"node-{self.primary}"
        options = ("--auth=trust", "--no-sync", "--encoding=UTF8", "--locale=C")
        self.workplace.run(self.binaries / "initdb", "-D", data, "-U", SUPERUSER, *options)
        with (data / "postgresql.conf").open("a", encoding="utf-8") as settings:
            settings.write(PRIMARY_SETTINGS)
        self._start_server(data, self.primary)

    def _start_replica(self, port: int) -> None:
        data = self.workplace.directory / f"node-{port}"
        source = ("-h", LOOPBACK, "-p", self.primary, "-U", SUPERUSER)
        options = ("--write-recovery-conf", "--checkpoint=fast", "--no-sync")
        self.workplace.run(self.binaries / "pg_basebackup", "-D", data, *source, *options)
        self._start_server(data, port)

    def _start_server(self, data: Path, port: int) -> None:
        sockets = self.workplace.directory
        command = (self.binaries / "postgres", "-D", data, "-p", port, "-k", sockets)
        # SIGINT is PostgreSQL's fast shutdown: it does not wait for clients.
        server = self.workplace.start(f"server-{port}", *command, stop_signal=signal.SIGINT)
        self.wait_for(port, "SELECT true", server, database="postgres")

    def _fill(self, scale: int) -> None:
        connection = ("-h", LOOPBACK, "-p", self.primary, "-U", SUPERUSER)
        self.workplace.run(self.binaries / "createdb", *connection, DATABASE)
        pgbench = self.binaries / "pgbench"
        self.workplace.run(pgbench, "-i", "-q", "-s", scale, *connection, DATABASE)
        position = self.query(self.primary, "SELECT pg_current_wal_flush_lsn()")
        for port in self.replicas:
            server = next(p for p in self.workplace.programs if p.name == f"server-{port}")
            replayed = f"SELECT pg_last_wal_replay_lsn() >= '{position}'"
            self.wait_for(port, replayed, server, database="postgres")
