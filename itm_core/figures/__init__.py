"""Figures: functions that take records, tables or arrays and return a matplotlib Figure or HTML."""
