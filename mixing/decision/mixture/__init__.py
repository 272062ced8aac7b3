"""More than two sources: the constrained optimum with its interval, the Pareto front, the mixtures to train next."""
