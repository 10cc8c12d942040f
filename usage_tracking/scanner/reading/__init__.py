"""From the files of a project to facts: one file at a time, without knowledge of the others."""
