"""Print Markdown tables of the scores in run folders, or put them into documents.

    python benchmarks/results_table.py runs/* --write docs/results.md README.md

A run folder holds one scores_SPLIT.json for each row, as `vocseg evaluate ... --json` and `vocseg score ... --json`
write them. With --write, the table replaces what stands between the lines `<!-- results -->` and `<!-- /results -->`; that of
IoU by class what stands between `<!-- per-class -->` and `<!-- /per-class -->`, where a document has these. One that has
`<!-- few-results -->` gets a table of the folders of --of alone there.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

FEW = "few-results"
HEAD = ("model", "split", "images", "pixel accuracy", "loss", "mIoU")


def name_of(folder: Path) -> str:
    """A run folder's name, or the longer one that a file name.txt in it gives."""
    label = folder / "name.txt"
    return label.read_text(encoding="utf-8").strip() if label.exists() else folder.name


def rows(folder: Path) -> list[tuple[str, ...]]:
    """The rows of one run folder."""
    name = name_of(folder)
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
    return markdown(lines)


def class_table(folders: list[Path], split: str) -> str:
    """IoU of each class on a split, percent, a column for each folder that was scored on it."""
    scored = [
        (folder, json.loads((folder / f"scores_{split}.json").read_text(encoding="utf-8")))
        for folder in folders
        if (folder / f"scores_{split}.json").exists()
    ]
    if not scored:
        return ""
    lines = [(f"IoU on {split}, %", *(name_of(folder) for folder, _ in scored)), ("---", *["---:"] * len(scored))]
    for name in scored[0][1]["per_class"]:
        values = [scores["per_class"].get(name, {}).get("iou") for _, scores in scored]
        lines.append((name, *("-" if value is None else f"{100 * value:.1f}" for value in values)))
    return markdown(lines)


def markdown(lines: list[tuple[str, ...]]) -> str:
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def put_between_marks(document: Path, mark: str, text: str, needed: bool = True) -> None:
    """Replace what stands between the lines of a mark in a document."""
    start, end = f"<!-- {mark} -->", f"<!-- /{mark} -->"
    content = document.read_text(encoding="utf-8")
    if content.count(start) != 1 or content.count(end) != 1:
        if not needed:
            return
        sys.exit(f"{document} has no place for the table: {start} ... {end}")
    before, rest = content.split(start)
    after = rest.split(end)[1]
    document.write_text(f"{before}{start}\n{text}\n{end}{after}", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--write", nargs="+", type=Path, default=[], metavar="DOCUMENT")
    parser.add_argument("--split", default="val_2007", help="split of the table of IoU by class")
    parser.add_argument(
        "--of", nargs="+", default=[], metavar="FOLDER", help="names of the folders in it and in the short table; by default all"
    )
    arguments = parser.parse_args()
    text = table(arguments.folders)
    print(text)
    by_class = class_table(
        [folder for folder in arguments.folders if not arguments.of or folder.name in arguments.of], arguments.split
    )
    print(f"\n{by_class}")
    few = table([folder for folder in arguments.folders if not arguments.of or folder.name in arguments.of])
    for document in arguments.write:
        put_between_marks(document, "results", text, needed=f"<!-- {FEW} -->" not in document.read_text(encoding="utf-8"))
        put_between_marks(document, FEW, few, needed=False)
        put_between_marks(document, "per-class", by_class, needed=False)


if __name__ == "__main__":
    main()
