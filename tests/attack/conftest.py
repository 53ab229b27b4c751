"""Attacks do not wait for sources that no attack can reach."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from itm_book.datasets.download import RetryPolicy


@pytest.fixture(scope="package", autouse=True)
def no_pauses() -> Iterator[None]:
    """Try a source again at once: the pauses between five tries are 15 seconds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RetryPolicy, "wait", lambda *_: None)
        yield
