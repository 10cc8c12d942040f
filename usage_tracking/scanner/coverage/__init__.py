"""Whether a call site is tracked."""
