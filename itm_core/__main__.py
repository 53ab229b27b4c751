"""``python -m itm_core`` is the command ``itm``."""

from itm_core.cli import entry

entry()
