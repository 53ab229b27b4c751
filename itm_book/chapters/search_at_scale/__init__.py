"""The page "Search at scale"."""
