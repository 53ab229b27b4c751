"""Grids, their rows, and what their runs came to, here or recorded."""
