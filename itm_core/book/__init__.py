"""The book: its notebooks run, its pages laid out, the page of all runs."""
