"""Attacks by the thousand: every command and reader of the table with its files made wrong.

To run many, in pieces, from the root of the project::

    python -m tests.attack.campaign --seed 1 --cases 20 --only search

A failure is printed with its case, such as ``search gallery dog : gallery/search.json : 1/7``, and
is repeated with ``--case`` and that text; ``--keep FOLDER`` also leaves the folder as it was then.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

import torch

from itm_core import cli, environment
from tests.attack.attempts import Outcome, Tree, call, faults, run_command
from tests.attack.mutations import mutated
from tests.attack.place import fill
from tests.attack.table import COMMANDS, readers


@dataclass(frozen=True)
class Case:
    """One file of one command or reader, and the seed of the change that is made to it."""

    target: str
    file: str
    seed: str

    def __str__(self) -> str:
        return f"{self.target} : {self.file} : {self.seed}"


@dataclass(frozen=True)
class Failure:
    """What came out of a case, where that is neither a valid result nor one message."""

    case: Case
    change: str
    content: bytes
    faults: list[str]

    def __str__(self) -> str:
        shown = repr(self.content[:120])
        return f"{'; '.join(self.faults)}\n    case {self.case}\n    {self.change}: {shown}"


def targets() -> list[tuple[str, str]]:
    """Return every command and reader of the table with each pattern of files that it opens."""
    commands = [(command, pattern) for command, files in COMMANDS.items() for pattern in files]
    return commands + [(f"read {name}", pattern) for name, (_, pattern) in readers().items()]


def cases(
    root: Path, seed: int, count: int, wanted: Callable[[str], bool] = lambda _: True
) -> Iterator[Case]:
    """Yield ``count`` cases of every file of the commands and readers that are wanted."""
    for target, pattern in targets():
        if not wanted(target):
            continue
        files = sorted(str(path.relative_to(root)) for path in root.glob(pattern))
        assert files, f"{target}: no file {pattern}"
        for file in files:
            for number in range(count):
                yield Case(target, file, f"{seed}/{number}")


def attack(case: Case, tree: Tree) -> Failure | None:
    """Return what is wrong with the outcome of one case; the folder is as before afterwards."""
    path = tree.root / case.file
    change = mutated(tree.content[case.file] or b"", _ending(path), str(case))
    path.write_bytes(change.content)
    outcome = _run(case, path)
    found = faults(outcome)
    if outcome.code == 2 and not outcome.trace:
        new = [name for name in tree.changed() if name != case.file]
        found += [f"written: {', '.join(new[:4])}"] if new else []
    return Failure(case, change.what, change.content, found) if found else None


def _ending(path: Path) -> str:
    of_json = path.suffix == ".tsv" and path.parent.name in ("vinvl", "oscar")
    return ".json.tsv" if of_json else path.suffix


def _run(case: Case, path: Path) -> Outcome:
    kind, _, name = case.target.partition(" ")
    if kind == "read":
        reader = readers()[name][0]
        return call(lambda: reader(path))
    return run_command(case.target.split())


@contextmanager
def arena() -> Iterator[Tree]:
    """The working folder of attacks, with a valid file of every kind; one thread computes."""
    before, threads = Path.cwd(), torch.get_num_threads()
    torch.set_num_threads(1)  # the arrays are tiny
    with tempfile.TemporaryDirectory() as name:
        root = Path(name).resolve()
        os.chdir(root)
        try:
            with committed():
                fill(root)
                yield Tree.of(root)
        finally:
            os.chdir(before)
            torch.set_num_threads(threads)


@contextmanager
def committed() -> Iterator[None]:
    """One parser for all commands, which takes longer than most of them, and a commit."""
    parser = cli.parser()
    with (
        patch.object(cli, "parser", lambda: parser),
        patch.object(environment, "current_commit", lambda: "c0082a58b567"),
    ):
        yield


def attacked(chosen: Iterable[Case], tree: Tree, keep: Path | None = None) -> Iterator[Failure]:
    """Yield the failures of cases; the folder is restored after each, and first copied there."""
    for case in chosen:
        failure = attack(case, tree)
        if failure is not None:
            if keep is not None:
                shutil.copytree(tree.root, keep, dirs_exist_ok=True)
            yield failure
        tree.restore()


def main() -> int:
    """Run the cases of the command line and print every kind of failure once, with its number."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cases", type=int, default=10, help="of each file of each command")
    parser.add_argument("--only", default="", help="commands and readers whose text has this")
    parser.add_argument("--case", help="one case, as a failure prints it")
    parser.add_argument("--keep", type=Path, help="copy the folder of each failure to this one")
    options = parser.parse_args()

    with arena() as tree:
        chosen = list(cases(tree.root, options.seed, options.cases, lambda t: options.only in t))
        if options.case:
            chosen = [Case(*options.case.split(" : "))]
        failures = list(attacked(chosen, tree, options.keep))
    kinds = Counter(failure.faults[0] for failure in failures)
    shown: set[str] = set()
    for failure in failures:
        if failure.faults[0] not in shown:
            shown.add(failure.faults[0])
            print(f"\n{kinds[failure.faults[0]]} x {failure}")
    print(
        f"\nseed {options.seed}: {len(chosen)} cases, {len(failures)} failures, {len(kinds)} kinds"
    )
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
