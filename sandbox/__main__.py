"""`python -I -m sandbox`: the same door as the `sandbox` program."""

import sys

from sandbox.cli.main import main

sys.exit(main())
