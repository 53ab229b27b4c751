"""Datasets in the SCAN layout, read and validated; vocabularies, captions and pictures."""
