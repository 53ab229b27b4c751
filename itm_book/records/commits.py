"""Which commits a recorded number may come from: those without uncommitted changes."""

from __future__ import annotations

from collections.abc import Iterable

from itm_core.errors import InputError


def is_committed(commit: str | None) -> bool:
    """Return whether an `environment.current_commit`, as noted with a number, has no changes.

    >>> is_committed("c0082a58b567"), is_committed("c0082a58b567+"), is_committed(None)
    (True, False, False)
    """
    return bool(commit) and not str(commit).endswith("+")


def require_committed(commit: str | None) -> None:
    """Raise `InputError` unless the commit that is to be recorded `is_committed`."""
    if is_committed(commit):
        return
    raise InputError(
        "a record needs code that is in a commit",
        expected="a git checkout without uncommitted changes of code",
        found=f"uncommitted changes since {commit[:-1]}" if commit else "no commit of this package",
        remedy="commit the changes that git status shows, and run the same command again",
    )


def require_committed_runs(runs: Iterable[tuple[str, str | None]]) -> None:
    """Raise `InputError` when one of the runs was made by code that is in no commit.

    Such a run cannot be reproduced. ``runs`` are folders of runs with their commits, as
    `environment.current_commit` describes them.
    """
    runs = list(runs)
    wrong = [(run, commit) for run, commit in runs if not is_committed(commit)]
    if not wrong:
        return
    examples = [f"{run} ({commit or 'no commit'})" for run, commit in wrong[:3]]
    more = [f"and {len(wrong) - 3} more"] if len(wrong) > 3 else []
    raise InputError(
        "runs made by code that is in no commit cannot be recorded",
        expected="runs of a commit without uncommitted changes of code",
        found=f"{len(wrong)} of {len(runs)}: {', '.join([*examples, *more])}",
        remedy="commit the code, delete the folders of these runs in the run store, and train "
        "them again (itm grid NAME)",
    )
