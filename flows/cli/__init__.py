"""The command `mixlaw`: `main.py` lists the commands, and each stands in the file of its name."""
