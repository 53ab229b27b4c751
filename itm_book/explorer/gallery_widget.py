"""The gallery with a kernel behind it: type a sentence or choose an image, and the model answers.

Page: "The gallery".
"""

from __future__ import annotations

from collections.abc import Mapping

import ipywidgets as widgets

from itm_book.explorer.gallery import payload
from itm_book.explorer.live import Methods, widget_class
from itm_book.search.searcher import Searcher
from itm_core.data.dataset import Split
from itm_core.errors import InputError
from itm_core.experiments.runs import Run


def live(
    runs: Mapping[str, Run], split: Split, *, sentence: str = "", image: int = 0
) -> widgets.VBox:
    """Return a gallery with a line to type in, and choices of an image and up to two of the runs.

    Args:
        runs: by the name that they are shown with.
        split: what is searched.
        sentence: what is asked first; by default the first caption of the split.
        image: which is chosen first.

    Raises `InputError` without runs, without anywidget, or for an image that the split lacks.
    """
    methods = Methods(runs)
    split.place(image, 0)
    asked = widgets.Text(
        value=sentence or split.captions[0],
        description="sentence",
        continuous_update=False,
        layout={"width": "100%", "max_width": "46em"},
    )
    pictures = widgets.Dropdown(
        options=[(f"{k}: {name}", k) for k, name in enumerate(split.ids)],
        value=image,
        description="image",
    )
    way = widgets.ToggleButtons(options=["images", "captions"], description="find")
    shown = widget_class("gallery")()
    searchers: dict[str, Searcher] = {}

    def show(_: object = None) -> None:
        for name in methods.chosen:
            if name not in searchers:
                searchers[name] = Searcher(runs[name], split, name=name)
        chosen = [searchers[name] for name in methods.chosen]
        try:
            if way.value == "images":
                shown.records = payload([[one.images_for(asked.value) for one in chosen]])
            else:
                shown.records = payload([[one.captions_for(pictures.value) for one in chosen]])
        except InputError as error:
            shown.records = {"problem": str(error)}

    def turned(wanted: str) -> None:
        """Show what was just asked for, whichever way the gallery stood."""
        if way.value == wanted:
            show()
        else:
            way.value = wanted  # which shows it

    asked.observe(lambda _: turned("images"), "value")
    pictures.observe(lambda _: turned("captions"), "value")
    way.observe(show, "value")
    methods.observe(show)
    show()
    return widgets.VBox([asked, widgets.HBox([pictures, way]), methods.row, shown])
