"""What a check of a built folder looks at: its files, its rows, and what may leave this machine."""
