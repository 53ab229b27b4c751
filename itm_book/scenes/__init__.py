"""Scenes: rendered images with captions, whose every word is linked to its object."""
