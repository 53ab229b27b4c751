"""What figures with a kernel behind them share: the widget that draws, and the choice of methods.

Page: "First match".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
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

    Raises `InputError` where anywidget is not installed: only live figures need it.
    """
    widget: Any = optional("anywidget", f"a live {kind}").AnyWidget

    class Drawn(widget):
        """Draws the records that it is given."""

        _esm = module(kind)
        records = traitlets.Dict().tag(sync=True)

    return Drawn


class Methods:
    """The choice of one method, and perhaps another beside it.

    Raises `InputError` without runs.
    """

    def __init__(self, runs: Mapping[str, Run]) -> None:
        if not runs:
            raise InputError("nothing to show", expected="at least one run", found="none")
        names = list(runs)
        self.first = widgets.Dropdown(options=names, description="method")
        self.second = widgets.Dropdown(options=[NONE, *names], description="beside it")
        self.second.value = names[1] if len(names) > 1 else NONE
        self.row = widgets.HBox([self.first, self.second])

    @property
    def chosen(self) -> list[str]:
        """The names that are chosen, each once."""
        return [n for n in dict.fromkeys((self.first.value, self.second.value)) if n != NONE]

    def observe(self, show: Callable[[object], None]) -> None:
        """Call ``show`` whenever another method is chosen."""
        for choice in (self.first, self.second):
            choice.observe(show, "value")
