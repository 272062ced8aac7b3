"""The command `mixlaw`, a module per command."""
