r"""The escape sequences of ECMA-48 and xterm, as the source of a regular expression.

A sequence may lack its end: the text may end first, or a byte that the sequence cannot have.  A
string (``ESC ]`` and the like) ends with its line at the latest.
"""

from __future__ import annotations

import re

__all__ = ["ESCAPE", "ESCAPE_SEQUENCE", "SEQUENCE"]

ESCAPE = b"\x1b"

_CONTROL_SEQUENCE = rb"\[[0-?]*+[ -/]*+[@-~]?"
"""CSI: colours, movements."""

_STRING = rb"\][^\x07\x1b\r\n]*+(?:\x07|\x1b\\)?|[PX^_][^\x1b\r\n]*+(?:\x1b\\)?"
"""OSC: titles, hyperlinks; DCS, SOS, PM and APC."""

SEQUENCE = ESCAPE + b"(?:" + _CONTROL_SEQUENCE + b"|" + _STRING + rb"|[ -/]*+[0-~]?)"

ESCAPE_SEQUENCE = re.compile(SEQUENCE)
