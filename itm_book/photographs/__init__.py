"""From photographs to region features."""
