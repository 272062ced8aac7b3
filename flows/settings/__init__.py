"""Where a study writes, the environment of Prefect and MLflow, and logs."""
