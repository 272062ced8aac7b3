"""What a mixture is, the laws, the fits, the decision, the mix spec and its exports. Pure: no torch, Prefect or MLflow."""
