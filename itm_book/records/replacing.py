"""Writes results and learning curves to the record, and replaces numbers only where it may.

Page: "Batches".
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from itm_book.records import curves, results
from itm_book.records.record_files import changing
from itm_book.records.results import Result
from itm_core.errors import InputError

Key = tuple[str, str, str]  # dataset, recipe and changes of a recorded row


def export(
    new: Sequence[Result], root: Path, record: Path = results.RECORD, *, replace: bool = False
) -> list[str]:
    """Write results and, beside them, their learning curves; return the lines of `replaced`.

    What is replaced is found under the lock with which it is written: of two exports at once the
    second sees the rows of the first. Raises `InputError`, and writes nothing, as `replaced` does,
    where ranks would be replaced without ``replace``, for a damaged record, and for a run without
    a curve.

    Args:
        root: the run store, with the curves.
        record: the file of the results; the curves are beside it.
    """
    if not new:
        return []
    curve_record = record.with_name(curves.RECORD.name)
    if curve_record == record:
        remedy = "choose another name for --record"
        raise InputError("the learning curves are written to this file", file=record, remedy=remedy)
    of_runs = curves.of_runs(new, root)
    with changing(record):
        curves.require_readable(curve_record)  # before the other file is written
        lines = replaced(new, record)
        if lines and not replace:
            raise InputError(
                f"{len(lines)} recorded runs have other numbers",
                file=record,
                found="; ".join(lines),
                remedy="add --replace to record these in their place, or --record for another file",
            )
        results.write(new, record)
        curves.write(of_runs, curve_record)
    return lines


def key_of(result: Result) -> Key:
    """Return what a row of the record is the same by, besides its seed."""
    return result.dataset, result.recipe, result.changes


def replaced(new: Iterable[Result], record: Path = results.RECORD) -> list[str]:
    """Return a line with both sums for every recorded run that one of other ranks would replace.

    Raises `InputError` for a damaged record, and where a row would be replaced that is recorded
    with more seeds, or is a member of an ensemble that would stay: it would be a mixture of two
    programs or machines.
    """
    old: dict[Key, dict[int, Result]] = defaultdict(dict)
    for result in results.every_recorded(record):
        old[key_of(result)][result.seed] = result
    exported: dict[Key, dict[int, Result]] = defaultdict(dict)
    for result in new:
        exported[key_of(result)][result.seed] = result
    lines: list[str] = []
    gone: set[str] = set()  # recorded runs that would be replaced
    for key, seeds in exported.items():
        differing = [s for s in seeds.keys() & old[key] if not _same(old[key][s], seeds[s])]
        missing = sorted(old[key].keys() - seeds)
        if differing and missing:
            raise InputError(
                f"{_name(key)} is recorded with seeds that would not be replaced",
                file=record,
                expected=f"seeds {_listed(old[key])}",
                found=f"seeds {_listed(seeds)}",
                remedy="train the other seeds too, or export to another --record",
            )
        gone |= {old[key][seed].run for seed in differing}
        lines += [
            f"{_name(key)}, seed {seed}: rSum {_rsum(old[key][seed])} becomes {_rsum(seeds[seed])}"
            for seed in sorted(differing)
        ]
    _require_ensembles(old, exported, gone, record)
    return lines


def _require_ensembles(
    old: Mapping[Key, Mapping[int, Result]],
    exported: Mapping[Key, Mapping[int, Result]],
    gone: set[str],
    record: Path,
) -> None:
    """Raise `InputError` for a recorded ensemble that would keep the scores of a replaced run."""
    for key, seeds in old.items():
        for seed, result in seeds.items():
            parts = result.run.split(" + ")
            if len(parts) > 1 and gone.intersection(parts) and seed not in exported.get(key, {}):
                raise InputError(
                    f"{_name(key)}, seed {seed}: an ensemble of which a member would be replaced",
                    file=record,
                    remedy="train its other members too, or export to another --record",
                )


def _same(one: Result, other: Result) -> bool:
    """Return whether every query found what it asked for at the same rank."""
    ours, theirs = one.ranks, other.ranks
    return np.array_equal(ours.i2t, theirs.i2t) and np.array_equal(ours.t2i, theirs.t2i)


def _rsum(result: Result) -> str:
    return f"{result.metrics['rsum']:.2f}"


def _name(key: Key) -> str:
    dataset, recipe, changes = key
    return f"{dataset}, {recipe}{f' ({changes})' if changes else ''}"


def _listed(seeds: Iterable[int]) -> str:
    return ", ".join(map(str, sorted(seeds)))
