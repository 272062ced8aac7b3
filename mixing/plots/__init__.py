"""Figures: of a ratio decision, of a mixture decision, and of fits; one look for all."""
