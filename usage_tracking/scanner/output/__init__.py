"""The report for people and machines."""
