"""Names that mosaicml-streaming imports."""
