"""Fetching: checksums, archives and refusals, from files on this machine."""

import gzip
import hashlib
import zipfile

import pytest

from llmrec.readers import download
from llmrec.readers.download import CATEGORY_SOURCES, SOURCES, Remote, fetch, sources


@pytest.fixture
def served(tmp_path, monkeypatch):
    """A function that puts an archive at an address and a table entry "tiny" on it; returns the folder to fetch into."""

    def serve(members, *, take=None, checksum="right"):
        archive = tmp_path / "tiny.zip"
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
            for name, text in members:
                file.writestr(name, text)
        found = "md5:" + hashlib.md5(archive.read_bytes()).hexdigest()
        known = {"right": found, "wrong": "md5:" + "0" * 32, "none": None}[checksum]
        monkeypatch.setitem(SOURCES, "tiny", (Remote(archive.as_uri(), known, take or {"tiny/u.data": "u.data"}),))
        return tmp_path / "data"

    return serve


def test_expected_members_are_unpacked_and_nothing_else(served):
    folder = served([("tiny/u.data", "1\t2"), ("tiny/extra", "x"), ("../escaped", "x"), ("/absolute", "x")])
    assert fetch("tiny", folder) == folder / "tiny"
    assert [file.name for file in (folder / "tiny").iterdir()] == ["u.data"]
    assert (folder / "tiny" / "u.data").read_text() == "1\t2"
    assert sorted(file.name for file in folder.iterdir()) == ["tiny"]
    assert not (folder.parent / "escaped").exists()


def test_files_that_are_there_are_not_fetched_again(served):
    folder = served([("tiny/u.data", "1\t2")])
    fetch("tiny", folder)
    (folder.parent / "tiny.zip").unlink()
    assert fetch("tiny", folder) == folder / "tiny"


def test_wrong_checksum_keeps_nothing(served):
    folder = served([("tiny/u.data", "1\t2")], checksum="wrong")
    with pytest.raises(ValueError, match=r"its md5 is [0-9a-f]{32}, expected 0{32}"):
        fetch("tiny", folder)
    assert list(folder.iterdir()) == []


def test_unverified_is_refused_unless_allowed_and_then_warns(served):
    folder = served([("tiny/u.data", "1\t2")], checksum="none")
    with pytest.raises(ValueError, match="UNVERIFIED, no checksum is known"):
        fetch("tiny", folder)
    assert not folder.exists()
    with pytest.warns(UserWarning, match="UNVERIFIED download"):
        fetch("tiny", folder, allow_unverified=True)
    assert (folder / "tiny" / "u.data").is_file()


def test_archive_without_or_with_two_of_a_member_is_refused(served):
    folder = served([("other/u.data", "1")])
    with pytest.raises(ValueError, match=r"expected tiny/u\.data exactly once in the archive, which holds other/u\.data"):
        fetch("tiny", folder)
    with pytest.warns(UserWarning, match="Duplicate name"):
        served([("tiny/u.data", "1"), ("tiny/u.data", "2")])
    with pytest.raises(ValueError, match="exactly once"):
        fetch("tiny", folder)
    assert list(folder.iterdir()) == []


def test_archive_that_unpacks_to_far_more_than_it_is_is_refused(served):
    folder = served([("tiny/u.data", bytes(1 << 20))])
    with pytest.raises(ValueError, match="more than 100 times the archive"):
        fetch("tiny", folder)
    assert list(folder.iterdir()) == []


def test_what_is_no_archive_is_refused(served, tmp_path):
    folder = served([], checksum="none")
    (tmp_path / "tiny.zip").write_text("<html>not found</html>")
    with pytest.warns(UserWarning), pytest.raises(ValueError, match="not a sound zip archive"):
        fetch("tiny", folder, allow_unverified=True)


def test_plain_files_keep_the_name_of_their_address(tmp_path, monkeypatch):
    source = tmp_path / "ratings.dat"
    source.write_text("1::2::3::4\n")
    monkeypatch.setitem(SOURCES, "plain", (Remote(source.as_uri(), "sha256:" + hashlib.sha256(b"1::2::3::4\n").hexdigest()),))
    assert (fetch("plain", tmp_path / "data") / "ratings.dat").read_text() == "1::2::3::4\n"


def test_an_address_that_leaves_https_is_refused(tmp_path, monkeypatch):
    source = tmp_path / "a.dat"
    source.write_text("1")
    monkeypatch.setattr(download, "SCHEMES", ("https",))
    monkeypatch.setitem(SOURCES, "plain", (Remote(source.as_uri(), "sha256:" + "0" * 64),))
    with pytest.raises(ValueError, match="expected an address that starts with https"):
        fetch("plain", tmp_path / "data")


def test_every_address_is_https_and_every_checksum_well_formed():
    remotes = [remote for name in SOURCES for remote in sources(name)]
    remotes += [remote for family in CATEGORY_SOURCES for remote in sources(f"{family}:Gift_Cards")]
    lengths = {"md5": 32, "sha256": 64}
    for remote in remotes:
        assert remote.url.startswith("https://")
        if remote.checksum:
            kind, _, digits = remote.checksum.partition(":")
            assert len(bytes.fromhex(digits)) * 2 == lengths[kind]
    assert [name for name in SOURCES if any(remote.checksum is None for remote in sources(name))] == ["ml-latest-small"]


def test_known_checksums_are_those_of_the_real_files(data):
    for remote in sources("movietweetings-100k"):
        content = gzip.decompress((data / "movietweetings-100k" / f"{remote.file_name}.gz").read_bytes())
        assert "sha256:" + hashlib.sha256(content).hexdigest() == remote.checksum


def test_unknown_names_and_odd_categories_are_refused():
    with pytest.raises(KeyError, match="unknown data set 'ml-1b'; available: ml-100k, ml-1m"):
        sources("ml-1b")
    with pytest.raises(KeyError, match="unknown data set"):
        sources("amazon-2018:../x")
    assert sources("amazon-2018:Gift_Cards")[0].url.endswith("/Gift_Cards_5.json.gz")
