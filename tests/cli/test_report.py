"""`vocseg report`."""

from __future__ import annotations

from pathlib import Path

from verbs import Run, fails


def test_pages_of_one_and_of_two_results(run: Run, synth: Path, model: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        assert run("evaluate", model, "--data", synth, "--out", tmp_path / name)[0] == 0
    code, out, err = run("report", tmp_path / "a", "--data", synth)
    assert (code, err) == (0, "")
    assert out == f"written: {tmp_path / 'a' / 'report.html'}\n"
    page = tmp_path / "page.html"
    assert run("report", tmp_path / "a", tmp_path / "b", "--data", synth, "--out", page)[0] == 0
    assert "Images on which B does better" in page.read_text()
    assert "data:image/jpeg" in (tmp_path / "a" / "report.html").read_text()
    fails(run("report", tmp_path / "c"), "scores.json")
    fails(run("report", tmp_path / "a", "--data", tmp_path / "c"), "c")


def test_conventions_are_printed(run: Run, synth: Path, model: Path, tmp_path: Path) -> None:
    code, plain, err = run("evaluate", model, "--data", synth, "--out", tmp_path / "a")
    assert code == 0, err
    for verb in (["evaluate", model], ["score", tmp_path / "a" / "masks"]):
        code, out, err = run(*verb, "--data", synth, "--conventions")
        assert code == 0, err
        for name in ("PaddleSeg", "detectron2", "transformers example", "void as error"):
            assert name in out
            assert name not in plain
