"""Tables of an interrupted call, on a disk and in a store."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("ray", reason="ray is not installed (extra ray)")
import pyarrow as pa
from pyarrow import parquet
from ray.data._internal.object_extensions.arrow import ArrowPythonObjectArray

from vocseg.utils.staging import kept
from vocseg.utils.tables import Tables


@pytest.mark.parametrize("where", ["disk", "memory"])
def test_pending_tables_are_settled(where: str, tmp_path: Path) -> None:
    """Of "b", the copy with the final name is there; "c" was never finished; "d" is cut off; "e" is not text."""
    tables = Tables((tmp_path if where == "disk" else kept(f"memory://{tmp_path.name}")) / ".ray")
    assert tables.about() is None
    assert not list(tables.tables("ids"))
    tables.begin({"about": "x"})
    names = ["ids/a.parquet", "ids/b.parquet", "ids/b.pending.parquet", "ids/c.pending.parquet"]
    for name in [*names, "results/a-0.parquet", "results/b-0.parquet", "results/c-0.parquet"]:
        tables.files.create_dir(f"{tables.folder}/{name}".rpartition("/")[0], recursive=True)
        parquet.write_table(pa.table({"name": [name]}), f"{tables.folder}/{name}", filesystem=tables.files)
    pickled = ArrowPythonObjectArray.from_objects([object()])
    parquet.write_table(pa.table({"name": pickled}), f"{tables.folder}/ids/e.parquet", filesystem=tables.files)
    with tables.files.open_output_stream(f"{tables.folder}/ids/d.parquet") as file:
        file.write(b"PAR1")
    tables.settle("ids", "results")
    assert [table["name"].to_pylist() for table in tables.tables("ids")] == [["ids/a.parquet"], ["ids/b.parquet"]]
    assert [table["name"].to_pylist() for table in tables.tables("results")] == [["results/a-0.parquet"], ["results/b-0.parquet"]]
    assert tables.about() == {"about": "x"}
    tables.forget()
    tables.forget()
    assert tables.about() is None
    assert not list(tables.tables("results"))
