"""The built book as a reader sees it: every page, in a browser, from disk."""
