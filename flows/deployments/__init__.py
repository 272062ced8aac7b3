"""A study as Prefect deployments: what is registered, where runs are trained, when it runs again."""
