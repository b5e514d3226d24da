"""sandbox: run a command behind every wall that Linux offers without root.

The command line is the supported door (`sandbox exec --help`); a Python API comes with a later
version. Importing this package imports nothing else.
"""

__version__ = "0.1.0"
