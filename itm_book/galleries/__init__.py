"""Galleries in a folder: photographs or a dataset, indexed once and searched with sentences."""
