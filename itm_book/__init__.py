"""What makes this book and its experiments, on top of `itm_core`."""

import itm_core  # noqa: F401  # before torch: it says how threads wait
