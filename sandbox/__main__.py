"""`python -I -m sandbox`: the same door as the `sandbox` program."""

from sandbox.cli.main import entry

entry()
