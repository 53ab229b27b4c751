"""Grids, their rows, and the results of their runs, trained here or recorded."""
