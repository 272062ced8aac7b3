"""Which mixtures to train."""
