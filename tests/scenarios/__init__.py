"""Real servers under faults; slow, and so run by `make test-scenarios` alone."""
