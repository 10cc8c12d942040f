"""Where code runs, and which code of a framework runs it."""
