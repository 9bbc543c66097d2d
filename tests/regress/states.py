"""What state each statement of the suite met on its server, compared between two runs.

With `--trace` the servers log every statement with the settings and the user it ran under (trace.c). The statements of a
file are found by psql's application_name, which pg_regress sets, on whichever server they ran, in the order of time;
those that only one run has (a pooler's own) are passed over.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import SequenceMatcher
from pathlib import Path

# A statement's record starts a line and goes on with lines that start with a tab.
RECORD = re.compile(r"^(\d+) LOG:  statement: STATE\t(\d+)\t(.*?)\tEND\t(.*(?:\n\t.*)*)", re.M)
# psql's own queries name objects by their OIDs, which are not the same in two runs.
OID = re.compile(r"\b\d{5,}\b")
APPLICATION = re.compile(r"application_name=pg_regress/(\S+)")

# No role, said or unsaid; and a standby, where every transaction is read only, does not say what the session has.
SAME_AS_NOTHING = ("role=none", "transaction_read_only=off")


@dataclass(frozen=True)
class Statement:
    """A statement as a server met it."""

    time: int  # microseconds
    process: str  # of the server, and which
    state: tuple[str, ...]  # the user, and name=value of each setting that somebody made
    text: str


@dataclass(frozen=True)
class Stray:
    """A statement that ran in another state than it should have."""

    text: str
    process: str
    lost: list[str]
    gained: list[str]

    def __str__(self) -> str:
        changes = [f"-{setting}" for setting in self.lost] + [f"+{setting}" for setting in self.gained]
        return f"{self.process}: {self.text}\n    {' '.join(changes)}"


def read(kept: Path) -> dict[str, list[Statement]]:
    """The statements of each file in a run, from the logs of its servers."""
    files = defaultdict(list)
    for log in sorted(kept.glob("server-*.log")):
        for process, time, state, text in RECORD.findall(log.read_text(encoding="utf-8", errors="replace")):
            if application := APPLICATION.search(state):
                statement = Statement(int(time), f"{log.stem} {process}", tuple(state.split("\t")), text)
                files[application[1]].append(statement)
    for statements in files.values():
        statements.sort(key=lambda statement: statement.time)
    return files


def strays(direct: list[Statement], pooled: list[Statement]) -> Iterator[Stray]:
    """The statements that both runs have, and that met different states."""
    for one, other in pairs(direct, pooled):
        lost = [setting for setting in one.state if setting not in (*other.state, *SAME_AS_NOTHING)]
        gained = [setting for setting in other.state if setting not in (*one.state, *SAME_AS_NOTHING)]
        if lost or gained:
            yield Stray(one.text, other.process, lost, gained)


def pairs(direct: list[Statement], pooled: list[Statement]) -> list[tuple[Statement, Statement]]:
    """The same statements of both runs: all of one within the other, or else as many as can be found."""
    texts = [[OID.sub("#", statement.text) for statement in run] for run in (direct, pooled)]
    found = []
    for text, statement in zip(texts[1], pooled, strict=True):
        if len(found) < len(direct) and text == texts[0][len(found)]:
            found.append((direct[len(found)], statement))
    if len(found) == len(direct):
        return found
    blocks = SequenceMatcher(None, *texts, autojunk=False).get_matching_blocks()
    return [(direct[block.a + at], pooled[block.b + at]) for block in blocks for at in range(block.size)]
