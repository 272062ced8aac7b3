"""From a study to its result, step by step; plain functions without Prefect or MLflow."""
