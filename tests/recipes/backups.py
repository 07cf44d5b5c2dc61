"""Runs recipes/backup.py, with a writer at work between the copy of the log and that of the files which it names.

    backups.py RECIPE LAKE BACKUPS PROGRAM [ARGUMENT...]

The program and its arguments are what writes. Prints how often `wdt-lake verify` was asked, as JSON.
"""

import contextlib
import json
import runpy
import subprocess
import sys
from pathlib import Path

recipe, lake, backups, *writer = sys.argv[1:]
main = runpy.run_path(recipe)["main"]
functions = main.__globals__
copy_one, run = functions["copy_one"], subprocess.run
written, asked = [], []


def copy_one_beside_a_writer(source, target, earlier):
    if writer and not written and "_manifest" not in source.parts:
        written.append(run(writer, check=True, stdout=subprocess.DEVNULL))
    copy_one(source, target, earlier)


def counted(command, **options):
    asked.append(command[1])
    return run(command, **options)


functions["copy_one"] = copy_one_beside_a_writer
subprocess.run = counted
with contextlib.redirect_stdout(sys.stderr):
    main(Path(lake), Path(backups))
assert bool(written) == bool(writer)
print(json.dumps({"verified": len(asked)}))
