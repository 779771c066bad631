"""What is fast and what it costs, measured: each file is one command that prints a table and a line of JSON."""
