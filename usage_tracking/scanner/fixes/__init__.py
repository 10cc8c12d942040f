"""How to track a call site: as advice, and as a patch."""
