# SPDX-License-Identifier: GPL-2.0
"""From a recorded case to a program that shows the same without this project.

recorded.py reads the case: its steps, what each returned, which looks saw what.
checks.py asks the judge what every look had to see, and so what the program has to check.
program.py writes the C file out of the *.c.in beside it; xfstests.py the test around it.
"""

from .checks import Check, check_whole, find_checks
from .program import write_program
from .recorded import CannotExport, Recorded, read_case
from .xfstests import write_xfstests

__all__ = ["CannotExport", "Check", "Recorded", "check_whole", "find_checks", "read_case", "write_program",
           "write_xfstests"]
