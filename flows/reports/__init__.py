"""Screens: results in words and tables, and progress."""
