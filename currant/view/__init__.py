"""The terminal of a person who runs commands: a status line, keys, and input for a command.

No module here changes the whole screen: the output stays in the scrollback as it was written, with
one line below.  Read in this order:

1. `_terminal` sets the modes of the terminal for single keys, and restores the modes.
2. `_status` is the line below the output.  `_console` is the sink for the output, which can filter
   lines and keeps the last failure.
3. `_keys` turns characters into requests, without a terminal.  `_keyboard` reads the keys and
   carries out the requests.  `_input` instead passes all input to one command.

The state of commands comes from `currant._values.state` alone.  Keys never hold up the output:
their texts go through the sink, once the sink is free.
"""

from currant.view._console import ViewConsole
from currant.view._input import CommandInput
from currant.view._keyboard import Keyboard
from currant.view._terminal import resize_terminals, shows_interrupts

__all__ = ["CommandInput", "Keyboard", "ViewConsole", "resize_terminals", "shows_interrupts"]
