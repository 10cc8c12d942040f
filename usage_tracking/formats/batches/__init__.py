"""Batches: many requests that one request submits, and whose results come later and for less.

A batch is a job. Its answers name it (submission, polls), and its results say what each request
used.
"""
