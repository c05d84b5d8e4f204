"""Zero-shot, presence and probe protocols, and the names of classes."""
