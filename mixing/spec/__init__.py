"""The mix spec: the shares a trainer is handed, and how we know."""
