"""Datasets: registry, download, conversion, and annotations."""
