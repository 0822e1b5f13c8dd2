"""Print a Markdown table of the scores in run folders, or put it into documents.

    python benchmarks/results_table.py runs/* --write docs/results.md README.md

A run folder holds one scores_SPLIT.json for each row, as `vocseg evaluate ... --json` and `vocseg score ... --json`
write them. With --write, the table replaces what stands between the lines `<!-- results -->` and `<!-- /results -->`.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

HEAD = ("model", "split", "pictures", "pixel accuracy", "loss", "mIoU")
MARKS = ("<!-- results -->", "<!-- /results -->")


def rows(folder: Path) -> list[tuple[str, ...]]:
    """The rows of one run folder, named after it; a file NAME.txt in it gives a longer name."""
    label = folder / "name.txt"
    name = label.read_text(encoding="utf-8").strip() if label.exists() else folder.name
    found = []
    for path in sorted(folder.glob("scores_*.json")):
        values = json.loads(path.read_text(encoding="utf-8"))
        loss = "-" if values["loss"] is None else f"{values['loss']:.3f}"
        figures = (f"{values['pixel_accuracy']:.3f}", loss, f"{values['miou']:.3f}")
        found.append((name, values["split"], str(values["images"]), *figures))
    return found


def table(folders: list[Path]) -> str:
    """The Markdown table of all folders."""
    lines = [HEAD, tuple("---:" if column > 1 else "---" for column in range(len(HEAD)))]
    for folder in folders:
        lines += rows(folder)
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def put_between_marks(document: Path, text: str) -> None:
    """Replace what stands between the marks of a document."""
    content = document.read_text(encoding="utf-8")
    if content.count(MARKS[0]) != 1 or content.count(MARKS[1]) != 1:
        sys.exit(f"{document} has no place for the table: {MARKS[0]} ... {MARKS[1]}")
    before, rest = content.split(MARKS[0])
    after = rest.split(MARKS[1])[1]
    document.write_text(f"{before}{MARKS[0]}\n{text}\n{MARKS[1]}{after}", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--write", nargs="+", type=Path, default=[], metavar="DOCUMENT")
    arguments = parser.parse_args()
    text = table(arguments.folders)
    print(text)
    for document in arguments.write:
        put_between_marks(document, text)


if __name__ == "__main__":
    main()
