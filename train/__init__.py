"""Programs that train the models, launched with accelerate."""
