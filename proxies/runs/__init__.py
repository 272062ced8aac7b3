"""The run store, and the processes that fill it: claims, launcher, worker."""
