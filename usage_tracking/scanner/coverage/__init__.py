"""Whether a call site is tracked: by a section on every path to it, or by a tracker after it."""
