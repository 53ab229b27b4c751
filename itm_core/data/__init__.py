"""Datasets: the embedded one, folders in the SCAN layout, and what the field hands out."""
