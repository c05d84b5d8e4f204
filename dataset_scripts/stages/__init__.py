"""What is done to a batch: pure functions, a file for each, that return what they keep and named rejects."""
