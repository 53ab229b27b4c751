"""Finding images by sentences: with a finished run, in two stages, and from a million pictures."""
