"""`python -m kdlight.workers SOCKET PARENT THREADS`: started by `kdlight.workers.process`, not by hand."""

from kdlight.workers.child import main
from kdlight.workers.tasks import Desk, warm_up

main(Desk(), warm_up)
