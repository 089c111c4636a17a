"""A folder appears whole or not at all, and a published one can be verified."""

import json
import os

import pytest

from llmrec import publishing
from llmrec.publishing import publish, verify


def published(folder, text="new", **options):
    with publish(folder, **options) as written:
        (written / "sub").mkdir()
        (written / "sub" / "a.txt").write_text(text)
        (written / "manifest.json").write_text("{}")
    return folder


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_the_folder_appears_only_at_the_end(tmp_path):
    with publish(tmp_path / "deep" / "out") as written:
        assert written.parent == tmp_path / "deep"
        assert written.name == f".tmp-out-{os.getpid()}"
        assert not (tmp_path / "deep" / "out").exists()
        (written / "a.txt").write_text("a")
    assert names(tmp_path / "deep") == ["out"]
    assert (tmp_path / "deep" / "out" / "a.txt").read_text() == "a"


def test_an_error_leaves_the_old_folder_and_nothing_else(tmp_path):
    published(tmp_path / "out", "old")
    with pytest.raises(KeyboardInterrupt), publish(tmp_path / "out", overwrite=True) as written:
        (written / "half.txt").write_text("half")
        raise KeyboardInterrupt
    assert names(tmp_path) == ["out"]
    assert (tmp_path / "out" / "sub" / "a.txt").read_text() == "old"


def test_an_existing_folder_needs_overwrite(tmp_path):
    published(tmp_path / "out", "old")
    with pytest.raises(FileExistsError, match="out exists; .*--overwrite"):
        published(tmp_path / "out")
    published(tmp_path / "out", overwrite=True)
    assert (tmp_path / "out" / "sub" / "a.txt").read_text() == "new"
    assert names(tmp_path) == ["out"]


def test_what_was_not_made_here_is_not_replaced(tmp_path):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.tex").write_text("dear")
    (tmp_path / "file").write_text("dear")
    (tmp_path / "empty").mkdir()
    published(tmp_path / "real")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    for name in ("thesis", "file", "link"):
        with pytest.raises(FileExistsError, match=f"{name} .*not replaced"):
            published(tmp_path / name, overwrite=True)
    assert (tmp_path / "thesis" / "chapter.tex").read_text() == "dear"
    published(tmp_path / "empty", overwrite=True)
    assert names(tmp_path) == ["empty", "file", "link", "real", "thesis"]


def test_a_folder_made_meanwhile_is_not_replaced(tmp_path):
    with pytest.raises(FileExistsError), publish(tmp_path / "out"):
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / "a.txt").write_text("another process's")
    assert names(tmp_path) == ["out"]
    assert (tmp_path / "out" / "a.txt").read_text() == "another process's"


def test_a_fault_at_any_step_leaves_the_old_or_the_new_folder_whole(tmp_path, monkeypatch):
    calls = {"fsync": os.fsync, "rename": os.rename}
    count = 0

    def failing(name, at):
        def call(*arguments):
            nonlocal count
            count += 1
            if count == at:
                raise OSError(5, f"fault at call {at}, {name}")
            return calls[name](*arguments)

        return call

    faults = 0
    for at in range(1, 50):
        folder = tmp_path / str(at)
        published(folder, "old")
        count = 0
        for name in calls:
            monkeypatch.setattr(publishing.os, name, failing(name, at))
        try:
            published(folder, "new", overwrite=True)
        except OSError:
            faults += 1
        monkeypatch.undo()
        assert (folder / "sub" / "a.txt").read_text() in ("old", "new")
        if count < at:
            break
    assert faults == at - 1 >= 7  # three files and folders written down, two renames and the parent at the least


def test_everything_is_on_disk_before_the_rename(tmp_path, monkeypatch):
    calls = []
    fsync, rename = os.fsync, os.rename
    monkeypatch.setattr(publishing.os, "fsync", lambda descriptor: (calls.append(os.readlink(f"/proc/self/fd/{descriptor}").rsplit("/", 1)[1]), fsync(descriptor)))
    monkeypatch.setattr(publishing.os, "rename", lambda old, new: (calls.append("rename"), rename(old, new)))
    published(tmp_path / "out")
    assert calls == ["manifest.json", "a.txt", "sub", f".tmp-out-{os.getpid()}", "rename", tmp_path.name]


def test_verify_finds_every_damage_and_names_the_file(tmp_path):
    folder = published(tmp_path / "out", "x" * 100, hashes=True)
    assert set(json.loads((folder / "files.json").read_text())["files"]) == {"manifest.json", "sub/a.txt"}
    verify(folder)
    (folder / "README.md").write_text("mine")
    verify(folder)
    path = folder / "sub" / "a.txt"
    for place in range(100):
        content = bytearray(b"x" * 100)
        content[place] ^= 1
        path.write_bytes(content)
        with pytest.raises(ValueError, match="a.txt is not the file .*sha256"):
            verify(folder)
    path.write_bytes(b"x" * 99)
    with pytest.raises(ValueError, match="a.txt .*size"):
        verify(folder)
    path.unlink()
    with pytest.raises(ValueError, match="a.txt is missing"):
        verify(folder)


def test_verify_needs_a_listing_of_its_own_files(tmp_path):
    with pytest.raises(ValueError, match="files.json is missing or damaged"):
        verify(tmp_path)
    for content in ("", "[]", '{"files": {"a": {}}}', '{"files": []}'):
        (tmp_path / "files.json").write_text(content)
        with pytest.raises(ValueError, match="files.json is missing or damaged"):
            verify(tmp_path)
    (tmp_path / "files.json").write_text('{"files": {"../a": {"size": 0, "sha256": ""}}}')
    with pytest.raises(ValueError, match="not a file of its folder"):
        verify(tmp_path)


def test_a_text_appears_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "report.json"
    publishing.publish_text(path, "before")
    monkeypatch.setattr(publishing.os, "fsync", lambda descriptor: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(OSError, match="No space left"):
        publishing.publish_text(path, "after")
    assert path.read_text() == "before" and [found.name for found in tmp_path.iterdir()] == ["report.json"]
