"""Runs tables out of other people's systems."""
