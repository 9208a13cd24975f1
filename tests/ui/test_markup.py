"""Text from cards, runs, studies, readings and files stays text on every page, whatever stands in it."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields, replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.json_format import MessageToDict
from streamlit.testing.v1 import AppTest

from kdlight import bundle as bundles
from kdlight import runs
from kdlight.bundle import Bundle, Card
from kdlight.bundle.study_record import StudyRecord
from kdlight.contracts.origin import Origin
from kdlight.contracts.reading import ROLES, Reading
from kdlight.contracts.recipe import read_recipe, shipped
from kdlight.data.check import Check
from kdlight.inference import IneligibleError
from kdlight.runs import RunStatus
from kdlight.ui import markup
from kdlight.ui.train import form, starting_weights
from kdlight.workers import jobs
from kdlight.workers.requests import CheckData, Comparison, ListCatalog, Published
from tests.epochs import epoch
from tests.ui.compare.test_compare import finished, measured  # noqa: F401
from tests.ui.compare.test_studies import studies_view, write
from tests.ui.conftest import FakeTicket, FakeWorkers, a_reading, button, page, png, said, sample, upload

ROOT = Path(__file__).resolve().parents[2]
PAYLOADS = (
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "</div></style><style>.kd-purpose{display:none}</style>",
    '"><b onmouseover="alert(1)">',
    "[x](javascript:alert(1))",
    "![x](http://evil.example/x.png)",
    ":material/skull:",
    ":red-background[x]",
    "$\\alpha$",
    "**bold**",
    "`code`",
    "{0.__class__} {x} %s",
)
EVERY = " ".join(PAYLOADS)
MARKDOWN = PAYLOADS[:-1]
"""Those that would come to something where a page is written in Markdown."""
TEXT = {("selectbox", "options"), ("code", "codeText"), ("textInput", "value"), ("textInput", "default")}
TEXT |= {("selectbox", "rawValue"), ("textInput", "placeholder"), ("imgs", "url"), ("vegaLiteChart", "alt")}
"""Fields of Streamlit's elements that it draws as plain text."""
TAGS = {"div", "span", "p", "h2", "h3", "b", "br", "i", "small", "section", "img", "figure", "figcaption"}
TAGS |= {"table", "thead", "tbody", "tr", "th", "td", "dl", "dt", "dd"}
ATTRIBUTES = {"class", "role", "title", "style", "src", "alt", "scope", "colspan", "aria-label", "aria-hidden"}
STYLES = re.compile(r"(--share|width):[0-9.]+%")


def poisoned(data: Any, valid: Callable[[Any], Any], keep: Sequence[str] = ()) -> Any:
    """`data` with every text in it replaced, as far as whoever reads it takes that: what is refused cannot harm.

    keep: keys of names that stand for something else in the same document.
    """
    reached = json.loads(json.dumps(data))
    for holder, key in [one for one in places(reached) if one[1] not in keep]:
        kept = holder[key]
        for attack in (EVERY, *PAYLOADS):
            holder[key] = attack
            try:
                valid(reached)
                break
            except ValueError:
                holder[key] = kept
    return reached


def places(data: Any) -> Iterator[tuple[Any, Any]]:
    """Where the texts of a JSON document stand."""
    for key, value in list(data.items() if isinstance(data, dict) else enumerate(data)):
        if isinstance(value, str):
            yield data, key
        elif isinstance(value, dict | list):
            yield from places(value)


class Reader(HTMLParser):
    """What a page's HTML is made of."""

    def __init__(self) -> None:
        super().__init__()
        self.strange: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in TAGS:
            self.strange.append(tag)
        for name, value in attrs:
            source = name == "src" and not str(value).startswith("data:image/png;base64,")
            if name not in ATTRIBUTES or source or (name == "style" and not STYLES.fullmatch(str(value))):
                self.strange.append(f"{tag} {name}={value}")

    def handle_decl(self, decl: str) -> None:
        self.strange.append(decl)


def blocks(node: Any) -> Iterator[Any]:
    """All elements and containers of a page."""
    yield node
    for child in getattr(node, "children", {}).values():
        yield from blocks(child)


def texts(data: Any, *path: str) -> Iterator[tuple[tuple[str, ...], str]]:
    """Every text of a message, with the names on the way to it."""
    if isinstance(data, str):
        yield path, data
    elif isinstance(data, dict):
        for name, value in data.items():
            yield from texts(value, *path, name)
    elif isinstance(data, list):
        for value in data:
            yield from texts(value, *path)


def faults(app: AppTest) -> list[str]:
    """What text from outside has come to on the page as it is drawn."""
    found = [f"exception: {e.value}" for e in app.exception]
    for node in blocks(app._tree):
        kind = str(getattr(node, "type", ""))
        if kind == "html":
            if node.proto.body.startswith("<style>"):
                continue
            reader = Reader()
            reader.feed(node.proto.body)
            reader.close()
            found += [f"html: {one}" for one in reader.strange]
        elif kind not in ("bidi_component", "arrow_vega_lite_chart", "arrow_data_frame") and hasattr(node, "proto"):
            for path, text in texts(MessageToDict(node.proto)) if node.proto is not None else ():
                if (kind, path[-1]) not in TEXT and (camel(kind), path[-1]) not in TEXT:
                    found += [f"{kind} {'.'.join(path)}: {attack}" for attack in MARKDOWN if attack in text]
    return found


def camel(kind: str) -> str:
    first, *rest = kind.split("_")
    return first + "".join(word.capitalize() for word in rest)


@pytest.fixture
def evil(library: Path, monkeypatch: pytest.MonkeyPatch) -> Bundle:
    """The only bundle of this library: each text of its card is an attack."""
    folder = library / "tiny_mri"
    card = json.loads((folder / "card.json").read_text(encoding="utf-8"))
    card |= {
        "licenses": card.get("licenses", {}),
        "intended_use": "x",
        "limits": ["x", "y"],
        "versions": {"torch": "x"},
    }
    text = json.dumps(poisoned(card, Card.model_validate))
    assert text.count("onerror") > 12
    (folder / "card.json").write_text(text, encoding="utf-8")
    bundles.seal(folder)
    return bundles.load(folder)


@pytest.fixture
def evil_app(evil: Bundle, workers: FakeWorkers) -> AppTest:
    workers.answer = lambda asked: FakeTicket(evil_reading(a_reading(asked, evil)))
    return AppTest.from_file(str(ROOT / "app.py"), default_timeout=30).run()


@pytest.fixture
def train(evil_app: AppTest, monkeypatch: pytest.MonkeyPatch) -> AppTest:
    """The page, of networks whose weights have an attack for a license."""
    found = jobs.catalog(ListCatalog(), lambda share, words: None)
    monkeypatch.setattr(form, "catalog", lambda: found)
    weights = Published(lacking=EVERY, licenses=(EVERY,))
    monkeypatch.setattr(starting_weights, "published", lambda network: weights)
    return evil_app


def evil_reading(reading: Reading) -> Reading:
    """A reading whose every text that names no class or role is an attack."""

    def spoiled(thing: Any, *keep: str) -> Any:
        changes = {
            field.name: EVERY
            for field in fields(thing)
            if field.init and isinstance(getattr(thing, field.name), str) and field.name not in keep
        }
        return replace(thing, **changes)

    opinions = {}
    for role in ("teacher", "student"):
        opinion = spoiled(getattr(reading, role), "role", "prediction")
        if opinion.heat_map is not None:
            opinion = replace(opinion, heat_map=spoiled(opinion.heat_map))
        opinions[role] = opinion
    eligibility = replace(reading.eligibility, reasons=(EVERY,))
    return replace(spoiled(reading, "bundle_sha256"), eligibility=eligibility, **opinions)


def test_read(evil_app: AppTest, workers: FakeWorkers) -> None:
    sample(evil_app, "Head MRI")
    next(one for one in evil_app.sidebar.toggle if one.label == "Heat map").set_value(True).run()
    assert "alert(1)" in said(evil_app)
    assert faults(evil_app) == []
    for error in (IneligibleError((EVERY, EVERY)), ValueError(EVERY)):
        workers.answer = lambda asked, error=error: FakeTicket(error)  # type: ignore[misc]
        upload(evil_app, png(50 + len(str(error)) % 7), EVERY)
        assert faults(evil_app) == []


def test_compare(evil_app: AppTest, evil: Bundle, measured: dict[str, Any]) -> None:  # noqa: F811
    page(evil_app, "compare")
    assert "alert(1)" in said(evil_app)
    assert faults(evil_app) == []
    answer = finished(Path("x"), {**measured, "busy": "x"}, data=EVERY, masks=EVERY)
    given = json.loads(answer.result().model_dump_json(by_alias=True))
    for flip in given["evaluation"]["shown"]:
        flip |= {"truth": evil.classes[0], "teacher": evil.classes[0], "student": evil.classes[1]}
    for curves in given["evaluation"]["curves"].values():
        curves["roc"] = {evil.classes[0]: next(iter(curves["roc"].values()))}
    answer._answer = Comparison.model_validate(poisoned(given, Comparison.model_validate, (*ROLES, "truth")))
    evil_app.session_state[f"ticket compare {evil.sha256}"] = answer
    evil_app.run()
    assert faults(evil_app) == []


def test_studies(evil_app: AppTest, library: Path) -> None:
    folder = write(library.parent / "runs", teacher_start={"kind": "random", "words": "x"}, metric="x", command="x")
    record = json.loads((folder / "study.json").read_text(encoding="utf-8"))
    (folder / "study.json").write_text(json.dumps(poisoned(record, StudyRecord.model_validate)), encoding="utf-8")
    broken = library.parent / "runs" / "**bold** $x$ :red[x]"
    broken.mkdir()
    (broken / "study.json").write_text(json.dumps({"schema": EVERY}), encoding="utf-8")
    studies_view(evil_app)
    assert "alert(1)" in said(evil_app)
    assert faults(evil_app) == []


def test_library(evil_app: AppTest) -> None:
    page(evil_app, "library")
    assert "alert(1)" in said(evil_app)
    assert faults(evil_app) == []
    button(evil_app, "Open the card").click().run()
    assert "alert(1)" in said(evil_app)
    assert faults(evil_app) == []
    for notice in ("refused", "imported"):
        evil_app.session_state[notice] = EVERY
    evil_app.query_params.clear()
    assert faults(evil_app.run()) == []


@pytest.mark.parametrize("state", ["failed", "stopped", "done"])
def test_train(train: AppTest, state: str) -> None:
    recipe = read_recipe(shipped()["kdlight-synthetic"])
    data = recipe.data.changed(title=EVERY, source=EVERY, licence=EVERY, limits=(EVERY,))
    run = runs.create(recipe.changed(data=data))
    run.append(epoch("teacher", 1, 2))
    run.keep_teacher_start(Origin(kind="random", words=EVERY))
    status = json.loads(run.status().model_dump_json())
    status |= {"state": state, "message": EVERY, "phase": "teacher"}
    (run.path / "status.json").write_text(json.dumps(poisoned(status, RunStatus.model_validate) | {"state": state}))
    page(train, "train")
    assert faults(train) == []
    next(one for one in train.sidebar.button if one.key == f"run {run.name}").click().run()
    assert faults(train) == []
    next(one for one in train.button if one.key == "delete run").click().run()
    assert faults(train) == []


def test_a_labeled_set(train: AppTest, tmp_path: Path) -> None:
    place = tmp_path / "**bold** $x$ <b onmouseover=x>"
    place.mkdir()
    page(train, "train")
    train.get("button_group")[0].set_value(form.OWN).run()
    train.text_input(key="train data widget").set_value(str(place)).run()
    checked = Check(
        classes=(EVERY,),
        splits=("all",),
        counts={"all": {EVERY: 2}},
        images=2,
        groups=2,
        problems=(EVERY,),
        notes=(EVERY,),
    )  # type: ignore[call-arg]
    train.session_state["ticket check"] = FakeTicket(checked, request=CheckData(str(place)))
    train.run()
    assert "alert(1)" in said(train)
    assert faults(train) == []


def test_an_escaped_text_is_found_where_it_is_not_escaped() -> None:
    def bad() -> None:
        import streamlit as st

        st.html("<p><img src=x onerror=alert(1)></p>")
        st.markdown("[x](javascript:alert(1))")
        st.button(":material/skull:")

    found = faults(AppTest.from_function(bad).run())
    assert [one.partition(":")[0] for one in found] == ["html", "html", "markdown body", "button label"]


def calls(path: Path) -> Iterator[ast.Call]:
    yield from (n for n in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(n, ast.Call))


def test_one_module_writes_html_from_templates_that_stand_in_the_source() -> None:
    for path in [*(ROOT / "kdlight" / "ui").rglob("*.py"), *(ROOT / "pages").glob("*.py"), ROOT / "app.py"]:
        for call in calls(path):
            name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
            where = f"{path.relative_to(ROOT)} line {call.lineno}"
            assert not any(keyword.arg == "unsafe_allow_html" for keyword in call.keywords), where
            if path.name == "markup.py":
                continue
            assert name not in ("html", "iframe"), f"{where}: only kdlight.ui.markup draws HTML"
            if name == "Markup":
                assert ast.unparse(call) == "Markup(_css())", where
            if name == "write" and isinstance(call.func, ast.Name):
                assert isinstance(call.args[0], ast.Constant), f"{where}: a template stands in the source as it is"


def test_what_is_filled_in_is_escaped_once() -> None:
    inner = markup.write("<b>{}</b>", EVERY)
    assert "<script" not in inner
    assert markup.write("<p>{}</p>", inner) == f"<p>{inner}</p>"
    assert markup.joined([inner, "<i>"], " ") == f"{inner} &lt;i&gt;"
    with pytest.raises(TypeError):
        markup.put("<b>text</b>")  # type: ignore[arg-type]
