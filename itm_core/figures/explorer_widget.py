"""The explorer with a kernel behind it: choose image, caption and methods, and the model answers.

Page: "First match".
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import ipywidgets as widgets
import traitlets

from itm_core.data.precomp import Split
from itm_core.errors import InputError
from itm_core.figures.explorer import module, payload
from itm_core.matchers import Matcher
from itm_core.pair_records import pair_record
from itm_core.runs import Run

NONE = "(none)"


@lru_cache(maxsize=1)
def widget_class() -> Any:
    """Return the class of the widget, whose ``records`` is what `explorer.payload` gives.

    Raises `InputError` where anywidget is not installed: only live explorers need it.
    """
    try:
        import anywidget
    except ImportError:
        raise InputError(
            "a live explorer needs anywidget",
            found="no such package",
            remedy="pip install 'anywidget>=0.9', or show explorer.explorer(records)",
        ) from None

    class Explorer(anywidget.AnyWidget):
        """Draws the records that it is given."""

        _esm = module()
        records = traitlets.Dict().tag(sync=True)

    return Explorer


def live(
    runs: Mapping[str, Run], split: Split, *, image: int = 0, caption: int = 0
) -> widgets.VBox:
    """Return an explorer with choices of image, caption and up to two of the runs.

    Args:
        runs: by the name that they are shown with.
        split: whose pairs are looked at.
        image, caption: what is shown first; the caption is counted among those of the image.

    Raises `InputError` without runs, without anywidget, or for a pair that the split lacks.
    """
    if not runs:
        raise InputError("nothing to explore", expected="at least one run", found="none")
    split.place(image, caption)
    names = list(runs)
    first = widgets.Dropdown(options=names, description="method")
    second = widgets.Dropdown(options=[NONE, *names], description="beside it")
    second.value = names[1] if len(names) > 1 else NONE
    images = [(f"{k}: {name}", k) for k, name in enumerate(split.ids)]
    pictures = widgets.Dropdown(options=images, value=image, description="image")
    captions = widgets.Dropdown(
        options=_captions(split, image), value=caption, description="caption"
    )
    shown = widget_class()()
    matchers: dict[str, Matcher] = {}

    def show(_: object = None) -> None:
        if captions.value is None:  # while another image's captions are put in
            return
        place = split.place(pictures.value, captions.value)
        chosen = dict.fromkeys(name for name in (first.value, second.value) if name != NONE)
        for name in chosen:
            matchers.setdefault(name, runs[name].matcher())
        records = [
            pair_record(runs[name], split, pictures.value, place, name=name, matcher=matchers[name])
            for name in chosen
        ]
        shown.records = payload(records)

    def turn(change: Mapping[str, Any]) -> None:
        captions.options = _captions(split, change["new"])
        show()

    pictures.observe(turn, "value")
    for choice in (captions, first, second):
        choice.observe(show, "value")
    show()
    return widgets.VBox([widgets.HBox([pictures, captions]), widgets.HBox([first, second]), shown])


def _captions(split: Split, image: int) -> list[tuple[str, int]]:
    """Return the captions of an image as a choice."""
    count = split.captions_per_image
    return [(split.captions[image * count + k], k) for k in range(count)]
