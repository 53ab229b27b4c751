"""Methods, recipes, and runs with their store."""
