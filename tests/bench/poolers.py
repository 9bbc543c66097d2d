"""The contestants: where pgbench connects, and which process is charged for it."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from pathlib import Path

from servers import DATABASE, LOOPBACK, SUPERUSER, BenchError, Cluster, Program, version_in

# PgBouncer follows prepared statements in transaction mode from this version on (`max_prepared_statements`).
PGBOUNCER_PREPARED = (1, 21)

Command = tuple[object, ...]  # a program and its arguments

POOL_SIZE = 20  # server connections per node, the default of both poolers


@dataclass(frozen=True)
class Contestant:
    """One way to reach the database."""

    name: str
    label: str
    port: int
    lacks: frozenset[str] = frozenset()  # pgbench's query modes that it cannot serve


@dataclass(frozen=True)
class Pooler(Contestant):
    """A contestant with a process of its own."""

    program: Program = field(kw_only=True)


def direct(cluster: Cluster) -> Contestant:
    """No pooler: straight to the primary."""
    return Contestant("direct", f"PostgreSQL {cluster.version}, the primary itself", cluster.primary)


def start_pgweir(
    cluster: Cluster, binary: Path, workers: int = 1, interval: str = "100ms", wrapper: Command = ()
) -> Pooler:
    """pgweir with everything at its default: reads go to the replicas."""
    place = cluster.workplace
    port = place.port()
    nodes = ", ".join(f'"{LOOPBACK}:{node}"' for node in cluster.nodes)
    config = place.write(
        f"pgweir-{port}.toml",
        f"""
[listen]
address = "{LOOPBACK}:{port}"

[http]
address = "{LOOPBACK}:{place.port()}"

[runtime]
workers = {workers}

[clusters.main]
nodes = [{nodes}]
monitor = {{ user = "{SUPERUSER}", database = "postgres", interval = "{interval}" }}

[pool]
size = {POOL_SIZE}
""",
    )
    runnable = place.adopt(binary)
    version = version_in(place.run(runnable, "--version"))
    program = place.start(f"pgweir-{port}", *wrapper, runnable, "run", "--config", config)
    cluster.wait_for(port, "SELECT true", program)
    label = f"pgweir {version}, reads split, {workers} worker(s)"
    return Pooler("pgweir", label, port, program=program)


def start_pgbouncer(cluster: Cluster, wrapper: Command = ()) -> Pooler:
    """PgBouncer in transaction mode, in front of the primary: it does not split."""
    place = cluster.workplace
    # Debian keeps it in a directory that only root's path has.
    binary = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")
    if binary is None:
        raise BenchError("no pgbouncer here; `scripts/setup bench` installs one")
    version = version_in(place.run(binary, "--version").splitlines()[0])
    follows_prepared = tuple(map(int, version.split("."))) >= PGBOUNCER_PREPARED
    port = place.port()
    config = pgbouncer_config(cluster, port, follows_prepared)
    program = place.start(f"pgbouncer-{port}", *wrapper, binary, "-q", config)
    cluster.wait_for(port, "SELECT true", program)
    lacks = frozenset() if follows_prepared else frozenset({"prepared"})
    return Pooler("pgbouncer", f"PgBouncer {version}, transaction mode", port, lacks, program=program)


def pgbouncer_config(cluster: Cluster, port: int, follows_prepared: bool) -> Path:
    place = cluster.workplace
    users = place.write(f"pgbouncer-{port}.users", f'"{SUPERUSER}" ""\n')
    return place.write(
        f"pgbouncer-{port}.ini",
        f"""
[databases]
{DATABASE} = host={LOOPBACK} port={cluster.primary} dbname={DATABASE}

[pgbouncer]
listen_addr = {LOOPBACK}
listen_port = {port}
unix_socket_dir =
auth_type = trust
auth_file = {users}
pool_mode = transaction
default_pool_size = {POOL_SIZE}
max_client_conn = 1000
{"max_prepared_statements = 1000" if follows_prepared else ""}
""",
    )
