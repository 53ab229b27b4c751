"""The page "Real photographs"."""
