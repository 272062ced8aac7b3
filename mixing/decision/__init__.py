"""The decision: the question, who answers it, refusals, baselines, and the words for it."""
