"""Search in large galleries: a fast first stage, then the exact matcher."""
