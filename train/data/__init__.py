"""Rows in their order: which ones a step shows, kept or streamed, and drawn alike by any number of processes."""
