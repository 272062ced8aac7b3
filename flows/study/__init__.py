"""The study file: its keys, reading it, and the file that `mixlaw init` writes."""
