"""`python -m throughtime`, which is how torchrun starts it."""

import sys

from .command.cli import main

sys.exit(main())
