"""A public set comes by its name, whole and checked, or not at all; what it may be used for comes with it."""

from __future__ import annotations

import hashlib
import io
import json
import re
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kdlight.cli import main
from kdlight.contracts.recipe import read_recipe
from kdlight.data import DataError, fetch, open_dataset
from kdlight.preprocessing import InputSpec


def drawn(side: int, color: bool, classes: int) -> bytes:
    """A file as MedMNIST's are, of a few images."""
    rng, arrays = np.random.default_rng(side), {}
    for split, count in (("train", 3 * classes), ("val", classes), ("test", classes)):
        arrays[f"{split}_images"] = rng.integers(0, 256, (count, side, side, *(3,) * color), dtype=np.uint8)
        arrays[f"{split}_labels"] = (np.arange(count) % classes).astype(np.uint8)[:, None]
    content = io.BytesIO()
    np.savez_compressed(content, **arrays)
    return content.getvalue()


class Server:
    """Hands out files by name on 127.0.0.1 and remembers what it was asked for; `torn` leaves out the second half."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.asked: list[str] = []
        self.torn = False
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                name = self.path.strip("/").partition("?")[0]
                outer.asked.append(name)
                if name not in outer.files:
                    self.send_error(404)
                    return
                content = outer.files[name]
                self.send_response(200)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content[: len(content) // 2] if outer.torn else content)

            def log_message(self, *_: object) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.http.server_port}"
        threading.Thread(target=self.http.serve_forever, args=(0.05,), daemon=True).start()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """The package's table with three sets whose addresses and sums are those of small files on this machine."""
    served, table = Server(), {name: dict(entry) for name, entry in fetch._entries().items()}
    for name in ("breastmnist", "retinamnist", "dermamnist"):
        for side in fetch.SIZES:
            ending = "" if side == 28 else f"_{side}"
            content = drawn(side, table[name]["n_channels"] == 3, len(table[name]["label"]))
            served.files[f"{name}{ending}.npz"] = content
            table[name][f"url{ending}"] = f"{served.address}/{name}{ending}.npz?download=1"
            table[name][f"MD5{ending}"] = hashlib.md5(content).hexdigest()
    monkeypatch.setattr(fetch, "_entries", lambda: table)
    yield served
    served.http.shutdown()
    served.http.server_close()


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def get(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    assert main(["data", "get", *arguments, "--json"]) == 0
    answer: dict[str, Any] = json.loads(capsys.readouterr().out)
    return answer


@pytest.mark.parametrize("size", fetch.SIZES)
def test_a_set_comes_at_each_size_and_opens(
    server: Server, here: Path, capsys: pytest.CaptureFixture[str], size: int
) -> None:
    answer = get(capsys, "retinamnist", "--size", str(size))
    file = here / answer["file"]
    assert file.read_bytes() == server.files[file.name]
    dataset = open_dataset(file)
    assert dataset.splits == ("train", "val", "test")
    assert [len(dataset.split(name)) for name in dataset.splits] == [15, 5, 5]
    raw = np.load(file)["test_images"]
    np.testing.assert_array_equal(dataset.source.image("test/3").pixels, raw[3])
    if size >= fetch.LEAST_INPUT:
        np.testing.assert_array_equal(dataset.split("test").images(InputSpec(size), cache=False), raw)
    recipe = read_recipe(here / answer["recipe"])
    assert recipe.data.path == file.name
    assert (recipe.data.size, recipe.data.modality) == (max(size, 64), "fundus")


def test_what_is_known_of_a_set_goes_into_its_recipe(
    server: Server, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    answer = get(capsys, "dermamnist")
    assert (answer["license"], answer["md5"]) == (
        "CC BY-NC 4.0",
        hashlib.md5(server.files["dermamnist.npz"]).hexdigest(),
    )
    data = read_recipe(here / answer["recipe"]).data
    assert data.classes["4"].words == "melanoma"
    assert data.licence == "CC BY-NC 4.0"
    assert "NC" in data.weights_licence
    assert "10.1038/s41597-022-01721-8" in data.source
    assert any("HAM10000" in limit for limit in data.limits)
    retina = read_recipe(here / get(capsys, "retinamnist")["recipe"]).data
    assert any("grades in order" in limit for limit in retina.limits)
    assert "NC" not in retina.weights_licence


def test_a_file_brought_by_hand_is_checked_and_nothing_is_asked(
    server: Server, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "b.npz").write_bytes(server.files["breastmnist_64.npz"])
    (here / "b.toml").write_text("# mine")
    assert get(capsys, "breastmnist", "--size", "64", "--out", "b.npz")["fetched"] is False
    assert (here / "b.toml").read_text() == "# mine"
    assert server.asked == []
    with pytest.raises(DataError, match=r"its MD5 is .*Remove what is there"):
        fetch.fetch(fetch.published_set("breastmnist", 28), here / "b.npz")
    assert (here / "b.npz").read_bytes() == server.files["breastmnist_64.npz"]


@pytest.mark.parametrize("fault", ["torn", "changed", "missing", "gone"])
def test_what_does_not_come_whole_leaves_nothing_and_the_address(server: Server, here: Path, fault: str) -> None:
    server.torn = fault == "torn"
    if fault == "changed":
        server.files["breastmnist.npz"] = b"X" + server.files["breastmnist.npz"][1:]
    if fault == "missing":
        del server.files["breastmnist.npz"]
    wanted = fetch.published_set("breastmnist", 28)
    if fault == "gone":
        with socket.socket() as nobody:
            nobody.bind(("127.0.0.1", 0))
            wanted = wanted.model_copy(update={"url": f"http://127.0.0.1:{nobody.getsockname()[1]}/breastmnist.npz"})
    with pytest.raises(DataError) as caught:
        fetch.fetch(wanted, here / "breastmnist.npz")
    assert wanted.url in str(caught.value)
    if fault in ("missing", "gone"):
        assert f"put it at {here / 'breastmnist.npz'}" in str(caught.value)
    assert list(here.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "size", "words"),
    [
        ("chestmnist", 28, "several findings at once"),
        ("tissuemnist", 28, "no modality"),
        ("organmnist3d", 28, "volumes"),
        ("nomnist", 28, "has no set 'nomnist'"),
        ("breastmnist", 32, "28, 64, 128, 224 px"),
    ],
)
def test_what_cannot_be_trained_on_is_refused_before_it_is_fetched(name: str, size: int, words: str) -> None:
    with pytest.raises(DataError, match=words):
        fetch.published_set(name, size)


def test_the_package_knows_every_set_and_the_sum_of_the_file_that_was_measured() -> None:
    entries = fetch._entries()
    volumes = {name for name, entry in entries.items() if "url_224" not in entry}
    assert set(fetch.KINDS) | set(fetch.NOT_YET) | volumes == set(entries)
    assert len(volumes) == 6
    for size in fetch.SIZES:
        assert all(one.url.startswith("https://") for one in fetch.published_sets(size).values())
    assert fetch.published_set("breastmnist").md5 == "750601b1f35ba3300ea97c75c52ff8f6"  # of the official file itself
    assert fetch.published_set("breastmnist").classes == ("malignant", "normal, benign")


def test_without_the_package_the_list_says_how_to_have_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["list", "datasets", "--json"]) == 0
    listed = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert listed["dermamnist"]["license"] == "CC BY-NC 4.0"
    assert "chestmnist" not in listed
    monkeypatch.setattr(fetch, "find_spec", lambda _name: None)
    assert main(["list", "datasets"]) == 0
    assert "pip install medmnist" in capsys.readouterr().out


def test_the_commands_of_the_results_page_are_those_that_there_are() -> None:
    page = (Path(__file__).parents[2] / "docs" / "results.md").read_text(encoding="utf-8")
    commands = re.findall(r"kdlight data get (\w+) --size (\d+) && kdlight train (\w+)\.toml", page)
    assert len(commands) == 8
    assert [fetch.published_set(name, int(size)).stem for name, size, _ in commands] == [stem for *_, stem in commands]
