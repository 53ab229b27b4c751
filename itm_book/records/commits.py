"""Which commits a recorded number may come from: those without uncommitted changes."""

from __future__ import annotations

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
