"""What a mixture is, the laws, the fits, the decision, the mix spec, its exports. Pure: no torch, Prefect, MLflow."""
