"""Checks the pages of the project.

Every link leads somewhere, and no page or line is too long. Every page that users read has its Chinese page, with the same headings,
the same code but for comments and for what the program says, and the same names in code spans. A Chinese paragraph is one line, because a
line break inside it would be shown as a space.
"""

import re
import sys
from itertools import zip_longest
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("benches/*.md")])
COLUMNS = 160
# Pages whose length is that of what they specify or list.
LONG = {"docs/lake-format.md", "docs/errors.md"}
# Made from the contract, with Chinese paragraphs; tables are not measured anywhere.
WIDE = {"docs/schema.md"}
# Specifications and pages for developers: English only.
ENGLISH_ONLY = {"lake-format.md", "vendor-pages.md"}
# What begins a comment in a block of code. Blocks of other languages have none.
COMMENTS = {"sh": "#", "toml": "#", "python": "#", "sql": "--"}
# What wdt-lake can make of a refusal: these words stand in both languages.
VERDICTS = r"(?<=[`\d]) \| (business|slower|fewer-at-once|busy|clock|credentials|unknown) \|"
HAN = r"[\u4e00-\u9fff]"
# What does not look right in a line of Chinese, with what is wrong about it.
SLIPS = [
    (rf"{HAN}[,;:!?(]|[,;:!?)]{HAN}", "half-width punctuation beside Chinese"),
    (rf"{HAN}[A-Za-z0-9]|[A-Za-z0-9]{HAN}", "no space between Chinese and Latin"),
    (r"(?<!\|) [，。：；、！？（）「」]|[，。：；、！？（）「」] (?!\|)", "a space beside full-width punctuation"),
    (r"[，。：；！？）]\*\*\S", "bold text that GitHub does not end here"),
]


def name_of(page):
    return str(page.relative_to(ROOT))


def is_chinese(page):
    return page.name == "README.zh-CN.md" or page.parent == ROOT / "docs/zh"


def most_lines(name):
    return 250 if name.startswith("README.") else 200


def prose(text):
    """The lines outside of code blocks and comments, numbered from 1."""
    in_code = False
    for number, line in enumerate(text.splitlines(), 1):
        if line.startswith("```"):
            in_code = not in_code
        elif not in_code and not line.startswith("<!--"):
            yield number, line


def code(text):
    """The lines of code without comments, each with the language of its block, and what is said to tests/pages.rs before it.

    A block of `console` shows what the program says in the language of the page: its commands alone count.
    """
    language = None
    for line in text.splitlines():
        if re.match("<!-- (not )?run: ", line):
            yield line
        if line.startswith("```"):
            language = line[3:] if language is None else None
            yield language
        elif language is not None:
            mark = COMMENTS.get(language)
            line = re.sub(rf"(^|\s+){mark}(\s.*|!.*)?$", "", line) if mark else line
            if line.strip() and (language != "console" or line.startswith("$ ")):
                yield line


def headings(text):
    return [line for _, line in prose(text) if re.match("#+ ", line)]


def code_spans(text):
    return {span for _, line in prose(text) for span in re.findall("`([^`]+)`", line)}


def numbers(text):
    return {number for _, line in prose(text) for number in re.findall(r"\d+(?:[,.]\d+)*", line)}


def anchors(page):
    """The anchors of a page's headings, as GitHub makes them."""
    titles = (heading.lstrip("#").strip() for heading in headings(page.read_text("utf-8")))
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def faults(page):
    name, text = name_of(page), page.read_text("utf-8")
    lines = sum(not line.startswith("<!--") for line in text.splitlines())
    if name not in LONG and lines > most_lines(name):
        yield f"{name}: {lines} lines, at most {most_lines(name)}"
    for number, line in prose(text):
        if len(line) > COLUMNS and not line.startswith("|") and name not in WIDE and not is_chinese(page):
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
    if is_chinese(page):
        yield from slips(name, text)


def slips(name, text):
    """What does not look right in Chinese text. Code spans and the targets of links are left aside."""
    before = (0, "")
    for number, line in prose(text):
        follows = before[0] == number - 1 and before[1].strip() and not re.match(r"[|#]", before[1])
        if follows and line.strip() and not re.match(r"\s*([-*] |\d+\. |[|#<])", line):
            yield f"{name}:{number}: a line break inside a paragraph, which would be shown as a space"
        before = (number, line)
        plain = re.sub(r"\]\([^)\s]+\)", "", re.sub("`[^`]+`", "a", line)).replace("[", "")
        for pattern, what in SLIPS:
            # Bold text matters to its own rule alone.
            found = re.search(pattern, plain if "\\*" in pattern else plain.replace("**", ""))
            if found:
                yield f"{name}:{number}: {what}: {found.group()!r}"


def chinese_page(page):
    """The Chinese page of an English one, or nothing where it needs none."""
    if page == ROOT / "README.md":
        return ROOT / "README.zh-CN.md"
    if page.parent == ROOT / "docs" and page.name not in ENGLISH_ONLY:
        return ROOT / "docs/zh" / page.name
    return None


def differences(english, chinese):
    """What the Chinese page does not have as the English page has it."""
    name = name_of(chinese)
    if not chinese.exists():
        yield f"{name} is missing, the Chinese page of {name_of(english)}"
        return
    ours, theirs = chinese.read_text("utf-8"), english.read_text("utf-8")
    for mine, other in zip_longest(code(ours), code(theirs)):
        if mine != other:
            yield f"{name}: its code has {mine!r}, where that of the English page has {other!r}"
            break
    levels = [[heading.split()[0] for heading in headings(text)] for text in (ours, theirs)]
    if levels[0] != levels[1]:
        yield f"{name}: its headings are not those of the English page"
    for span in sorted(code_spans(theirs) - code_spans(ours)):
        yield f"{name}: `{span}` of the English page is nowhere"
    for number in sorted(numbers(theirs) - numbers(ours)):
        yield f"{name}: the number {number} of the English page is nowhere"
    if re.findall(VERDICTS, ours) != re.findall(VERDICTS, theirs):
        yield f"{name}: its verdicts about refusals are not those of the English page"
    if english.name == "schema.md":
        yield from missing_columns(name, ours, theirs)


def missing_columns(name, ours, theirs):
    """The lines of the contract's tables that the Chinese page does not have, in the contract's own Chinese words."""
    for line in theirs.splitlines():
        cells = line.strip("| ").split(" | ")
        if len(cells) == 8 and cells[0].startswith("`"):
            column, kind, required, *sources, _, text = cells
            sources = ["（见说明）" if source.startswith("(") else source for source in sources]
            row = " | ".join([column, kind, "是" if required == "yes" else "否", *sources, text])
            if f"| {row} |\n" not in ours:
                yield f"{name}: it should have the line | {row} |"
        elif len(cells) == 4 and all(re.fullmatch(r"\d+|-", cell) for cell in cells[1:]):
            status, codes = cells[0], " | ".join(cells[1:])
            if not re.search(rf"^\| {status} \| \S+ \| {re.escape(codes)} \|$", ours, re.MULTILINE):
                yield f"{name}: it should have a line | {status} | ... | {codes} |"


found = [fault for page in PAGES for fault in faults(page)]
found += [fault for page in PAGES if (chinese := chinese_page(page)) for fault in differences(page, chinese)]
print("\n".join(found) if found else f"{len(PAGES)} pages are in order")
sys.exit(bool(found))
