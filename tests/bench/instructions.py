#!/usr/bin/env python3
"""User-space instructions per query of pgweir and of PgBouncer, counted by valgrind's callgrind.

Steadier than time: the same build gives the same number to within a percent or two on any machine of its kind, busy or
idle, so that a change's effect shows. The kernel's part, nine tenths of a proxied query, is not in it. Each count
is the difference of two runs that differ in nothing but the number of queries: starting, logging in and stopping
cancel out.
"""

from __future__ import annotations

import argparse
import re
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from measure import Scenario, pgbench_command
from poolers import Command, Pooler, start_pgbouncer, start_pgweir
from servers import BenchError, Cluster, Workplace

CLIENTS = 4
SHORT, LONG = 200, 1200  # transactions per client
REPLICAS = 2
SCALE = 1
MODES = ("simple", "extended", "prepared")

# Under valgrind a query takes a hundred times longer, and pgweir's probes would seem to cost so much more.
PROBE_INTERVAL = "1s"

Starter = Callable[[Command], Pooler]  # takes the command that the pooler runs under


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pgweir", type=Path, default=Path("target/release/pgweir"))
    parser.add_argument("--only", default="pgweir,pgbouncer", help="of: %(default)s")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))
    try:
        with Workplace() as workplace:
            compare(Cluster.start(workplace, REPLICAS, SCALE), options)
    except BenchError as error:
        print(f"instructions: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def compare(cluster: Cluster, options: argparse.Namespace) -> None:
    starters: dict[str, Starter] = {
        "pgweir": lambda wrapper: start_pgweir(
            cluster, options.pgweir.resolve(), interval=PROBE_INTERVAL, wrapper=wrapper
        ),
        "pgbouncer": lambda wrapper: start_pgbouncer(cluster, wrapper),
    }
    print(f"user instructions per query (callgrind, {CLIENTS} clients)")
    print(f"  {'':<12}" + "".join(f"{mode:>12}" for mode in MODES))
    for name in options.only.split(","):
        cells = (per_query(cluster, starters[name], mode) for mode in MODES)
        print(f"  {name:<12}" + "".join(f"{cell:>12}" for cell in cells), flush=True)


def per_query(cluster: Cluster, starter: Starter, mode: str) -> str:
    short, long = (count(cluster, starter, mode, transactions) for transactions in (SHORT, LONG))
    if short is None or long is None:
        return "n/a"
    return f"{(long - short) / ((LONG - SHORT) * CLIENTS):.0f}"


def count(cluster: Cluster, starter: Starter, mode: str, transactions: int) -> int | None:
    """Instructions of a pooler's whole life with that many transactions per client; none if it lacks the mode."""
    place = cluster.workplace
    output = place.directory / "callgrind.out"
    output.unlink(missing_ok=True)
    pooler = starter(callgrind(output))
    try:
        if mode in pooler.lacks:
            return None
        place.run(*pgbench_command(cluster, pooler, Scenario(mode), CLIENTS, "-t", transactions))
    finally:
        place.stop(pooler.program)
    total = re.search(r"^totals: (\d+)", output.read_text(encoding="ascii", errors="replace"), re.M)
    if total is None:
        raise BenchError(f"callgrind counted nothing for {pooler.label}")
    return int(total[1])


def callgrind(output: Path) -> Command:
    valgrind = shutil.which("valgrind")
    if valgrind is None:
        raise BenchError("no valgrind here; `scripts/setup instructions` installs one")
    return (valgrind, "--tool=callgrind", f"--callgrind-out-file={output}")


if __name__ == "__main__":
    sys.exit(main())
