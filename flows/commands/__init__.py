"""The commands, thin: they read options, call the floor below, and print."""
