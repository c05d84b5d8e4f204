"""What stands beside the weights: cards, demo and what publishes them."""
