"""Print the port for the app: the one asked for, else the first free one from 8501 on."""

import socket
import sys


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", port))
        except OSError:
            return False
        return True


asked = [int(a) for a in sys.argv[1:]]
for port in asked or range(8501, 8601):
    if is_free(port):
        if not asked and port != 8501:
            sys.stderr.write(f"Port 8501 is in use; the app takes {port}.\n")
        print(port)  # noqa: T201
        sys.exit(0)
sys.exit(f"Port {asked[0]} is in use; choose another one: make app PORT=8600." if asked else "No port is free.")
