"""A running stack that other programs can talk to: ``currant start``, and `StackClient`.

A stack is a Runner that listens on a Unix socket.  ``docs/stack.md`` describes the protocol.  Read
in this order:

1. `_folder` finds the socket for the folder of a project, and lets one stack of a folder run.
2. `_protocol` has the requests, as values and as lines.
3. `_history` keeps the last output of each command.
4. `_control` carries out requests, on the `_commands`.  `_needs` says which commands start
   together, `_waiting` waits for them, and `_description` says how each command is.  `_reloading`
   reads the `_configuration` again, and does what it says now.
5. `_server` accepts clients.  Each `_connected_client` has one `_conversation`, over a `_stream`.
   `_client` is the other end.
6. `_times` has times in the form that people read and write.
"""

from currant.stack._client import Attachment, CommandInfo, Listing, StackClient
from currant.stack._configuration import Difference
from currant.stack._errors import (
    ErrorKind,
    NoStackError,
    ProtocolVersionError,
    RequestError,
    StackError,
    StackFolderError,
    StackRunningError,
)
from currant.stack._folder import StackInfo

__all__ = [
    "Attachment",
    "CommandInfo",
    "Difference",
    "ErrorKind",
    "Listing",
    "NoStackError",
    "ProtocolVersionError",
    "RequestError",
    "StackClient",
    "StackError",
    "StackFolderError",
    "StackInfo",
    "StackRunningError",
]
