"""Text -> tokens -> proxy models -> losses. torch lives here; Prefect and MLflow do not."""
