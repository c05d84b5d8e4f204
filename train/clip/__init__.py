"""CLIP: what it is built from and frozen to, what a row shows it, and its contrastive loss over all processes."""
