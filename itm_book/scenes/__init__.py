"""Scenes, the synthetic dataset: rendered images, captions, and ground-truth word alignment."""
