"""A study in MLflow: its runs, and the versions of its mix. A view: the run store is the truth."""
