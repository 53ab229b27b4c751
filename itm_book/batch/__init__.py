"""Grids run on Snakemake."""
