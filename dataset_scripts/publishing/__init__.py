"""The public form of a built folder, and bringing it to the Hub."""
