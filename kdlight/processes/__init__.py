"""Work in another process: how one is started, limited and ended, and how typed messages cross to it and back."""

from kdlight.processes.message import (
    Channel,
    ChannelClosedError,
    ChannelSilentError,
    Failure,
    Message,
    MessageError,
    MessageLimits,
)
from kdlight.processes.process import Process, cores, describe_exit

__all__ = [
    "Channel",
    "ChannelClosedError",
    "ChannelSilentError",
    "Failure",
    "Message",
    "MessageError",
    "MessageLimits",
    "Process",
    "cores",
    "describe_exit",
]
