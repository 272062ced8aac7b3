"""The runs table: one tidy row per run, checkpoint and validation set, from any layout."""
