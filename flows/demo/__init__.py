"""`mixlaw demo`: text that is already on the machine, cleaned, and the study that is run on it."""
