"""The authors' checkpoint files, imported as runs."""
