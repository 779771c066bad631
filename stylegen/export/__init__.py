"""A generator for use elsewhere."""
