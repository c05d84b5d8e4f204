"""The scene simulator: a scene graph, drawn once, seen in RGB and in infrared, and described from that graph."""
