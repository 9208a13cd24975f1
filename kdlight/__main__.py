"""`python -m kdlight` is the command `kdlight`."""

import sys

from kdlight.cli import main

sys.exit(main())
