"""Where proxy runs are trained."""
