"""Where code runs: at its calls, later, or when a framework calls it."""
