"""Numbers come from commits without uncommitted changes."""

from __future__ import annotations

import pytest

from itm_book.records.commits import require_committed
from itm_core.errors import InputError


def test_what_is_in_no_commit_is_refused_with_the_remedy() -> None:
    require_committed("c0082a58b567")
    for commit, said in (
        ("c0082a58b567+", "uncommitted changes since c0082a58b567"),
        (None, "no commit of this package"),
        ("", "no commit of this package"),
    ):
        with pytest.raises(InputError, match=f"found {said}. Remedy: commit the changes"):
            require_committed(commit)
