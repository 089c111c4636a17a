"""What is left when the power goes: of what was not synced any part may be missing, and a later change may be there without an earlier one.

A model of a disk, not a disk: it shows the order of calls, for every call, and not what a drive does with its own cache.
"""

import itertools
import os
from pathlib import Path

import pytest
import torch
from torch import nn

from llmrec.publishing import publish, verify
from train.checkpoint import Checkpoints, Progress


class Disk:
    """A folder on a disk whose power goes before every call that changes a folder, and behind the last.

    A file then holds what it held when it was last synced, or nothing; a folder lists what it lists now or what it listed when it was last synced, each folder by itself.
    inspect(folder): is called for each state that may be left, with a copy of it.
    """

    def __init__(self, root: Path, copies: Path, inspect, monkeypatch):
        self.root, self.copies, self.inspect = root, copies, inspect
        self.open: dict[int, int] = {}  # a descriptor of everything ever seen: its number is not given again
        self.now: dict[int, dict[str, int]] = {}
        self.synced: dict[int, dict[str, int] | bytes] = {}
        self.states = 0
        self.inspecting = False
        self.see(root)
        self.synced[os.stat(root).st_ino] = dict(self.now[os.stat(root).st_ino])
        for name in ("fsync", "rename", "replace", "mkdir", "unlink", "rmdir"):
            monkeypatch.setattr(os, name, self.watched(name, getattr(os, name)))

    def watched(self, name, call):
        def change(*arguments, **keywords):
            if self.inspecting:
                return call(*arguments, **keywords)
            self.power_goes()
            result = call(*arguments, **keywords)
            if name == "fsync":
                path = Path(os.readlink(f"/proc/self/fd/{arguments[0]}"))
                number = os.fstat(arguments[0]).st_ino
                self.see(self.root)
                self.synced[number] = dict(self.now[number]) if path.is_dir() else path.read_bytes()
            return result

        return change

    def see(self, folder: Path) -> int:
        """Takes note of what stands in a folder now; its number."""
        number = os.stat(folder).st_ino
        self.open.setdefault(number, os.open(folder, os.O_RDONLY))
        self.now[number] = {}
        for path in sorted(folder.iterdir()):
            if path.is_dir():
                self.now[number][path.name] = self.see(path)
            else:
                self.now[number][path.name] = file = os.stat(path).st_ino
                self.open.setdefault(file, os.open(path, os.O_RDONLY))
        return number

    def power_goes(self):
        root = self.see(self.root)
        moved = [number for number, listing in self.now.items() if listing != self.synced.get(number, {})]
        seen = set()
        for count in range(len(moved) + 1):
            for late in itertools.combinations(moved, count):  # these folders' changes reached the disk
                left = tuple(self.left(root, set(late)))
                if left in seen:
                    continue
                seen.add(left)
                self.states += 1
                copy = self.copies / str(self.states)
                self.inspecting = True
                for place, content in left:
                    path = copy / place
                    path.mkdir(parents=True) if content is None else path.write_bytes(content)
                self.inspect(copy)
                self.inspecting = False

    def left(self, number, late, place="."):
        """(path, content of a file or None for a folder) of everything that is found."""
        yield place, None
        for name, child in (self.now[number] if number in late else self.synced.get(number, {})).items():
            if child in self.now:
                yield from self.left(child, late, f"{place}/{name}")
            else:
                yield f"{place}/{name}", self.synced.get(child, b"")


def test_a_checkpoint_that_was_saved_is_there_whenever_the_power_goes(tmp_path, monkeypatch, counted):
    model = nn.Linear(2, 1)
    optimizer, names = torch.optim.AdamW(model.parameters()), {parameter: name for name, parameter in model.named_parameters()}
    saved, bad = 0, []

    def usable(folder):
        try:
            found = Checkpoints(folder / "runs" / "out.run" / "checkpoints", {}).load()
            good = (0 if found is None else found[0].step) >= saved
        except Exception as error:  # noqa: BLE001 - whatever goes wrong, it is not usable
            good = error
        if good is not True:
            bad.append((saved, good, sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))))

    (tmp_path / "disk").mkdir()
    disk = Disk(tmp_path / "disk", tmp_path / "copies", usable, monkeypatch)
    for step in (1, 2, 3):
        model(torch.ones(1, 2)).sum().backward()
        optimizer.step()
        Checkpoints(tmp_path / "disk" / "runs" / "out.run" / "checkpoints", {}).save(Progress(step=step), model.state_dict(), optimizer, names, {})
        saved = step
    disk.power_goes()
    counted("States of a disk after a loss of power in which a saved checkpoint is gone", len(bad), disk.states)
    assert not bad, f"{len(bad)} of {disk.states}, the first: {bad[0]}"
    assert disk.states > 100


@pytest.mark.parametrize("again", [False, True], ids=["new", "replaced"])
def test_a_published_folder_is_there_whole_whenever_the_power_goes(tmp_path, monkeypatch, counted, again):
    done, bad = "", []

    def whole(folder):
        good = []
        for place in (folder / "runs").glob("*out*") if (folder / "runs").is_dir() else ():
            try:
                verify(place)
                good.append((place / "sub" / "a.txt").read_text())
            except (ValueError, OSError) as error:
                if place.name == "out":
                    bad.append((done, str(error)))
        if done and not any(text >= done for text in good):  # under its name, or beside it
            bad.append((done, good))

    def write(text):
        nonlocal done
        with publish(tmp_path / "disk" / "runs" / "out", overwrite=again, hashes=True) as folder:
            (folder / "sub").mkdir()
            (folder / "sub" / "a.txt").write_text(text)
        done = text

    (tmp_path / "disk").mkdir()
    disk = Disk(tmp_path / "disk", tmp_path / "copies", whole, monkeypatch)
    for text in ("first", "second") if again else ("first",):
        write(text)
    disk.power_goes()
    counted("States of a disk after a loss of power in which a published folder is gone or torn", len(bad), disk.states)
    assert not bad, f"{len(bad)} of {disk.states}, the first: {bad[0]}"
    assert disk.states > 20
