"""What makes this book and its experiments, on top of `itm_core`."""
