"""MethodSCRIPT's error codes, as far as this instrument gives them, as public clients and examples quote them."""

from __future__ import annotations

VALUE_TYPE = 0x0002  # unknown type of a variable
UNKNOWN = 0x0003  # unknown command on the line
WRONG_MODE = 0x0006  # the command does not fit what the instrument is doing
TOO_LONG = 0x0008  # a line over 127 characters
NO_SCRIPT = 0x000C  # `r` before a script was loaded
POTENTIAL = 0x000F  # beyond what the instrument reaches
FREQUENCY = 0x0011
AMPLITUDE = 0x0012
CELL_IS_ON = 0x0014  # open circuit is measured with the cell off
PGSTAT_MODE = 0x0021  # no such mode, or not on this instrument
MODE_UNFIT = 0x0023  # the technique needs another mode
RUNTIME = 0x0028
OVERLOAD = 0x0032  # critical: the instrument gave up
TIMING = 0x005A  # an interval that it cannot keep
SCRIPT_COMMAND = 0x4001  # unknown command in a script
ARGUMENT = 0x4004  # missing, or not of the form that the command takes
OPTION = 0x4008
NESTED = 0x400B  # a measurement loop in a measurement loop
MISPLACED = 0x400C
NO_BLOCK = 0x400E  # an end without its beginning
UNENDED = 0x4018  # the script stops inside a block
PACKAGE = 0x401B  # pck_add or pck_end without pck_start
DUPLICATE = 0x4026
CELL_IS_OFF = 0x4027  # a technique that needs the cell on
RANGE = 0x4204  # an argument out of its range
TOO_MANY = 0x420A
UNDECLARED = 0x420B
FATAL = 0x7FFF


class ScriptError(Exception):
    """A script that cannot be taken: `!4001: Line 2, Col 20`."""

    def __init__(self, code: int, line: int, column: int) -> None:
        super().__init__(f"!{code:04X}: Line {line}, Col {column}")
        self.code = code


class ScriptFault(Exception):
    """A script that stopped while it ran: `!0032: Line 4`. Its `on_finished:` is not executed."""

    def __init__(self, code: int, line: int) -> None:
        super().__init__(f"!{code:04X}: Line {line}")
        self.code = code


class ScriptAborted(Exception):
    """The script was told to end; `on_finished:` is executed."""
