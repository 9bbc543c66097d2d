"""One pgbench run, and what it cost the pooler in front of the database.

CPU time is the pooler's own, user and system, as /proc counts it: unlike transactions per second it hardly moves with
whatever else a small machine does at the time.
"""

from __future__ import annotations

import os
import re
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from poolers import Contestant, Pooler
from servers import DATABASE, LOOPBACK, SUPERUSER, BenchError, Cluster, Program

CLOCK_TICKS = os.sysconf("SC_CLK_TCK")

# pgbench's own threads: enough that it is not the bottleneck.
PGBENCH_THREADS = 2

# How much longer than asked pgbench may take, before it counts as hung.
GRACE_SECONDS = 60


@dataclass(frozen=True)
class Scenario:
    """A pgbench query mode, at full speed or at a rate."""

    mode: str  # simple, extended or prepared
    rate: int | None = None  # transactions per second; none: as fast as it goes

    @staticmethod
    def parse(text: str) -> Scenario:
        """Reads `simple` or `simple@3000`."""
        match = re.fullmatch(r"(simple|extended|prepared)(?:@(\d+))?", text)
        if match is None:
            raise ValueError(text)
        return Scenario(match[1], int(match[2]) if match[2] else None)

    def __str__(self) -> str:
        return self.mode if self.rate is None else f"{self.mode}@{self.rate}"


@dataclass(frozen=True)
class Memory:
    """Resident and proportional set size of a process, in MiB."""

    rss: float
    pss: float

    @staticmethod
    def of(program: Program) -> Memory:
        text = Path(f"/proc/{program.pid}/smaps_rollup").read_text(encoding="ascii")
        kib = {key: int(value) for key, value in re.findall(r"^(Rss|Pss): +(\d+) kB", text, re.M)}
        return Memory(kib["Rss"] / 1024, kib["Pss"] / 1024)


@dataclass(frozen=True)
class Run:
    """What one run showed. CPU and memory are the pooler's, and absent without a pooler."""

    transactions: int
    tps: float
    latency_ms: float
    cpu_us: float | None  # per transaction
    memory: Memory | None  # in the middle of the run


def cpu_seconds(program: Program) -> float:
    """User and system time that a process has used, all its threads together (proc(5), /proc/pid/stat)."""
    stat = Path(f"/proc/{program.pid}/stat").read_text(encoding="ascii", errors="replace")
    fields = stat.rpartition(")")[2].split()  # the name may hold spaces; what follows it starts with field 3
    user, system = int(fields[11]), int(fields[12])
    return (user + system) / CLOCK_TICKS


def idle_cpu(program: Program, seconds: float) -> float:
    """CPU time that a process uses while nobody asks anything, in milliseconds per second."""
    before, start = cpu_seconds(program), time.monotonic()
    time.sleep(seconds)
    return (cpu_seconds(program) - before) * 1000 / (time.monotonic() - start)


def pgbench_command(
    cluster: Cluster, contestant: Contestant, scenario: Scenario, clients: int, *length: object
) -> list[str]:
    script = ("-n", "-S", "-M", scenario.mode)
    load = ("-c", clients, "-j", min(PGBENCH_THREADS, clients), *length)
    rate = () if scenario.rate is None else ("-R", scenario.rate)
    connection = ("-h", LOOPBACK, "-p", contestant.port, "-U", SUPERUSER, DATABASE)
    return [str(word) for word in (cluster.binaries / "pgbench", *script, *load, *rate, *connection)]


def warm_up(cluster: Cluster, contestant: Contestant, scenario: Scenario, clients: int) -> int:
    """Opens the server connections and fills the caches; returns how many transactions that took."""
    per_client = 200
    full_speed = Scenario(scenario.mode)
    cluster.workplace.run(*pgbench_command(cluster, contestant, full_speed, clients, "-t", per_client))
    return per_client * clients


def measure(cluster: Cluster, contestant: Contestant, scenario: Scenario, clients: int, seconds: int) -> Run:
    """Runs pgbench once and charges the pooler for it."""
    program = contestant.program if isinstance(contestant, Pooler) else None
    before = cpu_seconds(program) if program else 0.0
    pgbench = subprocess.Popen(
        pgbench_command(cluster, contestant, scenario, clients, "-T", seconds),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        **cluster.workplace.popen_arguments(),
    )
    try:
        time.sleep(seconds / 2)
        memory = Memory.of(program) if program else None
        output, _ = pgbench.communicate(timeout=seconds + GRACE_SECONDS)
    finally:
        if pgbench.poll() is None:
            pgbench.kill()
            pgbench.wait()
    if pgbench.returncode != 0:
        raise BenchError(f"pgbench through {contestant.label}, {scenario}:\n{output[-2000:]}")
    transactions = int(figure(output, r"actually processed: (\d+)"))
    used = (cpu_seconds(program) - before) * 1e6 / transactions if program else None
    return Run(
        transactions=transactions,
        tps=figure(output, r"^tps = ([\d.]+)"),
        latency_ms=figure(output, r"^latency average = ([\d.]+) ms"),
        cpu_us=used,
        memory=memory,
    )


def figure(output: str, pattern: str) -> float:
    match = re.search(pattern, output, re.M)
    if match is None:
        raise BenchError(f"pgbench printed nothing like {pattern}:\n{output[-2000:]}")
    return float(match[1])
