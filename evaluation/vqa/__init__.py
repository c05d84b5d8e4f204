"""Questions that boxes, classes and scenes answer; what a captioner answers; and scores beside blind baselines."""
