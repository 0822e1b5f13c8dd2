"""Print Markdown tables of the scores in run folders, or write them into documents.

    python benchmarks/results_table.py runs/* --write docs/results.md README.md

Each scores_SPLIT.json in a run folder, written by `vocseg evaluate --json` or `vocseg score --json`, is a row. With
--write, the table replaces the lines between `<!-- results -->` and `<!-- /results -->` of a document. If a document
has `<!-- per-class -->` and `<!-- /per-class -->`, the table of IoU per class goes there; if it has `<!-- few-results
-->`, a table of only the folders of --of.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

FEW = "few-results"
HEAD = ("model", "split", "images", "pixel accuracy %", "loss", "mIoU %")


def name_of(folder: Path) -> str:
    """Return the text of name.txt in a run folder, or else the name of the folder."""
    label = folder / "name.txt"
    return label.read_text(encoding="utf-8").strip() if label.exists() else folder.name


def rows(folder: Path) -> list[tuple[str, ...]]:
    """Make the rows of one run folder."""
    name = name_of(folder)
    found = []
    for path in sorted(folder.glob("scores_*.json")):
        values = json.loads(path.read_text(encoding="utf-8"))
        loss = "-" if values["loss"] is None else f"{values['loss']:.3f}"
        figures = (f"{100 * values['pixel_accuracy']:.1f}", loss, f"{100 * values['miou']:.1f}")
        found.append((name, values["split"], str(values["images"]), *figures))
    return found


def table(folders: list[Path]) -> str:
    """Make the Markdown table of all folders."""
    lines = [HEAD, tuple("---:" if column > 1 else "---" for column in range(len(HEAD)))]
    for folder in folders:
        lines += rows(folder)
    return markdown(lines)


def class_table(folders: list[Path], split: str) -> str:
    """Make the table of IoU per class in percent, with a column for each folder scored on the split."""
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
    """Replace the lines between a mark and its end in a document."""
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
    parser.add_argument("--split", default="val_2007", help="split of the table of IoU per class")
    parser.add_argument(
        "--of", nargs="+", default=[], metavar="FOLDER", help="names of the folders in that and in the short table; by default all"
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
