"""The facts: what this machine and this caller can do, and where our files live."""
