"""The models that proxies are."""
