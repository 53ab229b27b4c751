"""One image and one caption: maps, words and scores, ready to be drawn."""
