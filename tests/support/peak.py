"""Runs a program and writes its largest resident set, in KiB, to a file: FILE PROGRAM [ARGUMENT...]. Ends with the program's own exit code."""

import os
import sys

told, *command = sys.argv[1:]
child = os.posix_spawn(command[0], command, os.environ)
_, status, usage = os.wait4(child, 0)
with open(told, "w", encoding="ascii") as file:
    file.write(str(usage.ru_maxrss))
sys.exit(os.waitstatus_to_exitcode(status) & 0xFF)
