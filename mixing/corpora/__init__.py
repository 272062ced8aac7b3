"""Text and token ids wherever they lie: reading, the catalogue, token files."""
