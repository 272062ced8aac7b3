"""The entrance: the study file, Prefect flows, MLflow, the command line."""
