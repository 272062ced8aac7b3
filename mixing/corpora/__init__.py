"""Corpora of text and token ids: reading, the catalogue, token files."""
