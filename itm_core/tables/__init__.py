"""Tables and sentences made from the numbers of runs: what the chapters say and how sure it is."""
