"""Protocols and metrics: a checkpoint or embeddings in, results JSON out."""
