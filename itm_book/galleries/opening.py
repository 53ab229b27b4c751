"""Opens a gallery of either kind.

Page: "Your pictures", "Search at scale".
"""

from __future__ import annotations

from pathlib import Path

from itm_book.galleries.gallery_note import read_note
from itm_book.galleries.photograph_names import NOTE
from itm_book.galleries.results import Gallery
from itm_core.errors import InputError


def open_gallery(folder: Path, matcher: str | None = None) -> Gallery:
    """Return the gallery in a folder, of photographs or of a dataset.

    Args:
        matcher: a name or a folder, where the matcher is not in its former place.

    Raises `InputError` when there is no gallery, it is not finished or damaged, or its matcher is
    missing or has other weights.
    """
    if not (folder / NOTE).exists():
        state = f"no {NOTE} in it" if folder.is_dir() else "no such folder"
        raise InputError(
            "no gallery in this folder",
            file=folder,
            found="a file" if folder.is_file() else state,
            remedy="make one with itm index, and name its folder",
        )
    if "photographs" in read_note(folder):
        from itm_book.galleries.indexing import open_photographs

        return open_photographs(folder, matcher)
    from itm_book.galleries.dataset_gallery import DatasetGallery

    return DatasetGallery(folder, matcher)
