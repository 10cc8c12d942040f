"""A site whose admin has one of the themes that the package supports, in a process of its own."""
