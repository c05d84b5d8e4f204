"""The captioner: a language model put behind the towers of a CLIP, its tasks, and its loss on answers."""
