"""Where in a large scene is what a text says: heat maps, their regions and their published metrics."""
