"""Measurements of speed and cost: each file is one command that prints a table and a line of JSON."""
