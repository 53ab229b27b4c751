"""Shared parts of figures with a kernel: the drawing widget, and the choice of methods.

Page: "First match".
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from typing import Any

import ipywidgets as widgets
import traitlets

from itm_book.explorer.in_page import module
from itm_core.errors import InputError
from itm_core.experiments.runs import Run
from itm_core.extras import optional

NONE = "(none)"


@cache
def widget_class(kind: str) -> Any:
    """Return the class of the widget that draws its ``records`` with a module of `in_page`.

    Raises `InputError` where anywidget is not installed; only these figures need it.
    """
    widget: Any = optional("anywidget", f"a live {kind}").AnyWidget

    class DrawingWidget(widget):
        """Draws its records."""

        _esm = module(kind)
        records = traitlets.Dict().tag(sync=True)

    return DrawingWidget


@contextmanager
def problem_shown(shown: Any) -> Iterator[None]:
    """Let a drawing widget show the `InputError` of the block, which a callback would only log."""
    try:
        yield
    except InputError as error:
        shown.records = {"problem": str(error)}


class Methods:
    """Widgets that choose one or two methods.

    Raises `InputError` without runs.
    """

    def __init__(self, runs: Mapping[str, Run]) -> None:
        if not runs:
            raise InputError("nothing to show", expected="at least one run", found="none")
        names = list(runs)
        self.first = widgets.Dropdown(options=names, description="method")
        self.second = widgets.Dropdown(options=[NONE, *names], description="second")
        self.second.value = names[1] if len(names) > 1 else NONE
        self.row = widgets.HBox([self.first, self.second])

    @property
    def chosen(self) -> list[str]:
        """The names of the chosen methods, without repetition."""
        return [n for n in dict.fromkeys((self.first.value, self.second.value)) if n != NONE]

    def observe(self, show: Callable[[object], None]) -> None:
        """Call ``show`` whenever the choice changes."""
        for choice in (self.first, self.second):
            choice.observe(show, "value")
