"""Where rows come from: an adapter for each upstream copy that a user may have."""
