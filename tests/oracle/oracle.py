#!/usr/bin/env python3
"""PostgreSQL's own regression SQL, judged by a hot standby: prepares the suite and runs the oracle's long form."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "regress"))

from suite import Suite

from servers import BenchError, Workplace, postgres_binaries

COMMAND = ("cargo", "test", "--quiet", "--workspace", "--test", "oracle", "postgresqls_own", "--", "--nocapture")


def main() -> int:
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "pgweir-regress"
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tests", default="", help="only these files; test_setup comes first by itself")
    parser.add_argument("--cache", type=Path, default=cache, help="where the suite is kept; default %(default)s")
    options = parser.parse_args()
    try:
        with Workplace() as workplace:
            suite = Suite.prepare(options.cache, postgres_binaries(), workplace)
            environment = os.environ | {
                "PGWEIR_ORACLE_SUITE": str(suite.directory),
                "PGWEIR_ORACLE_MODULES": str(suite.modules),
                "PGWEIR_ORACLE_ONLY": options.tests,
            }
            return subprocess.run(COMMAND, env=environment, check=False).returncode
    except BenchError as error:
        print(f"oracle: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
