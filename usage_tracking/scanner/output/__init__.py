"""Reports for people and machines, and the baseline of accepted findings."""
