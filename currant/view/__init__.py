"""The terminal of a person who watches commands run: a status line, keys, and input for a command.

Nothing here changes the screen as a whole: the output stays in the scrollback as it was written,
and one line is below it.  Read in this order:

1. `_terminal` has the modes of the keyboard: when they are set, and how they come back.
2. `_status` is the line below the output, and `_console` the sink above it, which can leave output
   out and remembers the last failure.
3. `_keys` turns bytes into requests, without a terminal.  `_keyboard` reads the keys and does what
   they ask for.  `_input` gives all of them to one command instead.

State comes from `currant._values.state` alone.  The keys never hold the output up: what they show
goes through the sink when that is free.
"""

from currant.view._console import ViewConsole
from currant.view._input import CommandInput
from currant.view._keyboard import Keyboard
from currant.view._terminal import resize_terminals

__all__ = ["CommandInput", "Keyboard", "ViewConsole", "resize_terminals"]
