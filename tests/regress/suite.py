"""PostgreSQL's own regression suite, made ready to run.

The suite is no part of what Debian installs: its scripts and expected answers come from the source package, and the
functions in C that it calls (`regress.so`) are compiled against the server's headers. Both are fetched through apt, with
lists and caches of our own so that neither the machine's sources nor its installed packages change, for exactly the
version that is installed here, and kept in a cache directory for the next run.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tarfile
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "bench"))

from servers import START_SECONDS, BenchError, Workplace

# Where this machine says what apt installs from.
APT_CONFIGURATION = Path("/etc/apt")

# What is Debian's own among it: other archives need not have sources.
DEBIANS_OWN = re.compile(r"/debian(-security)?/?(\s|$)", re.M)

# Modules of contrib that the suite loads from the directory of regress.so.
BORROWED_MODULES = ("autoinc.so", "refint.so")

SUITE = "src/test/regress"
TRACE = Path(__file__).with_name("trace.c")


@dataclass(frozen=True)
class Suite:
    """The suite in a directory that the servers' account may read, and what runs it."""

    version: str  # of Debian's package
    directory: Path  # sql, expected, data, parallel_schedule
    modules: Path  # regress.so and those of contrib
    pg_regress: Path
    binaries: Path  # psql

    @staticmethod
    def prepare(cache: Path, binaries: Path, workplace: Workplace) -> Suite:
        """Fetches and compiles what the cache lacks, and copies it to where the servers' account may read it."""
        library = binaries.parent / "lib"
        pg_regress = library / "pgxs/src/test/regress/pg_regress"
        if not pg_regress.is_file():
            raise BenchError(f"no pg_regress at {pg_regress}: install Debian's package of PostgreSQL's client")
        major = binaries.parent.name
        version = run("dpkg-query", "-W", "-f", "${Version}", f"postgresql-{major}").strip()
        kept = obtain(cache, major, version)
        compile_module(kept, major, TRACE)
        directory = workplace.directory / "suite"
        modules = workplace.directory / "modules"
        shutil.copytree(kept / "suite", directory)
        modules.mkdir()
        for module in (kept / "regress.so", kept / "trace.so", *(library / name for name in BORROWED_MODULES)):
            shutil.copy2(module, modules)
        return Suite(version, directory, modules, pg_regress, binaries)


def obtain(cache: Path, major: str, version: str) -> Path:
    """The suite of this version; where Debian has no sources of it (any more), the one that was kept last of the same major."""
    kept = cache / version
    if (kept / "ready").exists():
        return kept
    try:
        fetch(kept, major, version)
        compile_module(kept, major, kept / "suite/regress.c")
        (kept / "ready").touch()
    except BenchError as error:
        others = sorted(cache.glob(f"{major}.*/ready"), key=lambda ready: ready.stat().st_mtime)
        if not others:
            raise
        kept = others[-1].parent
        print(f"the suite of {kept.name} serves for {version}: {error}", file=sys.stderr)
    return kept


def fetch(kept: Path, major: str, version: str) -> None:
    """Downloads the source package and, unless they are installed, the server's headers."""
    if not shutil.which("apt-get"):
        raise BenchError("no apt-get here: the suite comes from Debian's source package")
    apt = kept / "apt"
    for directory in ("lists/partial", "cache/archives/partial"):
        (apt / directory).mkdir(parents=True, exist_ok=True)
    apt_get(apt, "update")
    apt_get(apt, "source", "--download-only", f"postgresql-{major}={version}")
    unpack_suite(apt, kept)
    if not installed_headers(major).is_dir():
        apt_get(apt, "download", f"postgresql-server-dev-{major}={version}")
        for package in apt.glob("postgresql-server-dev-*.deb"):
            run("dpkg-deb", "-x", package, kept / "headers")
    shutil.rmtree(apt)


def apt_get(apt: Path, *arguments: str) -> None:
    write_sources(apt)
    settings = {
        "Dir::Etc::SourceList": apt / "sources.list",
        "Dir::Etc::SourceParts": apt / "sources.list.d",
        "Dir::State::Lists": apt / "lists",
        "Dir::Cache": apt / "cache",
        "APT::Sandbox::User": "root",  # the directory is not apt's own user's to read
        "Debug::NoLocking": "true",
    }
    options = [word for name, value in settings.items() for word in ("-o", f"{name}={value}")]
    run("apt-get", "-q", *options, *arguments, directory=apt)


def write_sources(apt: Path) -> None:
    """The machine's own entries for Debian's archive, with the sources of its packages besides."""
    parts = apt / "sources.list.d"
    if parts.is_dir():
        return
    parts.mkdir()
    lines: list[str] = []
    for file in [APT_CONFIGURATION / "sources.list", *(APT_CONFIGURATION / "sources.list.d").glob("*.list")]:
        if file.is_file():
            lines += [line for line in file.read_text(encoding="utf-8").splitlines() if re.match(r"deb\s", line)]
    stanzas: list[str] = []
    for file in (APT_CONFIGURATION / "sources.list.d").glob("*.sources"):
        stanzas += re.split(r"\n\s*\n", file.read_text(encoding="utf-8"))
    lines = [line for line in lines if DEBIANS_OWN.search(line)]
    stanzas = [stanza for stanza in stanzas if DEBIANS_OWN.search(stanza)]
    if not lines and not stanzas:
        raise BenchError(f"{APT_CONFIGURATION} names no archive of Debian's")
    with_sources = [line for entry in lines for line in (entry, re.sub(r"^deb\b", "deb-src", entry))]
    (apt / "sources.list").write_text("".join(f"{line}\n" for line in with_sources), encoding="utf-8")
    stanzas = [re.sub(r"(?m)^Types:.*$", "Types: deb deb-src", stanza) for stanza in stanzas]
    (parts / "debian.sources").write_text("\n\n".join(stanzas) + "\n", encoding="utf-8")


def unpack_suite(apt: Path, kept: Path) -> None:
    """Takes the suite's directory, and nothing else, out of the upstream archive: Debian's patches leave it alone."""
    archives = list(apt.glob("postgresql-*.orig.tar.*"))
    if len(archives) != 1:
        raise BenchError(f"the source package should hold one upstream archive, not {archives}")
    with tarfile.open(archives[0]) as archive:
        for member in archive:
            _, _, path = member.name.partition("/")
            content = archive.extractfile(member) if member.isfile() and path.startswith(f"{SUITE}/") else None
            if content is not None:
                file = kept / "suite" / path.removeprefix(f"{SUITE}/")
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(content.read())


def installed_headers(major: str) -> Path:
    return Path(f"/usr/include/postgresql/{major}/server")


def compile_module(kept: Path, major: str, source: Path) -> None:
    """Compiles a module that servers load."""
    headers = installed_headers(major)
    if not headers.is_dir():
        headers = kept / "headers" / headers.relative_to("/")
    run("cc", "-O2", "-fPIC", "-shared", "-I", headers, "-o", kept / f"{source.stem}.so", source)


def run(*command: object, directory: Path | None = None) -> str:
    """Runs a command with the caller's own rights and returns what it printed."""
    words = [str(word) for word in command]
    environment = os.environ | {"LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"}
    done = subprocess.run(
        words,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        cwd=directory,
        env=environment,
    )
    if done.returncode != 0:
        raise BenchError(f"{' '.join(words)}\n{done.stdout[-2000:]}")
    return done.stdout
