"""Prefect: its server, deployments, artifacts, events and crashed runs."""
