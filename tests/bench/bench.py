#!/usr/bin/env python3
"""What pgweir costs, beside PgBouncer and a direct connection, in one run on the same servers.

Starts a primary and two replicas, puts every contestant in front of them, and lets pgbench's read-only script run
through each in turn, round after round, so that whatever else the machine does hits all of them alike. Reports the
medians; the headline is the CPU time per query of pgweir's process over that of PgBouncer's.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from measure import Memory, Run, Scenario, idle_cpu, measure, warm_up
from poolers import Contestant, Pooler, direct, start_pgbouncer, start_pgweir
from servers import BenchError, Cluster, Workplace

CONTESTANTS = ("pgweir", "pgbouncer", "direct")
SCENARIOS = "simple,extended,prepared,simple@3000,extended@3000"
REPLICAS = 2
IDLE_SECONDS = 3

Runs = dict[tuple[str, str], list[Run]]  # by scenario and contestant


@dataclass
class Results:
    """Everything a run of the benchmark found out."""

    settings: dict[str, Any]
    contestants: list[Contestant]
    scenarios: list[Scenario]
    runs: Runs = field(default_factory=lambda: defaultdict(list))
    at_rest: dict[str, tuple[Memory, float]] = field(default_factory=dict)  # and CPU, ms per s
    replica_shares: list[float] = field(default_factory=list)  # of pgweir's queries, per replica

    def values(self, scenario: object, contestant: str, pick: Callable[[Run], float | None]) -> list[float]:
        picked = (pick(run) for run in self.runs.get((str(scenario), contestant), ()))
        return [value for value in picked if value is not None]

    def median(self, scenario: object, contestant: str, pick: Callable[[Run], float | None]) -> float | None:
        values = self.values(scenario, contestant, pick)
        return median(values) if values else None


def cpu(run: Run) -> float | None:
    return run.cpu_us


def main() -> int:
    options = parse_options()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))
    try:
        with Workplace() as workplace:
            results = compare(workplace, options)
    except BenchError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    print("\n".join(report(results)))
    if options.json:
        options.json.write_text(json.dumps(as_json(results), indent=2) + "\n", encoding="utf-8")
    return 0


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--pgweir", type=Path, default=Path("target/release/pgweir"), help="pgweir's binary")
    add("--workers", type=int, default=1, help="pgweir's threads")
    add("--only", default=",".join(CONTESTANTS), help="contestants, of: %(default)s")
    add("--scenarios", default=SCENARIOS, help="query modes, at a rate after @; default %(default)s")
    add("--rounds", type=int, default=5)
    add("--seconds", type=int, default=5, help="length of one run")
    add("--clients", type=int, default=16)
    add("--scale", type=int, default=10, help="pgbench's scale factor")
    add("--json", type=Path, help="write all figures to this file as well")
    options = parser.parse_args()
    options.only = options.only.split(",")
    if unknown := set(options.only) - set(CONTESTANTS):
        parser.error(f"unknown contestant: {', '.join(unknown)}")
    try:
        options.scenarios = [Scenario.parse(text) for text in options.scenarios.split(",")]
    except ValueError as error:
        parser.error(f"unknown scenario: {error}")
    if "pgweir" in options.only and not options.pgweir.is_file():
        parser.error(f"no binary at {options.pgweir}: build it, or leave it out with --only pgbouncer,direct")
    return options


def compare(workplace: Workplace, options: argparse.Namespace) -> Results:
    """Starts everything, runs all rounds, returns the figures."""
    progress(f"starting a primary and {REPLICAS} replicas")
    cluster = Cluster.start(workplace, REPLICAS, options.scale)
    contestants = [start(name, cluster, options) for name in options.only]
    results = Results(describe(cluster, options), contestants, options.scenarios)
    for pooler in contestants:
        if not isinstance(pooler, Pooler):
            continue
        results.at_rest[pooler.name] = (Memory.of(pooler.program), idle_cpu(pooler.program, IDLE_SECONDS))
    served_before = [cluster.commits(port) for port in cluster.replicas]
    asked = run_rounds(cluster, results, options)
    if asked["pgweir"]:
        served = [cluster.commits(port) for port in cluster.replicas]
        results.replica_shares = [
            (after - before) / asked["pgweir"] for before, after in zip(served_before, served, strict=True)
        ]
    return results


def start(name: str, cluster: Cluster, options: argparse.Namespace) -> Contestant:
    if name == "pgweir":
        return start_pgweir(cluster, options.pgweir.resolve(), options.workers)
    if name == "pgbouncer":
        return start_pgbouncer(cluster)
    return direct(cluster)


def run_rounds(cluster: Cluster, results: Results, options: argparse.Namespace) -> dict[str, int]:
    """Fills the results' runs; returns how many transactions each contestant was asked in all."""
    asked: dict[str, int] = defaultdict(int)
    matches = [
        (scenario, contestant)
        for scenario in results.scenarios
        for contestant in results.contestants
        if scenario.mode not in contestant.lacks
    ]
    for scenario, contestant in matches:
        if scenario.rate is None:
            asked[contestant.name] += warm_up(cluster, contestant, scenario, options.clients)
    for number in range(1, options.rounds + 1):
        progress(f"round {number} of {options.rounds}")
        for scenario, contestant in matches:
            run = measure(cluster, contestant, scenario, options.clients, options.seconds)
            results.runs[str(scenario), contestant.name].append(run)
            asked[contestant.name] += run.transactions
    return asked


def describe(cluster: Cluster, options: argparse.Namespace) -> dict[str, Any]:
    return {
        "postgresql": cluster.version,
        "replicas": REPLICAS,
        "cores": len(os.sched_getaffinity(0)),
        "clients": options.clients,
        "scale": options.scale,
        "rounds": options.rounds,
        "seconds": options.seconds,
    }


def progress(text: str) -> None:
    print(f"bench: {text}", file=sys.stderr, flush=True)


# The report


def yardstick(results: Results, scenario: Scenario) -> tuple[float | None, str]:
    """PgBouncer's CPU per query in a scenario; where it cannot serve the mode, its extended figure, marked."""
    own = results.median(scenario, "pgbouncer", cpu)
    if own is not None:
        return own, ""
    return results.median(Scenario("extended", scenario.rate), "pgbouncer", cpu), "*"


def cpu_ratio(results: Results, scenario: Scenario) -> tuple[float | None, str]:
    ours, (theirs, mark) = results.median(scenario, "pgweir", cpu), yardstick(results, scenario)
    return (ours / theirs, mark) if ours and theirs else (None, "")


def report(results: Results) -> Iterable[str]:
    settings = results.settings
    yield (
        f"PostgreSQL {settings['postgresql']}, a primary and {settings['replicas']} replicas, "
        f"all on this machine ({settings['cores']} cores); pgbench -S, {settings['clients']} clients, "
        f"scale {settings['scale']}; medians of {settings['rounds']} rounds of {settings['seconds']} s"
    )
    for contestant in results.contestants:
        yield f"  {contestant.name + ':':<11}{contestant.label}"
    yield from cpu_table(results)
    yield from plain_table(results, "transactions per second", lambda run: run.tps, "{:.0f}")
    yield from plain_table(results, "average latency, ms", lambda run: run.latency_ms, "{:.2f}")
    yield from memory_table(results)
    if results.replica_shares:
        shares = ", ".join(f"{share:.0%}" for share in results.replica_shares)
        yield f"\npgweir's queries that each replica served: {shares}"
    yield from footnotes(results)


def cpu_table(results: Results) -> Iterable[str]:
    yield "\nCPU time of the pooler per query, µs (lowest to highest run)"
    yield f"  {'':<15}{'pgweir':>23}{'pgbouncer':>23}{'pgweir/pgbouncer':>19}"
    for scenario in results.scenarios:
        ratio, mark = cpu_ratio(results, scenario)
        cells = (spread(results.values(scenario, name, cpu)) for name in ("pgweir", "pgbouncer"))
        figures = "".join(f"{cell:>23}" for cell in cells)
        yield f"  {scenario!s:<15}{figures}{number(ratio, '{:.2f}') + mark:>19}"


def spread(values: list[float]) -> str:
    return f"{median(values):.1f} ({min(values):.1f}-{max(values):.1f})" if values else "n/a"


def plain_table(
    results: Results, title: str, pick: Callable[[Run], float | None], form: str
) -> Iterable[str]:
    names = [contestant.name for contestant in results.contestants]
    yield f"\n{title}"
    yield f"  {'':<15}" + "".join(f"{name:>12}" for name in names)
    for scenario in results.scenarios:
        cells = (number(results.median(scenario, name, pick), form) for name in names)
        yield f"  {scenario!s:<15}" + "".join(f"{cell:>12}" for cell in cells)


def memory_table(results: Results) -> Iterable[str]:
    yield "\nmemory, MiB, and CPU at rest, ms per s"
    yield f"  {'':<15}{'RSS at rest':>13}{'PSS at rest':>13}{'RSS loaded':>13}{'PSS loaded':>13}{'CPU at rest':>13}"
    for name, (rest, idle) in results.at_rest.items():
        loaded = highest_memory(results, name, rest)
        figures = (rest.rss, rest.pss, loaded.rss, loaded.pss, idle)
        yield f"  {name:<15}" + "".join(f"{value:>13.1f}" for value in figures)


def highest_memory(results: Results, name: str, rest: Memory) -> Memory:
    own = (run for (_, contestant), runs in results.runs.items() if contestant == name for run in runs)
    samples = [rest, *(run.memory for run in own if run.memory)]
    return Memory(max(sample.rss for sample in samples), max(sample.pss for sample in samples))


def footnotes(results: Results) -> Iterable[str]:
    for contestant in results.contestants:
        for mode in sorted(contestant.lacks & {scenario.mode for scenario in results.scenarios}):
            yield f"\n* {contestant.label}, cannot serve {mode} statements; compared with its extended figure"


def number(value: float | None, form: str) -> str:
    return "n/a" if value is None else form.format(value)


def as_json(results: Results) -> dict[str, Any]:
    """All runs and the medians of each scenario, by scenario and contestant."""
    scenarios: dict[str, dict[str, Any]] = {str(scenario): {} for scenario in results.scenarios}
    for (scenario, contestant), runs in results.runs.items():
        medians = {
            "cpu_us": results.median(scenario, contestant, cpu),
            "tps": results.median(scenario, contestant, lambda run: run.tps),
            "latency_ms": results.median(scenario, contestant, lambda run: run.latency_ms),
        }
        scenarios[scenario][contestant] = {"median": medians, "runs": [asdict(run) for run in runs]}
    return {
        "settings": results.settings,
        "contestants": {contestant.name: contestant.label for contestant in results.contestants},
        "cpu_ratio": {str(scenario): cpu_ratio(results, scenario)[0] for scenario in results.scenarios},
        "at_rest": {
            name: {"memory_mib": asdict(memory), "cpu_ms_per_s": idle}
            for name, (memory, idle) in results.at_rest.items()
        },
        "replica_shares": results.replica_shares,
        "scenarios": scenarios,
    }


if __name__ == "__main__":
    sys.exit(main())
