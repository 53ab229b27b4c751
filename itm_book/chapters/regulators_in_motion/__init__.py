"""The page "Regulators in motion"."""
