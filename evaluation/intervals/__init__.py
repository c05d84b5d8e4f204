"""Confidence intervals: over clusters of cases, over directions together, over seeds."""
