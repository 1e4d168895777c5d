from __future__ import annotations

from pathlib import Path

import pytest

from training.rlhf.run.hard_links import link_folder


def test_a_linked_folder_shares_its_files_and_not_its_names(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    (source / "inner").mkdir(parents=True)
    (source / "inner" / "weights").write_text("heavy")
    link_folder(source, target)
    assert (target / "inner" / "weights").samefile(source / "inner" / "weights")
    (target / "inner" / "weights").unlink()
    assert (source / "inner" / "weights").read_text() == "heavy"


def test_a_folder_that_is_there_is_not_written_into(tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    (tmp_path / "target").mkdir()
    with pytest.raises(FileExistsError):
        link_folder(tmp_path / "source", tmp_path / "target")
