"""Exports: the mix spec as a trainer's own file, one module per trainer."""
