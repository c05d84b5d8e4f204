"""Ranks, recalls and the retrieval protocols."""
