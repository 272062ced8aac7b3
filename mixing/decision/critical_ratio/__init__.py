"""Two sources, replay and target: the critical mixture ratio with its interval, and the ratios to train next."""
