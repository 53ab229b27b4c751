"""Interactive pictures that work without a kernel, and their widgets."""
