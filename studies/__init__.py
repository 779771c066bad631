"""What is good, measured: each file trains or compares, and draws the tables of docs/."""
