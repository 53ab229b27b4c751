"""Regions of photographs: boxes, the default network, the trained extractor, coverage."""
