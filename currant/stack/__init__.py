"""A running stack that other programs can talk to: ``currant start``, and `StackClient`.

A stack is a Runner that listens on a Unix socket.  ``docs/stack.md`` describes the protocol.  To
read the package: `_folder` finds the socket of a project's folder, `_protocol` is the requests as
values and as lines, `_history` keeps the last output, `_control` carries requests out (and
`_reload` compares configurations), `_server` serves clients, and `_client` is a client.
"""

from currant.stack._client import Attachment, CommandInfo, Listing, StackClient
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
from currant.stack._reload import Difference

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
