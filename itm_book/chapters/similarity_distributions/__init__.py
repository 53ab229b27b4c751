"""The page "Similarity distributions"."""
