"""`python -m kdlight.workers SOCKET PARENT THREADS [warm]`: started by `kdlight.workers.pool`, not by hand."""

import sys

from kdlight.workers.child import main
from kdlight.workers.models import warm_up

main(warm_up if "warm" in sys.argv else lambda threads: ["at once"])
