#!/usr/bin/env python3
"""Refuses a change of the lakes that must stay readable for ever (`tests/golden`).

Each folder `tests/golden/X.Y` is a version of the lake format, and `tests/golden/X.Y.sha256` has the digest of each of its files. This checks that

- the folder holds just what the list says;
- no line of a list that was ever committed is gone: a lake may be added, and none may change;
- the newest folder is that of the format that the program writes (`FormatVersion::LAKE`).

    .ci/golden.py           checks
    .ci/golden.py --write   adds files that no list has yet
"""

import hashlib
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
GOLDEN = ROOT / "tests" / "golden"


def digests(folder):
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def parsed(text):
    return {name: digest for digest, name in (line.split("  ", 1) for line in text.splitlines())}


def ever_listed(name):
    """Every line of a list in the history that is here."""
    git = lambda *arguments: subprocess.run(["git", "-C", str(ROOT), *arguments], capture_output=True, text=True)
    path = "tests/golden/" + name
    found = {}
    for commit in git("log", "--format=%H", "--", path).stdout.split():
        shown = git("show", "%s:%s" % (commit, path))
        if shown.returncode != 0:
            yield "%s: commit %s deleted it" % (path, commit[:10])
            continue
        for file, digest in parsed(shown.stdout).items():
            if found.setdefault(file, digest) != digest:
                yield "%s: %s was changed in %s" % (path, file, commit[:10])
    now = parsed((GOLDEN / name).read_text()) if (GOLDEN / name).exists() else {}
    for file, digest in sorted(found.items()):
        if now.get(file) != digest:
            yield "%s: the line of %s is gone or another one" % (path, file)


def check():
    written = re.search(r"LAKE: Self = Self \{ major: (\d+), minor: (\d+) \}", (ROOT / "src/format.rs").read_text())
    written = tuple(int(part) for part in written.groups())
    versions = sorted(tuple(int(part) for part in path.name.split(".")) for path in GOLDEN.iterdir() if path.is_dir())
    if not versions or versions[-1] != written:
        yield "the program writes format %d.%d: its lakes are missing, or there are later ones" % written
    for version in versions:
        name = "%d.%d" % version
        listed = GOLDEN / (name + ".sha256")
        wanted, held = parsed(listed.read_text()) if listed.exists() else {}, digests(GOLDEN / name)
        for file in sorted(wanted.keys() | held.keys()):
            if file not in held:
                yield "tests/golden/%s/%s is gone" % (name, file)
            elif file not in wanted:
                yield "tests/golden/%s/%s is in no list (a new lake is added by `.ci/golden.py --write`)" % (name, file)
            elif wanted[file] != held[file]:
                yield "tests/golden/%s/%s was changed: lakes of a format that was released never change. A new format has a new version." % (name, file)
    lists = {path.name for path in GOLDEN.glob("*.sha256")}
    logged = subprocess.run(["git", "-C", str(ROOT), "log", "--format=", "--name-only", "--", "tests/golden/*.sha256"], capture_output=True, text=True)
    lists |= {line.rsplit("/", 1)[1] for line in logged.stdout.split("\n") if line.endswith(".sha256")}
    for name in sorted(lists):
        yield from ever_listed(name)


def write():
    for folder in (path for path in GOLDEN.iterdir() if path.is_dir()):
        listed = GOLDEN / (folder.name + ".sha256")
        held = parsed(listed.read_text()) if listed.exists() else {}
        held = {**digests(folder), **held}
        listed.write_text("".join("%s  %s\n" % (digest, name) for name, digest in sorted(held.items())))


def main():
    if sys.argv[1:] == ["--write"]:
        write()
    wrong = list(check())
    for line in wrong:
        print(line)
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
