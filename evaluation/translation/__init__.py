"""Translated infrared held against measured infrared, pixel by pixel."""
