"""Speed and memory, side by side with peers in one run; results are kept in `results/`."""
