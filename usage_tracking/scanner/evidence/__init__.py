"""Whether a call calls a model, and how that is known."""
