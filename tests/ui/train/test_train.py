from __future__ import annotations

import json
import os
import time
import tomllib
from pathlib import Path
from typing import Any

import psutil
import pytest
from streamlit.testing.v1 import AppTest

from kdlight import runs
from kdlight.bundle import Bundle
from kdlight.contracts import origin
from kdlight.contracts.options import Declared
from kdlight.contracts.recipe import Recipe, default_recipe, read_recipe, shipped
from kdlight.data.check import Check
from kdlight.models import GENERAL
from kdlight.preprocessing import STAGES
from kdlight.runs import Phase
from kdlight.ui import fields, sessions, shelf, waiting, words
from kdlight.ui.train import form, owner, starting_weights
from kdlight.workers import jobs
from kdlight.workers.requests import Catalog, CheckData, EstimateTime, ListCatalog, Published, TimeEstimate
from tests.epochs import epoch
from tests.ui.conftest import FakeTicket, page, said


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Recipes that the page wanted to run; each becomes a queued run without a process."""
    found: list[str] = []

    def start(recipe: Recipe, root: Path) -> runs.Run:
        found.append(recipe.to_toml())
        return runs.create(recipe, root=root)

    monkeypatch.setattr(runs, "start", start)
    return found


def listed() -> Catalog:
    return jobs.catalog(ListCatalog(), lambda share, words: None)


@pytest.fixture
def train(app: AppTest, monkeypatch: pytest.MonkeyPatch) -> AppTest:
    found = listed()
    monkeypatch.setattr(form, "catalog", lambda: found)
    monkeypatch.setattr(
        starting_weights, "published", lambda network: Published(lacking=None, licenses=("apache-2.0",))
    )
    return page(app, "train")


def a_run(state: str, phase: str = "student", message: str = "", live: bool = False) -> runs.Run:
    """A run's folder as a training leaves it."""
    run = runs.create(read_recipe(shipped()["kdlight-synthetic"]))
    owner.claim(run, sessions.browser())
    trainings: tuple[tuple[Phase, int], ...] = (("teacher", 2), ("student", 4))
    for trained, epochs in trainings:
        for number in (1, 2):
            run.append(epoch(trained, number, epochs, loss=1 / number, val_balanced_accuracy=0.3 * number, seconds=3.0))
    if live:
        me = psutil.Process()
        process = {"pid": os.getpid(), "created": me.create_time()}
        (run.path / "process.json").write_text(json.dumps(process))
        (run.path / ".lock").unlink()  # as an older version, which locks nothing
    run.update(state=state, phase=phase, message=message, started=time.time() - 60)
    return run


GAMMAS = ("dist", "feature", "fitnet")
"""Methods with an option gamma."""


def open_run(app: AppTest, run: runs.Run) -> AppTest:
    app.query_params["run"] = run.name
    return app.run()


def button(app: AppTest, label: str) -> Any:
    return next(b for b in app.button if b.label == label)


def test_a_training_starts_with_one_click(train: AppTest, started: list[str]) -> None:
    assert not train.exception
    assert [s.value for s in train.subheader] == ["1  Data", "2  Teacher", "3  Student", "4  Method"]
    button(train, "Start training").click().run()
    recipe = Recipe(**tomllib.loads(started[0]))
    drawn, pair = (read_recipe(shipped()[name]) for name in ("kdlight-synthetic", "kdlight-brain_mri"))
    assert recipe == drawn.changed(distill=pair.distill)
    assert "Synthetic shapes" in said(train)
    assert train.get("progress")[0].proto.text.startswith("**Opening the images")


def test_every_choice_reaches_the_recipe(train: AppTest, started: list[str]) -> None:
    next(s for s in train.selectbox if s.label == "Distillation").select("kd").run()
    next(s for s in train.slider if s.label == "alpha").set_value(0.5).run()
    next(n for n in train.number_input if n.label == "temperature").set_value(2.0).run()
    next(n for n in train.number_input if n.key == "student epochs kdlight-synthetic widget").set_value(7).run()
    next(t for t in train.toggle if t.label == "Also train it without the teacher").set_value(False).run()
    next(t for t in train.toggle if t.label == "Also train it from random weights").set_value(True).run()
    button(train, "Start training").click().run()
    recipe = Recipe(**tomllib.loads(started[0]))
    assert recipe.distill.method == "kd"
    assert dict(recipe.distill.options) == {"alpha": 0.5, "temperature": 2.0}
    assert recipe.train.epochs == 7
    assert (recipe.train.alone, recipe.train.scratch) == (False, True)


def test_every_network_can_be_chosen_with_first_weights_that_fit_it(train: AppTest, started: list[str]) -> None:
    def box(label: str, number: int = 0) -> Any:
        return [s for s in train.selectbox if s.label == label][number]

    networks = form.catalog().networks
    for number, role in enumerate(("teacher", "student")):
        assert box("Network", number).options == [
            words.architecture(name) for name, network in networks.items() if network.role == role
        ]
    box("Network").select("vgg19").run()
    box("Network", 1).select("ofa595").run()
    assert box("Starting weights").options == [form.INITS["random"]]
    button(train, "Start training").click().run()
    recipe = Recipe(**tomllib.loads(started[0]))
    assert (recipe.teacher.name, recipe.student.name, recipe.student.init) == ("vgg19", "ofa595", "random")


@pytest.mark.parametrize(
    ("teacher", "student", "fitting"),
    [
        ("mobilenetv2", "kdlight_nano16", ["selection", "teacher", "random", "general"]),
        ("mobilenetv2", "kdlight_nano", ["selection", "teacher", "random", "general"]),
        ("mobilenetv2", "kdlight_base", ["selection", "teacher", "random"]),
        ("vgg19", "kdlight_nano", ["random"]),
        ("timm:vit_small_patch16_224", "timm:vit_tiny_patch16_224", ["selection", "teacher", "random", "published"]),
    ],
)
def test_only_first_weights_of_the_family_are_offered(teacher: str, student: str, fitting: list[str]) -> None:
    assert starting_weights.inits_of(teacher, student, listed()) == fitting


def test_every_method_has_a_control_per_option(train: AppTest) -> None:
    methods = {n: m for n, m in form.catalog().methods.items() if n != "alone"}
    given = read_recipe(shipped()[form.PAIRS[0]]).distill.options  # of feature, which fill the form
    for name, method in methods.items():
        next(s for s in train.selectbox if s.label == "Distillation").select(name).run()
        assert not train.exception
        controls = {w.label: w for kind in ("slider", "number_input", "toggle", "selectbox") for w in train.get(kind)}
        for option in method.options:
            control = controls[option.name.replace("_", " ")]
            assert control.value == (given if name == "feature" else {}).get(option.name, option.default)
            assert control.proto.help.startswith(option.help)
            if option.choices:
                assert control.options == list(option.choices)


@pytest.mark.parametrize(
    ("value", "bounds", "expected"),
    [
        (4.0, {"gt": 0}, (0.05, None, 0.5)),
        (0.07, {"gt": 0}, (0.0005, None, 0.005)),
        (25.0, {"ge": 0}, (0.0, None, 5.0)),
        (0.0, {"ge": 0}, (0.0, None, 0.5)),
        (4096, {"ge": 1}, (1, None, 1024)),
        (2, {}, (None, None, 1)),
        (0.99, {"ge": 0, "lt": 1}, (0.0, 0.995, 0.05)),
        (0.001, {"gt": 0.0005, "le": 1}, (0.00055, 1.0, 0.0005)),
        (0.999, {"lt": 1}, (None, 0.999, 0.05)),
    ],
)
def test_a_field_reaches_as_far_as_its_option_is_declared(
    value: float, bounds: dict[str, float], expected: tuple[float | None, float | None, float]
) -> None:
    option = Declared(
        name="x",
        kind="int" if isinstance(value, int) else "float",
        help="X.",
        default=value,
        low=bounds.get("ge", bounds.get("gt")),
        high=bounds.get("le", bounds.get("lt")),
        open_low="gt" in bounds,
        open_high="lt" in bounds,
    )
    for found, wanted in zip(fields.reach(option, value), expected, strict=True):
        assert found == (None if wanted is None else pytest.approx(wanted))
        assert found is None or type(found) is type(value)


def test_own_images_are_asked_for_before_the_rest(train: AppTest, started: list[str], tmp_path: Path) -> None:
    train.get("button_group")[0].set_value(form.OWN).run()
    assert "Name a labeled set to go on." in train.info[0].value
    train.text_input(key="train data widget").set_value(a_set(tmp_path / "My Set")).run()
    button(train, "Start training").click().run()
    recipe = Recipe(**tomllib.loads(started[0]))
    assert recipe.data.path == str(tmp_path / "My Set")
    assert recipe.data.name == "my_set"
    assert recipe.data.augmentation == "xray"
    assert recipe.data.stages == ()


def test_a_shipped_recipe_fills_the_form_for_own_images(train: AppTest, started: list[str], tmp_path: Path) -> None:
    train.get("button_group")[0].set_value(form.OWN).run()
    next(s for s in train.selectbox if s.label == "Modality").select("ultrasound").run()
    assert next(s for s in train.selectbox if s.label == "Copy settings from").value == "kdlight-busi3"
    assert next(n for n in train.number_input if n.label == "gamma").value == 5.0
    train.text_input(key="train data widget").set_value(a_set(tmp_path / "breast")).run()
    button(train, "Start training").click().run()
    recipe, pair = Recipe(**tomllib.loads(started[0])), read_recipe(shipped()["kdlight-busi3"])
    assert (recipe.teacher, recipe.student, recipe.distill) == (pair.teacher, pair.student, pair.distill)
    assert recipe.train == pair.train
    assert (recipe.data.limits, recipe.data.classes, recipe.data.source) == ((), {}, "")  # those were of other images


def test_another_recipe_fills_the_form_anew(train: AppTest) -> None:
    train.get("button_group")[0].set_value(form.OWN).run()
    for of in ("kdlight-brain_mri", "kdlight-brick_crack"):
        next(s for s in train.selectbox if s.label == "Copy settings from").select(of).run()
        pair = read_recipe(shipped()[of])
        shown = {n.label: n.value for n in train.number_input if n.label != "Epochs"}
        epochs = [n.value for n in train.number_input if n.label == "Epochs"]
        assert epochs == [pair.teacher.epochs, pair.train.epochs]
        assert shown["Fixed augmentations"] == pair.train.views


def test_the_words_of_training_are_explained(train: AppTest) -> None:
    helps = {
        w.label: w.proto.help for kind in ("slider", "number_input", "selectbox", "toggle") for w in train.get(kind)
    }
    for label in ("alpha", "temperature", "gamma", "Fixed augmentations", "Epochs", "Distillation"):
        assert len(helps[label]) > 60, label
    assert "labels alone" in helps["alpha"]
    assert "From 0 to 1." in helps["alpha"]
    gammas = [next(o.help for o in form.catalog().methods[name].options if o.name == "gamma") for name in GAMMAS]
    assert len(set(gammas)) == len(GAMMAS)  # each method means something else by it


def test_general_weights_are_offered_where_they_are_shipped(
    train: AppTest, started: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def first_weights() -> Any:
        return next(s for s in train.selectbox if s.label == "Starting weights")

    known = form.catalog()
    assert set(known.general) == set(GENERAL)
    assert all(one.commercial for one in known.general.values())
    found = known.model_copy(update={"general": {"kdlight_small": known.general["kdlight_nano"]}})
    monkeypatch.setattr(form, "catalog", lambda: found)
    words = form.INITS["general"]
    train.run()
    assert words not in first_weights().options
    next(s for s in train.selectbox if "kdlight small" in s.options).select("kdlight_small").run()
    assert words in first_weights().options
    first_weights().select("general").run()
    assert "weights pass their license on to your pair: Apache-2.0 (its teacher" in said(train)
    button(train, "Start training").click().run()
    assert Recipe(**tomllib.loads(started[0])).student.init == "general"


def test_stages_reach_the_recipe_in_the_order_in_which_they_are_meant(
    train: AppTest, started: list[str], tmp_path: Path
) -> None:
    train.get("button_group")[0].set_value(form.OWN).run()
    train.text_input(key="train data widget").set_value(a_set(tmp_path / "skin")).run()
    stages = next(group for group in train.get("button_group") if group.label.startswith("Preprocessing"))
    assert [option.content for option in stages.proto.options] == [stage.title for stage in STAGES.values()]
    stages.set_value(["clahe", "hair"]).run()
    assert not train.exception
    assert "After resizing, in this order: hair removed, contrast evened. The same in training" in said(train)
    button(train, "Start training").click().run()
    recipe = Recipe(**tomllib.loads(started[0]))
    assert recipe.data.stages == ("hair", "clahe")


def test_a_live_run_is_drawn_from_its_folder_and_can_be_stopped(
    train: AppTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, stopped = a_run("running", live=True), []
    monkeypatch.setattr(runs, "stop", stopped.append)
    open_run(train, run)
    text = train.get("progress")[0].proto.text
    assert "Training the student with its teacher, epoch 2 of 4" in text
    assert "60 s elapsed" in text
    assert "about 6 s left in this phase" in text
    assert len(train.get("vega_lite_chart")) == 3  # validation, and the losses of teacher and student
    button(train, "Stop").click().run()
    assert [r.path for r in stopped] == [run.path]


@pytest.mark.parametrize(
    ("state", "message", "kind"), [("stopped", "Stopped by request.", "info"), ("failed", "The disk is full.", "error")]
)
def test_an_ended_run_says_why_and_can_be_resumed(
    train: AppTest, monkeypatch: pytest.MonkeyPatch, state: str, message: str, kind: str
) -> None:
    run, resumed = a_run(state, message=message), []
    monkeypatch.setattr(runs, "resume", resumed.append)
    open_run(train, run)
    assert message in train.get(kind)[0].value
    button(train, "Resume").click().run()
    assert [r.path for r in resumed] == [run.path]


def test_a_finished_run_goes_to_the_library_and_compare_opens_on_it(
    train: AppTest, tiny_bundle: Bundle, library: Path
) -> None:
    import shutil

    run = a_run("done", phase="bundle")
    shutil.copytree(tiny_bundle.path, run.bundle)
    text = said(open_run(train, run))
    assert "Tested on 60 images that neither was trained on." in text
    assert "0.50 [0.40, 0.60]" in text
    assert "one training of each: not told from 0" in text
    button(train, "Add to library").click().run()
    assert train.toast[0].value == "Added to the library. Compare opens on it."
    assert (library / "tiny_mri-2").is_dir()
    page(train, "compare")
    assert train.sidebar.selectbox[0].value == str(library / "tiny_mri-2")


def test_a_finished_run_without_its_bundle_says_so(train: AppTest) -> None:
    open_run(train, a_run("done", phase="bundle"))
    button(train, "Add to library").click().run()
    assert "is no bundle" in train.toast[0].value


def test_past_runs_are_listed_and_opened_by_a_click(train: AppTest) -> None:
    run = a_run("failed", message="No space.")
    train.run()
    next(b for b in train.sidebar.button if b.key == f"run {run.name}").click().run()
    assert "No space." in train.error[0].value
    button(train, "New training").click().run()
    assert "Start training" in [b.label for b in train.button]


def test_an_estimate_belongs_to_the_recipe_it_was_made_for(train: AppTest, monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(request: EstimateTime) -> FakeTicket:
        return FakeTicket(TimeEstimate(seconds=700.0, images=180), request=request)

    monkeypatch.setattr(waiting, "submit", answer)
    button(train, "Estimate the time").click().run()
    assert "12 min</span> for 180 images" in said(train)
    next(n for n in train.number_input if n.key == "student epochs kdlight-synthetic widget").set_value(9).run()
    assert "12 min" not in said(train)


def test_a_resumed_run_is_drawn_as_live_at_once(train: AppTest, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was drawn in a fragment that did not renew itself: the page stood still until a reload."""
    run = a_run("stopped", message="Stopped by request.")
    open_run(train, run)
    monkeypatch.setattr(runs, "resume", lambda resumed: resumed.update(state="queued", message=""))
    button(train, "Resume").click().run()
    assert "Training the student with its teacher, epoch 2 of 4" in train.get("progress")[0].proto.text
    assert "Stop" in [b.label for b in train.button]


@pytest.mark.parametrize(("label", "action", "wanted"), [("Stop", "stop", "stopped"), ("Resume", "resume", "running")])
def test_a_second_click_that_finds_its_work_done_says_nothing(
    train: AppTest, monkeypatch: pytest.MonkeyPatch, label: str, action: str, wanted: str
) -> None:
    run = a_run("running" if action == "stop" else "stopped", live=True)
    open_run(train, run)

    def late(clicked: runs.Run) -> None:
        clicked.update(state=wanted)  # as another window does it meanwhile
        raise runs.RunError("only a live run can be stopped")

    monkeypatch.setattr(runs, action, late)
    button(train, label).click().run()
    assert len(train.toast) == 0
    assert not train.exception


def test_delete_asks_first_says_how_much_and_returns_to_the_list(train: AppTest) -> None:
    run, other = a_run("failed", message="No space."), a_run("stopped")
    open_run(train, run)
    button(train, "Delete this run").click().run()
    asked = next(m.value for m in train.markdown if "deleted from this machine" in m.value)
    assert "Synthetic shapes" in asked
    assert "kB in all" in asked
    assert run.path.is_dir()
    button(train, "Delete it").click().run()
    assert not train.exception
    assert not run.path.exists()
    assert other.path.is_dir()
    assert train.toast[0].value == "The run is deleted."
    assert "run" not in train.query_params
    assert "Start training" in [b.label for b in train.button]
    assert [b.key for b in train.sidebar.button if str(b.key).startswith("run ")] == [f"run {other.name}"]


def test_a_run_that_is_kept_after_all_stays(train: AppTest) -> None:
    run = a_run("done", phase="bundle")
    open_run(train, run)
    button(train, "Delete this run").click().run()
    button(train, "Keep it").click().run()
    assert run.path.is_dir()
    assert "Delete it" not in [b.label for b in train.button]


@pytest.mark.parametrize("state", ["running", "stopped", "done"])
def test_a_run_that_somebody_deleted_while_it_was_shown_is_said_to_be_gone(train: AppTest, state: str) -> None:
    import shutil

    run = a_run(state, live=state == "running")
    open_run(train, run)
    shutil.rmtree(run.path)
    train.run()
    assert not train.exception
    assert train.toast[0].value == "That run is no longer on this machine."
    assert "Start training" in [b.label for b in train.button]


def test_a_pair_at_chance_is_no_success(train: AppTest, tiny_bundle: Bundle) -> None:
    import shutil

    run = a_run("done", phase="bundle")
    shutil.copytree(tiny_bundle.path, run.bundle)
    run.update(at_chance=["teacher"])
    open_run(train, run)
    assert train.get("progress")[0].proto.text.startswith("**Finished, no better than chance**")
    assert "Failed: the teacher is not better than chance on the test images." in train.error[0].value
    labels = {b.label for b in train.button}
    assert "Add to library" not in labels
    assert "Add to library as failed" in labels
    assert "finished, no better than chance" in next(b.label for b in train.sidebar.button if "Synth" in b.label)


def test_a_teacher_that_began_from_nothing_is_said_on_its_run(train: AppTest) -> None:
    run = a_run("running", live=True)
    run.keep_teacher_start(origin.Origin(kind="random", words="random weights: no server answers"))
    shown = open_run(train, run).warning[0].value.replace("\\", "")
    assert shown == "The teacher started from random weights: no server answers."
    run.keep_teacher_start(origin.Origin(kind="file", words="mine.pth"))
    assert len(train.run().warning) == 0


def test_without_published_weights_the_form_says_so_before_the_start(
    train: AppTest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    lacking = Published(lacking="no server answers", licenses=("apache-2.0",))
    monkeypatch.setattr(starting_weights, "published", lambda network: lacking)
    assert train.run().warning[0].value.replace("\\", "") == "Teacher starts from random weights: no server answers."
    box = next(t for t in train.text_input if t.label == "Starting weights")
    box.set_value(str(tmp_path / "nowhere.pth")).run()
    assert len(train.warning) == 0
    assert "No file is there." in train.error[0].value
    box = next(t for t in train.text_input if t.label == "Starting weights")
    box.set_value(__file__).run()  # it is there, and not open to the app
    assert "The app may not look there" in train.error[0].value
    assert "Start training" not in {b.label for b in train.button}


def test_the_form_is_found_as_it_was_left(train: AppTest, started: list[str], tmp_path: Path) -> None:
    train.get("button_group")[0].set_value(form.OWN).run()
    train.text_input(key="train data widget").set_value(a_set(tmp_path / "lungs")).run()
    next(s for s in train.selectbox if s.label == "Modality").select("ct").run()
    next(s for s in train.selectbox if s.label == "Copy settings from").select(form.NEUTRAL).run()
    next(s for s in train.select_slider if s.label == "Input side, px").set_value(96).run()
    next(s for s in train.selectbox if s.label == "Distillation").select("dkd").run()
    next(n for n in train.number_input if n.label == "Fixed augmentations").set_value(3).run()
    next(t for t in train.toggle if t.label == "Also train it from random weights").set_value(True).run()
    knob = next(n for n in train.number_input if " dkd " in n.key)
    knob.set_value(knob.value + 1).run()
    a_run("failed", message="Before.")
    page(train, "library")
    page(train, "train")
    train.sidebar.button[1].click().run()  # a run in place of the form
    button(train, "New training").click().run()
    button(train, "Start training").click().run()
    recipe = Recipe(**tomllib.loads(started[0]))
    assert (recipe.data.path, recipe.data.modality, recipe.data.size) == (str(tmp_path / "lungs"), "ct", 96)
    assert (recipe.distill.method, recipe.train.views, recipe.train.scratch) == ("dkd", 3, True)
    assert recipe.distill.options[knob.key.split()[0]] == knob.value
    assert recipe.student.init == "selection"


def test_own_images_without_a_pair_of_their_modality_begin_neutral_and_free(
    train: AppTest, started: list[str], tmp_path: Path
) -> None:
    train.get("button_group")[0].set_value(form.OWN).run()
    train.text_input(key="train data widget").set_value(a_set(tmp_path / "Fundus Köln")).run()
    next(s for s in train.selectbox if s.label == "Modality").select("fundus").run()
    assert next(s for s in train.selectbox if s.label == "Copy settings from").value == form.NEUTRAL
    text = said(train)
    assert "The starting weights are free (Apache-2.0): your pair may be used commercially, as far as" in text
    assert "CC BY-NC" not in text
    button(train, "Start training").click().run()
    recipe = Recipe(**tomllib.loads(started[0]))
    plain = default_recipe("synthetic", "fundus")
    assert (recipe.teacher, recipe.distill.method) == (plain.teacher, plain.distill.method)
    assert recipe.train == plain.train
    assert recipe.student == plain.student
    assert recipe.student.init == "selection"
    assert (recipe.data.title, recipe.data.name) == ("Fundus Köln", "fundus_k_ln")
    assert recipe.data.weights_licence == "Apache-2.0 (its starting weights)"


@pytest.mark.parametrize(
    ("licenses", "line", "kept"),
    [
        (["apache-2.0"], "The starting weights are free (Apache-2.0)", "Apache-2.0 (its starting weights)"),
        (["cc-by-nc-4.0"], "your pair may not be used commercially", "CC-BY-NC-4.0 (its starting weights)"),
        ([], "The license of the starting weights is not stated", "license not stated (its starting weights)"),
    ],
)
def test_what_the_starting_weights_mean_for_the_license_is_said_beside_them(
    train: AppTest,
    started: list[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    licenses: list[str],
    line: str,
    kept: str,
) -> None:
    given = Published(lacking=None, licenses=tuple(licenses), commercial="cc-by-nc-4.0" not in licenses)
    monkeypatch.setattr(starting_weights, "published", lambda network: given)
    train.get("button_group")[0].set_value(form.OWN).run()
    train.text_input(key="train data widget").set_value(a_set(tmp_path / "slides")).run()
    next(s for s in train.selectbox if s.label == "Copy settings from").select(form.NEUTRAL).run()
    assert line in said(train)
    button(train, "Start training").click().run()
    assert Recipe(**tomllib.loads(started[0])).data.weights_licence == kept


def a_set(folder: Path) -> str:
    """A folder that is there, which is all that the form looks at."""
    folder.mkdir()
    return str(folder)


@pytest.mark.parametrize("name", ["nowhere", "nowhere#binary", "notes.txt", "~nobody-here/set", "a" * 5000, "nul\0"])
def test_a_set_that_is_not_there_is_refused_before_the_start(train: AppTest, tmp_path: Path, name: str) -> None:
    (tmp_path / "notes.txt").write_text("no set")
    train.get("button_group")[0].set_value(form.OWN).run()
    train.text_input(key="train data widget").set_value(name if name.startswith("~") else str(tmp_path / name)).run()
    assert not train.exception
    refused = "This is no path" if "~" in name or "\0" in name else "No labeled set is at this place"
    assert [e.value.partition(":")[0].partition(";")[0] for e in train.error] == [refused]
    assert not {"Start training", "Check the images"} & {b.label for b in train.button}


@pytest.mark.parametrize("name", ["set", "set#binary", "set.npz", "SET.CSV"])
def test_a_set_that_is_there_can_be_started(train: AppTest, tmp_path: Path, name: str) -> None:
    a_set(tmp_path / "set")
    for file in ("set.npz", "SET.CSV"):
        (tmp_path / file).touch()
    train.get("button_group")[0].set_value(form.OWN).run()
    train.text_input(key="train data widget").set_value(str(tmp_path / name)).run()
    assert not train.error
    assert button(train, "Start training")


def test_weights_that_are_not_there_are_refused_before_the_start(train: AppTest, tmp_path: Path) -> None:
    field = next(t for t in train.text_input if t.label == "Starting weights")
    field.set_value(str(tmp_path / "nowhere.pth")).run()
    assert "No file is there." in train.error[0].value
    assert "Start training" not in {b.label for b in train.button}


def test_a_select_holds_short_names_and_the_rest_stands_below(train: AppTest, tmp_path: Path) -> None:
    methods = next(s for s in train.selectbox if s.label == "Distillation").options
    assert max(map(len, methods)) <= shelf.FITS
    chosen = next(s for s in train.selectbox if s.label == "Distillation").value
    assert form.catalog().methods[chosen].paper in said(train)
    train.get("button_group")[0].set_value(form.OWN).run()
    train.text_input(key="train data widget").set_value(a_set(tmp_path / "chests")).run()
    next(s for s in train.selectbox if s.label == "Copy settings from").select("kdlight-cxr3").run()
    assert words.plain("Chest X-ray: COVID-19, pneumonia, no findings") in [c.value for c in train.caption]


def test_what_the_check_left_out_is_said(train: AppTest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    found = {
        **{"classes": ["a"], "splits": ["all"], "counts": {"all": {"a": 3}}, "problems": [], "images": 3},
        **{"groups": 3, "notes": ["2 masks beside images are not counted as images."]},
    }

    def answer(request: CheckData) -> FakeTicket:
        return FakeTicket(Check.model_validate(found), request=request)

    monkeypatch.setattr(waiting, "submit", answer)
    train.get("button_group")[0].set_value(form.OWN).run()
    train.text_input(key="train data widget").set_value(str(tmp_path)).run()
    button(train, "Check the images").click().run()
    assert "2 masks beside images are not counted as images." in said(train)


def test_a_double_click_on_start_starts_one_run(train: AppTest, started: list[str]) -> None:
    click = button(train, "Start training").click()
    click.run()
    train.query_params.pop("run")  # the browser has not put it into the address yet
    train.run()
    button(train, "Start training").click().run()
    assert len(started) == 1
    assert train.get("progress")[0].proto.text.startswith("**Opening the images")
    button(train, "New training").click().run()
    button(train, "Start training").click().run()
    assert len(started) == 2


def test_a_run_that_cannot_be_started_says_why(train: AppTest, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(recipe: Recipe, root: Path) -> runs.Run:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(runs, "start", full)
    button(train, "Start training").click().run()
    assert "The disk is full" in train.toast[0].value
    assert "Start training" in [b.label for b in train.button]


@pytest.mark.parametrize(
    "content",
    [b'{"state": "walking"}', b'{"state": "done", "started": 1e300}', b"[" * 100_000, b"\xff\xfe", b""],
    ids=["an unknown state", "a start beyond all time", "nested without end", "no text", "nothing"],
)
def test_an_odd_run_is_told_and_stops_no_page(train: AppTest, content: bytes) -> None:
    good, odd = a_run("stopped"), a_run("done")
    (odd.path / "status.json").write_bytes(content)
    open_run(train, good)
    assert not train.exception
    assert any(f"{odd.name} is not listed, because" in c.value.replace("\\", "") for c in train.sidebar.caption)
    open_run(train, odd)
    assert not train.exception
    assert "no longer" in train.toast[0].value


def test_a_run_whose_recipe_log_and_start_are_odd_is_drawn_all_the_same(train: AppTest) -> None:
    run = a_run("stopped")
    (run.path / "recipe.toml").write_bytes(b"a = " + b"[" * 100_000)
    (run.path / "log.jsonl").write_bytes(b"\xff\n[1]\n{}\n" + epoch("student", 1).to_json().encode() + b"\n")
    (run.path / "start.txt").write_bytes(b"\xff\xfe\0")
    open_run(train, run)
    assert not train.exception
    assert "unreadable recipe" in said(train)


def test_a_damaged_checkpoint_is_told_on_the_page(train: AppTest) -> None:
    run = a_run("done")
    run.update(note="checkpoint.student.safetensors is damaged. Training goes on from the one before, epoch 2.")
    open_run(train, run)
    assert "Training goes on from the one before, epoch 2" in said(train)
