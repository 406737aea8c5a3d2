"""Training on a frozen base, and the drawn world that the built-in model knows."""
