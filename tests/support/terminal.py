"""Runs a program on a terminal of its own, and prints what came to it.

    python3 terminal.py COLUMNS PROGRAM [ARGUMENT...]

Standard output of the program is no part of that: only standard error is the terminal. Its exit code is handed on.
"""

import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios


def main():
    columns, command = int(sys.argv[1]), sys.argv[2:]
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=theirs, env={**os.environ, "TERM": "xterm"})
    os.close(theirs)
    while True:
        try:
            some = os.read(ours, 65536)
        except OSError:
            break
        if not some:
            break
        sys.stdout.buffer.write(some)
    sys.exit(child.wait())


if __name__ == "__main__":
    main()
