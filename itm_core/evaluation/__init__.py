"""Scores of every pair, retrieval numbers, statistics, and the quality of attention."""
