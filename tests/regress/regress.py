#!/usr/bin/env python3
"""PostgreSQL's own regression suite, straight at a primary and through pgweir, compared file by file.

Whatever works on a direct connection works through pgweir. So the suite that PostgreSQL is released with runs, by its
own pg_regress and psql, on a fresh primary with a replica: directly, directly once more (what differs between these two
is not pgweir's doing), and through pgweir in transaction mode with reads split. A file is equal if psql printed the same
bytes. What the suite expects is shown beside it, and is not what pgweir is judged by: some files fail on any server that
is set up differently from PostgreSQL's own build.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import relay
import states
from suite import Suite

from servers import LOOPBACK, SUPERUSER, BenchError, Cluster, Program, Workplace, postgres_binaries

# No file takes a minute on a machine at rest. One that hangs is killed, so that the others still run.
FILE_SECONDS = 300
SUITE_SECONDS = 7200

# Twenty files run side by side, and most of them pin a connection sooner or later.
POOL_SIZE = 20

# PostgreSQL's own defaults but for what the suite needs (two-phase commit) and what only takes time.
PRIMARY_SETTINGS = f"""
listen_addresses = '{LOOPBACK}'
max_connections = 200
max_prepared_transactions = 10
synchronize_seqscans = off
hot_standby = on
fsync = off
log_min_messages = fatal
"""

# What each server connection was told, for whoever looks for the cause of a difference.
TRACE_SETTINGS = """
shared_preload_libraries = '{library}'
log_statement = all
log_min_messages = log
log_line_prefix = '%p '
"""

# A test's line in pg_regress's report: `     boolean                      ... ok          123 ms`.
VERDICT = re.compile(r"^(?:test| ) *(\S+) +\.\.\. +(ok|FAILED|failed \(ignored\))", re.M)


class RegressCluster(Cluster):
    """A primary and a replica with PostgreSQL's defaults, and no database of their own."""

    @staticmethod
    def launch(workplace: Workplace, trace: Path | None) -> RegressCluster:
        cluster = RegressCluster(workplace, postgres_binaries(), workplace.port(), (workplace.port(),))
        cluster._initialise(PRIMARY_SETTINGS + (TRACE_SETTINGS.format(library=trace) if trace else ""))
        for port in cluster.replicas:
            cluster._start_replica(port)
        return cluster

    def _initialise(self, settings: str) -> None:
        data = self.workplace.directory / f"node-{self.primary}"
        options = ("--auth=trust", "--no-sync", "--encoding=UTF8", "--locale=C")
        self.workplace.run(self.binaries / "initdb", "-D", data, "-U", SUPERUSER, *options)
        with (data / "postgresql.conf").open("a", encoding="utf-8") as file:
            file.write(settings)
        self._start_server(data, self.primary)


@dataclass
class Run:
    """One run of the suite."""

    name: str
    results: Path  # a file of psql's output for each test
    verdicts: dict[str, str] = field(default_factory=dict)  # pg_regress's, by test
    seconds: float = 0.0
    remarks: list[str] = field(default_factory=list)

    def output(self, test: str) -> bytes | None:
        path = self.results / f"{test}.out"
        return path.read_bytes() if path.exists() else None


def main() -> int:
    options = parse_options()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))
    try:
        with Workplace() as workplace:
            runs = run_all(workplace, options)
    except BenchError as error:
        print(f"regress: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    if not any(run.verdicts for run in runs):
        print(f"regress: pg_regress ran nothing: see {options.output}/*/pg_regress.log", file=sys.stderr)
        return 2
    differs = report(runs, options.output)
    return 1 if differs else 0


def parse_options() -> argparse.Namespace:
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--pgweir", type=Path, default=Path("target/release/pgweir"), help="pgweir's binary")
    add("--workers", type=int, default=1, help="pgweir's threads")
    add("--tests", default="", help="only these files (test_setup comes first by itself), one after the other")
    add("--serial", action="store_true", help="never run two files side by side")
    add("--protocol", choices=relay.PROTOCOLS, default="simple", help="how statements are said; default %(default)s")
    add("--pause", type=int, default=0, help="ms between a client's statements: replicas catch up, and read more")
    add("--trace", action="store_true", help="compare the state each statement met as well (trace.c)")
    add("--baseline", type=Path, help="compare with the direct runs in this output directory instead of new ones")
    add("--cache", type=Path, default=cache / "pgweir-regress", help="where the suite is kept; default %(default)s")
    add("--output", type=Path, default=Path("target/regress"), help="where results and diffs go; default %(default)s")
    options = parser.parse_args()
    if not options.pgweir.is_file():
        parser.error(f"no binary at {options.pgweir}")
    options.tests = [test for test in re.split(r"[\s,]+", options.tests) if test]
    if options.baseline and options.baseline.resolve() == options.output.resolve():
        parser.error("the baseline's directory is the one that the output replaces")
    return options


def run_all(workplace: Workplace, options: argparse.Namespace) -> list[Run]:
    """The direct runs, then the one through pgweir."""
    progress(f"preparing the suite in {options.cache}")
    suite = Suite.prepare(options.cache, postgres_binaries(), workplace)
    shutil.rmtree(options.output, ignore_errors=True)
    options.output.mkdir(parents=True)
    names = ("direct", "direct-again")
    if options.baseline:
        for name in names:
            shutil.copytree(options.baseline / name, options.output / name)
        runs = [load(name, options.output) for name in names]
    else:
        runs = [run_once(name, suite, workplace, options) for name in names]
    return [*runs, run_once("pgweir", suite, workplace, options)]


def run_once(name: str, suite: Suite, workplace: Workplace, options: argparse.Namespace) -> Run:
    """Runs the suite on servers of its own; keeps what psql and pg_regress said."""
    progress(f"{name}: starting a primary and a replica")
    cluster = RegressCluster.launch(workplace, suite.modules / "trace.so" if options.trace else None)
    pooler = start_pgweir(cluster, options.pgweir, options.workers) if name == "pgweir" else None
    progress(f"{name}: running PostgreSQL {suite.version}'s suite")
    began = time.monotonic()
    port = pooler.port if pooler else cluster.primary
    pause = options.pause if pooler else 0
    if pause or options.protocol != "simple":
        port, behind = workplace.port(), port
        relay.start(LOOPBACK, port, behind, options.protocol, pause)
    log = run_suite(suite, workplace, port, options)
    seconds = time.monotonic() - began
    kept = options.output / name
    kept.mkdir()
    shutil.move(workplace.directory / "out/results", kept / "results")
    shutil.rmtree(workplace.directory / "out")
    (kept / "pg_regress.log").write_text(log, encoding="utf-8")
    run = load(name, options.output)
    run.seconds = seconds
    if pooler:
        run.remarks = pooler.shares()
    for program in reversed(workplace.programs.copy()):
        workplace.stop(program)
        shutil.copy(program.log, kept / program.log.name)
    for node in cluster.nodes:
        shutil.rmtree(workplace.directory / f"node-{node}")
    return run


def load(name: str, output: Path) -> Run:
    """A run from what was kept of it."""
    kept = output / name
    log = (kept / "pg_regress.log").read_text(encoding="utf-8")
    return Run(name, kept / "results", dict(VERDICT.findall(log)))


def run_suite(suite: Suite, workplace: Workplace, port: int, options: argparse.Namespace) -> str:
    """Runs pg_regress to its end, which may come early; returns its report."""
    output = workplace.directory / "out"
    output.mkdir()
    os.chown(output, workplace.account.uid, workplace.account.gid)
    command: list[object] = [
        suite.pg_regress,
        f"--inputdir={suite.directory}",
        f"--outputdir={output}",
        f"--bindir={suite.binaries}",
        f"--dlpath={suite.modules}",
        f"--host={LOOPBACK}",
        f"--port={port}",
        f"--user={SUPERUSER}",
        f"--launcher=timeout {FILE_SECONDS}",
        "--max-concurrent-tests=20",
    ]
    if options.serial:
        command.append("--max-connections=1")
    if options.tests:
        command += ["test_setup", *(test for test in options.tests if test != "test_setup")]
    else:
        command.append(f"--schedule={suite.directory}/parallel_schedule")
    program = workplace.start("pg_regress", *command)
    try:
        program.popen.wait(SUITE_SECONDS)
    except subprocess.TimeoutExpired:
        # It leads a process group of its own, which its psqls are in.
        os.killpg(program.pid, signal.SIGKILL)
    workplace.stop(program)
    return program.log.read_text(encoding="utf-8", errors="replace")


@dataclass(frozen=True)
class Pgweir:
    """pgweir in front of a cluster."""

    port: int
    http: int
    program: Program

    def shares(self) -> list[str]:
        """How many statements went to which node, in the words of its metrics."""
        if self.program.popen.poll() is not None:
            return ["pgweir has ended"]
        with urllib.request.urlopen(f"http://{LOOPBACK}:{self.http}/metrics") as response:
            metrics = response.read().decode()
        return re.findall(r"^pgweir_queries_total.*$", metrics, re.M)


def start_pgweir(cluster: RegressCluster, binary: Path, workers: int) -> Pgweir:
    """pgweir with its defaults: transaction mode, reads on the replica, own writes seen."""
    place = cluster.workplace
    port, http = place.port(), place.port()
    nodes = ", ".join(f'"{LOOPBACK}:{node}"' for node in cluster.nodes)
    config = place.write(
        "pgweir.toml",
        f"""
[listen]
address = "{LOOPBACK}:{port}"

[http]
address = "{LOOPBACK}:{http}"

[runtime]
workers = {workers}

[clusters.main]
nodes = [{nodes}]
monitor = {{ user = "{SUPERUSER}", database = "postgres" }}

[pool]
size = {POOL_SIZE}
checkout_timeout = "30s"
""",
    )
    program = place.start("pgweir", place.adopt(binary), "run", "--config", config)
    cluster.wait_for(port, "SELECT true", program, database="postgres")
    return Pgweir(port, http, program)


@dataclass(frozen=True)
class Comparison:
    """One file, as the runs had it."""

    test: str
    outcome: str  # equal | differs | unstable
    expected: tuple[str, str]  # pg_regress's verdict on the direct run and on pgweir's
    lines: int  # of the diff
    first: str  # the first line that differs
    strays: int  # statements that met another state; only with a trace


def compare(runs: list[Run], output: Path) -> Iterator[Comparison]:
    """Every file that any run had, in the order of the first run's report; saves the diffs."""
    direct, again, pooled = runs
    tests = list(dict.fromkeys(test for run in runs for test in run.verdicts))
    diffs = output / "diffs"
    diffs.mkdir(exist_ok=True)
    statements = [states.read(output / run.name) for run in (direct, pooled)]
    for test in tests:
        strays = list(states.strays(*(run.get(test, []) for run in statements)))
        if strays:
            text = "\n".join(map(str, strays))
            (diffs / f"{test}.states").write_text(text + "\n", encoding="utf-8")
        expected = (direct.verdicts.get(test, "missing"), pooled.verdicts.get(test, "missing"))
        outputs = [run.output(test) for run in runs]
        if outputs[2] is not None and outputs[2] in outputs[:2]:
            yield Comparison(test, "equal", expected, 0, "", len(strays))
            continue
        diff = difference(direct, pooled, test)
        (diffs / f"{test}.diff").write_bytes(diff)
        outcome = "differs" if outputs[0] == outputs[1] else "unstable"
        changed = [line for line in diff.splitlines()[2:] if line[:1] in b"+-"]
        first = changed[0].decode(errors="replace") if changed else ""
        yield Comparison(test, outcome, expected, len(changed), first, len(strays))


def difference(one: Run, other: Run, test: str) -> bytes:
    """What diff says; a file that is missing is empty."""
    files = [run.results / f"{test}.out" for run in (one, other)]
    words = [str(file) if file.exists() else os.devnull for file in files]
    return subprocess.run(["diff", "-a", "-U3", *words], stdout=subprocess.PIPE, check=False).stdout


def report(runs: list[Run], output: Path) -> int:
    """Prints the table; returns how many files differ."""
    comparisons = list(compare(runs, output))
    for line in comparisons:
        direct, pooled = line.expected
        judged = direct if direct == pooled else f"{direct} -> {pooled}"
        detail = f"{line.lines:6} lines  {line.first[:70]}" if line.outcome != "equal" else ""
        if line.strays:
            detail = f"{line.strays:6} states  {detail.strip()}"
        print(f"{line.test:24} {line.outcome:9} {judged:20} {detail}".rstrip())
    counts = {word: sum(line.outcome == word for line in comparisons) for word in ("equal", "differs", "unstable")}
    for run in runs:
        passed = sum(verdict == "ok" for verdict in run.verdicts.values())
        took = f" in {run.seconds:.0f} s" if run.seconds else ""
        print(f"{run.name}: {passed} of {len(run.verdicts)} files as PostgreSQL expects{took}")
        for remark in run.remarks:
            print(f"  {remark}")
    print(
        f"{len(comparisons)} files: {counts['equal']} equal, {counts['differs']} differ, {counts['unstable']} differ "
        f"and are not the same in two direct runs either; results and diffs in {output}"
    )
    return counts["differs"]


def progress(text: str) -> None:
    print(f"regress: {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
