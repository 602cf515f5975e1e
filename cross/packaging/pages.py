#!/usr/bin/env python3
"""Copies the README, what it leads to, and what that leads to, so that every link in them works where they go.

    cross/packaging/pages.py FOLDER

Files keep their places to each other. A link to what isn't there ends it with exit status 1.
"""

import re
import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LINK = re.compile(r"\]\(([^)\s]+)\)")


def leads_to(page):
    """The files in this repository that a page links to, of a folder those in it."""
    for target in LINK.findall(page.read_text()):
        path, _, _ = target.partition("#")
        if not path or re.match(r"[a-z]+:", path):
            continue
        found = (page.parent / path).resolve()
        if not found.is_relative_to(ROOT) or not found.exists():
            sys.exit(f"pages.py: {page.relative_to(ROOT)} links to {target}, which isn't there")
        yield from sorted(found.iterdir()) if found.is_dir() else [found]


def main():
    out = Path(sys.argv[1])
    found, new = set(), [ROOT / "README.md"]
    while new:
        page = new.pop()
        if page in found:
            continue
        found.add(page)
        if page.suffix == ".md":
            new.extend(leads_to(page))
    for page in sorted(found):
        to = out / page.relative_to(ROOT)
        to.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(page, to)


if __name__ == "__main__":
    main()
