"""Benchmarks: each times one thing, side by side, and records it."""
