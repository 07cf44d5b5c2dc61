#!/usr/bin/env python3
"""Backs up a lake on local disk, also while runs write to it. Python 3.9 and `wdt-lake`, nothing else.

    backup.py LAKE BACKUPS       makes BACKUPS/20261001T020000, a whole lake that `wdt-lake verify` has found sound

The commit log is copied first, then what it names: a manifest names only files that stand. What a run adds meanwhile is no part of the backup,
and does no harm in it. What a run deletes meanwhile may be missing; `verify` finds that, and the copy is made up from the newer log. Files never
change, so those that the backup before has are hard links to it: a backup costs what is new.

The exit code is 0, or that of `wdt-lake verify` when three passes gave no sound copy.
"""

import os
import shutil
import subprocess
import sys
from datetime import datetime
from pathlib import Path

PASSES = 3
# The lease and half-written files belong to runs; published tables are made again by `wdt-lake publish`.
LEFT_OUT = {"_lease", "_staging", "_delta_log", "_iceberg"}


def files_below(folder):
    for path, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if name not in LEFT_OUT)
        yield from (Path(path, name) for name in sorted(names))


def copy_one(source, target, earlier):
    """Copies a file, or links it to the earlier backup's. A file that goes meanwhile is left out: `verify` says whether it counted."""
    if target.exists():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        size = source.stat().st_size
        if earlier and earlier.is_file() and earlier.stat().st_size == size:
            os.link(earlier, target)
        else:
            shutil.copy2(source, target)
    except FileNotFoundError:
        target.unlink(missing_ok=True)


def copy_pass(lake, target, earlier):
    folders = sorted(path.name for path in lake.iterdir() if path.is_dir() and path.name not in LEFT_OUT)
    for folder in sorted(folders, key=lambda name: name != "_manifest"):
        for source in files_below(lake / folder):
            name = source.relative_to(lake)
            copy_one(source, target / name, earlier and earlier / name)


def main(lake, backups):
    if not (lake / "_manifest").is_dir():
        sys.exit(f"backup.py: {lake} is no lake: it has no _manifest")
    backups.mkdir(parents=True, exist_ok=True)
    done = sorted(path for path in backups.iterdir() if path.is_dir() and not path.name.endswith(".part"))
    target = backups / datetime.now().strftime("%Y%m%dT%H%M%S")
    part = target.with_name(target.name + ".part")
    code = 1
    for _ in range(PASSES):
        copy_pass(lake, part, done[-1] if done else None)
        code = subprocess.run(["wdt-lake", "verify", "--lake", part], stdout=sys.stderr, check=False).returncode
        if code == 0:
            part.rename(target)
            print(target)
            return
    shutil.rmtree(part)
    sys.exit(code)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: backup.py LAKE BACKUPS")
    main(Path(sys.argv[1]), Path(sys.argv[2]))
