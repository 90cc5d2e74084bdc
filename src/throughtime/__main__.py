"""`python -m throughtime`, which is how torchrun starts it."""

import sys

from .cli import main

sys.exit(main())
