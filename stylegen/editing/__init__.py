"""Directions in the space of styles: found, kept, applied."""
