"""Real servers under faults. These slow tests run only in `make test-scenarios`."""
