"""The parts of the command line, a file for each group of commands."""
