"""From notebooks and prose to the built book."""
