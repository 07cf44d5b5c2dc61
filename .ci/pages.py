"""Checks the pages of the project: every link leads somewhere, and no page or line is too long."""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("benches/*.md")])
COLUMNS = 160
# Pages whose length is that of what they specify or list.
LONG = {"docs/lake-format.md", "docs/errors.md"}
# Made from the contract, with Chinese paragraphs; tables are not measured anywhere.
WIDE = {"docs/schema.md"}


def most_lines(name):
    return 250 if name == "README.md" else 200


def prose(text):
    """The lines outside of code blocks, numbered from 1."""
    in_code = False
    for number, line in enumerate(text.splitlines(), 1):
        if line.startswith("```"):
            in_code = not in_code
        elif not in_code:
            yield number, line


def anchors(page):
    """The anchors of a page's headings, as GitHub makes them."""
    headings = (line.lstrip("#").strip() for _, line in prose(page.read_text("utf-8")) if re.match("#+ ", line))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def faults(page):
    name, text = str(page.relative_to(ROOT)), page.read_text("utf-8")
    lines = text.count("\n")
    if name not in LONG and lines > most_lines(name):
        yield f"{name}: {lines} lines, at most {most_lines(name)}"
    for number, line in prose(text):
        if len(line) > COLUMNS and not line.startswith("|") and name not in WIDE:
            yield f"{name}:{number}: {len(line)} columns, at most {COLUMNS}"
        for link in re.findall(r"\]\(([^)\s]+)\)", line):
            if re.match("[a-z]+:", link):
                continue
            path, _, anchor = link.partition("#")
            target = (page.parent / path).resolve() if path else page
            if not target.exists():
                yield f"{name}:{number}: {link} does not exist"
            elif anchor and anchor not in anchors(target):
                yield f"{name}:{number}: {link} has no such heading"


found = [fault for page in PAGES for fault in faults(page)]
print("\n".join(found) if found else f"{len(PAGES)} pages are in order")
sys.exit(bool(found))
