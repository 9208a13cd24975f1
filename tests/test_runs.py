"""A run is a folder that outlives whoever looks at it."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest
from pydantic import ValidationError

from kdlight import runs
from kdlight.contracts import origin
from kdlight.contracts.recipe import Recipe, read_recipe
from kdlight.runs import Run, RunError, control
from tests.epochs import epoch

RECIPE = Recipe(**{"data": {"path": "x", "modality": "mri"}})
SLEEP = "import time; time.sleep(60)"
DEAF = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(60)"


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return runs.create(RECIPE, root=tmp_path)


@pytest.fixture
def program(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Let runs launch this Python text in place of a training; whatever is left of it is ended."""
    launched: list[Run] = []

    def use(text: str) -> None:
        def command(run: Run, *options: str) -> list[str]:
            launched.append(run)
            return [sys.executable, "-c", text, *options]

        monkeypatch.setattr(control, "_command", command)

    yield use
    for run in launched:
        if run.live():
            psutil.Process(run.status().pid).kill()


def _wait(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.02)


def test_a_new_run_is_queued_and_keeps_its_recipe(run: Run) -> None:
    assert run.status().state == "queued"
    assert read_recipe(run.recipe) == RECIPE


def test_update_changes_only_what_it_is_given(run: Run) -> None:
    run.update(phase="teacher", epochs=12)
    run.update(epoch=3)
    status = run.status()
    assert (status.phase, status.epoch, status.epochs) == ("teacher", 3, 12)


@pytest.mark.parametrize("wrong", [{"state": "walking"}, {"phase": "lunch"}])
def test_update_refuses_what_nobody_could_draw(run: Run, wrong: dict[str, str]) -> None:
    with pytest.raises(ValidationError, match="Input should be"):
        run.update(**wrong)


def test_the_log_keeps_order_and_values(run: Run) -> None:
    records = [epoch("teacher", number, loss=1 / (number + 1)) for number in range(3)]
    for record in records:
        run.append(record)
    assert run.log() == records


def test_half_a_line_of_a_killed_process_is_left_out_then_cut_off(run: Run) -> None:
    run.append(epoch("student", 1))
    with (run.path / "log.jsonl").open("ab") as log:
        log.write(b'{"stage": "student", "ep')
    assert run.log() == [epoch("student", 1)]
    run.append(epoch("student", 2))
    assert [json.loads(line)["epoch"] for line in (run.path / "log.jsonl").read_text().splitlines()] == [1, 2]


def test_an_epoch_repeated_after_a_kill_counts_once(run: Run) -> None:
    for loss in (0.9, 0.5):
        run.append(epoch("student", 7, loss=loss))
    assert run.log() == [epoch("student", 7, loss=0.5)]


def test_a_number_that_json_has_no_word_for_is_refused(run: Run) -> None:
    with pytest.raises(ValueError, match="finite number"):
        run.append(epoch("student", 1, loss=float("nan")))


def test_a_folder_with_something_in_it_is_not_taken(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(RunError, match="not empty"):
        runs.create(RECIPE, path=tmp_path)


def test_a_run_that_learned_nothing_gives_its_folder_to_another(run: Run) -> None:
    run.update(state="failed")
    (run.path / "start.safetensors").write_bytes(b"of the other teacher")
    other = RECIPE.changed(train=RECIPE.train.changed(seed=5))
    again = runs.create(other, path=run.path)
    assert (read_recipe(again.recipe), again.status().state) == (other, "queued")
    assert not (run.path / "start.safetensors").exists()
    (run.path / "teacher.safetensors").write_bytes(b"learned")
    with pytest.raises(RunError, match="not empty"):
        runs.create(RECIPE, path=run.path)


def test_a_status_that_is_not_a_runs_is_not_written_over(tmp_path: Path) -> None:
    (tmp_path / "status.json").write_text('{"state": "of something else"}')
    with pytest.raises(RunError, match="is not a run"):
        runs.create(RECIPE, path=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["status.json"]
    assert "something else" in (tmp_path / "status.json").read_text()


def test_a_folder_that_is_no_run_says_so(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="is not a run"):
        Run(tmp_path).status()


def test_runs_are_listed_newest_first_and_strangers_passed_over(tmp_path: Path) -> None:
    (tmp_path / "stranger").mkdir()
    older, newer = (runs.create(RECIPE, path=tmp_path / name) for name in ("b", "a"))
    older.update(started=1.0)
    assert runs.list_runs(tmp_path) == ([newer, older], [])
    assert runs.list_runs(tmp_path / "nowhere") == ([], [])


def test_a_started_run_is_a_process_of_its_own_session(tmp_path: Path, program: Callable[[str], None]) -> None:
    program(SLEEP)
    run = runs.start(RECIPE, tmp_path)
    pid = run.status().pid
    assert run.live()
    assert os.getsid(pid) == pid != os.getsid(0)


def test_stop_ends_the_process_and_says_how_to_go_on(tmp_path: Path, program: Callable[[str], None]) -> None:
    program(SLEEP)
    run = runs.start(RECIPE, tmp_path)
    runs.stop(run)
    assert not run.live()
    assert run.status().state == "stopped"
    assert "resume" in run.status().message
    with pytest.raises(RunError, match="only a queued or running"):
        runs.stop(run)


def test_a_process_that_does_not_listen_is_killed(tmp_path: Path, program: Callable[[str], None]) -> None:
    program(DEAF)
    run = runs.start(RECIPE, tmp_path)
    _wait(lambda: "deaf" in run.output.read_text())
    runs.stop(run, grace=0.3)
    assert not run.live()


def test_a_run_killed_from_outside_reads_as_stopped(tmp_path: Path, program: Callable[[str], None]) -> None:
    program(SLEEP)
    run = runs.start(RECIPE, tmp_path)
    run.update(state="running")
    psutil.Process(run.status().pid).kill()
    _wait(lambda: not run.live())
    assert run.status().state == "stopped"
    assert "without saying why" in run.status().message


def test_a_process_that_fails_leaves_its_last_words(tmp_path: Path, program: Callable[[str], None]) -> None:
    program("raise SystemExit('The data folder is gone.')")
    run = runs.start(RECIPE, tmp_path)
    _wait(lambda: run.status().state == "failed")
    assert run.status().message == "The data folder is gone."


def test_another_process_under_the_same_number_is_never_touched(run: Run) -> None:
    with subprocess.Popen([sys.executable, "-c", SLEEP]) as stranger:
        record = {"pid": stranger.pid, "created": psutil.Process(stranger.pid).create_time() - 3600}
        (run.path / "process.json").write_text(json.dumps(record))
        run.update(state="running")
        assert run.status().state == "stopped"
        with pytest.raises(RunError, match="only a queued or running"):
            runs.stop(run)
        assert stranger.poll() is None
        stranger.kill()


def test_resume_starts_a_stopped_run_again_and_no_other(tmp_path: Path, program: Callable[[str], None]) -> None:
    program("import sys; print(sys.argv[1:])")
    run = runs.create(RECIPE, root=tmp_path)
    with pytest.raises(RunError, match="only a stopped or failed"):
        runs.resume(run)
    run.update(state="stopped")
    runs.resume(run)
    _wait(lambda: "--resume" in run.output.read_text())


def test_a_resumed_run_works_where_it_was_begun(
    tmp_path: Path, program: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    program("import os; print(os.getcwd())")
    (tmp_path / "study").mkdir()
    monkeypatch.chdir(tmp_path / "study")
    run = runs.start(RECIPE, tmp_path)
    _wait(lambda: not run.live())
    run.update(state="stopped")
    monkeypatch.chdir(tmp_path)
    runs.resume(run)
    _wait(lambda: run.output.read_text().splitlines() == [str(tmp_path / "study")] * 2)


def test_claim_makes_the_caller_the_runs_process(run: Run) -> None:
    with run.claim():
        assert run.status().state == "running"
        assert run.status().pid == os.getpid()
        assert run.live()
    assert run.status().state == "stopped"


def test_claim_refuses_a_run_that_was_begun_or_is_done(run: Run) -> None:
    run.append(epoch("teacher", 1))
    with pytest.raises(RunError, match="--resume"), run.claim():
        pass
    with run.claim(resume=True):
        run.update(state="done")
    with pytest.raises(RunError, match="finished"), run.claim(resume=True):
        pass


def test_claim_refuses_a_run_at_work_elsewhere(tmp_path: Path, program: Callable[[str], None]) -> None:
    program(SLEEP)
    run = runs.start(RECIPE, tmp_path)
    with pytest.raises(RunError, match="another process"), run.claim(resume=True):
        pass


def test_two_clicks_on_resume_start_one_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run, launched = runs.create(RECIPE, root=tmp_path), []
    run.update(state="stopped")

    def launch(run: Run, lock: int, *options: str, folder: Path) -> None:
        time.sleep(0.2)  # the other click comes while this one is at work
        launched.append(run)

    monkeypatch.setattr(control, "_launch", launch)
    with ThreadPoolExecutor(2) as both:
        ends = [click.exception() for click in [both.submit(runs.resume, run) for _ in range(2)]]
    assert len(launched) == 1
    assert [type(end) for end in ends if end] == [RunError]


def test_a_process_that_comes_too_late_does_not_fail_the_run_of_another(
    tmp_path: Path, program: Callable[[str], None]
) -> None:
    program("import time; time.sleep(0.5); raise SystemExit('Another process is at it.')")
    run = runs.start(RECIPE, tmp_path)
    late = run.status().pid
    _wait(lambda: run.path.joinpath("process.json").is_file())
    mine = {"pid": os.getpid(), "created": psutil.Process().create_time()}
    (run.path / "process.json").write_text(json.dumps(mine))
    run.update(state="running")
    _wait(lambda: not psutil.pid_exists(late))
    time.sleep(0.1)
    assert run.stored().state == "running"
    (run.path / "process.json").unlink()  # this process, which the fixture would end


def test_a_run_is_deleted_with_everything_in_it_once_it_has_ended(tmp_path: Path) -> None:
    run = runs.create(RECIPE, root=tmp_path)
    with run.claim():
        (run.path / "bundle").mkdir()
        (run.path / "bundle" / "teacher.safetensors").write_bytes(b"x" * 1000)
        assert 1000 < runs.size(run) < 3000
        with pytest.raises(RunError, match="stop it before"):
            runs.delete(run)
    runs.delete(run)
    runs.delete(run)  # the second click finds nothing to do
    assert list(tmp_path.iterdir()) == []
    assert runs.list_runs(tmp_path) == ([], [])


def test_a_folder_that_is_no_run_is_not_deleted(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(RunError, match="is not a run"):
        runs.delete(Run(tmp_path))
    assert (tmp_path / "thesis.txt").is_file()


@pytest.mark.parametrize(
    ("kept", "kind"),
    [
        ({"start": "random weights: pretrained ones could not be had (OSError)"}, "random"),
        ({"start": "timm pretrained weights (ImageNet)"}, "published"),
        ({"start": "mobilenet_v2.pth"}, "file"),
        ({"start": "somewhere"}, None),
        ({"start": "words that begin in no known way", "start_kind": "random"}, "random"),
    ],
)
def test_the_kind_of_a_start_is_kept_and_of_older_records_known_by_their_words(kept: dict[str, str], kind: str) -> None:
    found = origin.of(kept)
    assert found is not None
    assert (found.kind, found.words) == (kind, kept["start"])
    assert origin.of({}) is None


def test_a_run_keeps_where_its_teacher_began(tmp_path: Path) -> None:
    run = Run(tmp_path)
    assert run.teacher_start() is None
    run.keep_teacher_start(origin.Origin(kind="random", words="random weights: no network"))
    assert run.teacher_start() == origin.Origin(kind="random", words="random weights: no network")
    (tmp_path / "start.txt").write_text("timm pretrained weights (ImageNet)")  # of an older run
    assert run.teacher_start() == origin.Origin(kind="published", words="timm pretrained weights (ImageNet)")


def test_a_run_of_an_older_version_is_read(run: Run) -> None:
    """It called a phase a stage, and its status had what it has no more."""
    old = {"state": "done", "stage": "bundle", "epoch": 3, "epochs": 3, "started": 5.0, "message": "", "updated": 9.0}
    (run.path / "status.json").write_text(json.dumps({**old, "at_chance": ["student"], "mood": "good"}))
    line = json.loads(epoch("student", 3).to_json())
    line["stage"] = line.pop("phase")
    (run.path / "log.jsonl").write_text(json.dumps(line) + "\n")
    (run.path / "process.json").write_text(json.dumps({"pid": 1, "created": 2.0}))
    status = run.status()
    assert (status.state, status.phase, status.at_chance, status.started) == ("done", "bundle", ("student",), 5.0)
    assert run.log() == [epoch("student", 3)]
    assert runs.list_runs(run.path.parent) == ([run], [])


def _claim_and_tell(run: Run, ready: int, go: int, tell: int, held: int) -> None:
    """In a forked process: claim once `go` is closed, tell how it went, and hold on until `held` is closed."""
    os.write(ready, b".")
    os.read(go, 1)
    try:
        with run.claim(resume=True):
            os.write(tell, b"1")
            os.read(held, 1)
    except RunError:
        os.write(tell, b"0")


@pytest.mark.slow
def test_of_two_processes_that_claim_a_run_at_the_same_moment_one_wins(tmp_path: Path) -> None:
    """On 36 of 60 tries both did, before a lock was held."""
    for number in range(60):
        run = runs.create(RECIPE, path=tmp_path / str(number))
        pipes = [os.pipe() for _ in range(4)]
        (ready, ready_end), (go, go_end), (tell, tell_end), (held, held_end) = pipes
        children = []
        for _ in range(2):
            child = os.fork()
            if child == 0:
                try:
                    for end in (go_end, held_end):
                        os.close(end)
                    _claim_and_tell(run, ready_end, go, tell_end, held)
                finally:
                    os._exit(0)
            children.append(child)
        assert len(os.read(ready, 1) + os.read(ready, 1)) == 2
        os.close(go_end)
        told = os.read(tell, 1) + os.read(tell, 1)
        assert run.status().state == "running"
        os.close(held_end)
        for child in children:
            os.waitpid(child, 0)
        for end in (ready, ready_end, go, tell, tell_end, held):
            os.close(end)
        assert sorted(told) == sorted(b"01"), number
        assert not run.live()


def test_who_only_looks_never_keeps_a_process_from_its_run(run: Run) -> None:
    """A page looks whether the lock is held by taking it for a moment."""
    stop = False

    def look() -> None:
        while not stop:
            run.live()
            time.sleep(0.001)

    with ThreadPoolExecutor(2) as pool:
        looks = [pool.submit(look) for _ in range(2)]
        try:
            for _ in range(50):
                with run.claim(resume=True):
                    assert run.live()
        finally:
            stop = True
    assert [one.exception() for one in looks] == [None, None]


@pytest.mark.parametrize("step", [-3600.0, 2.0, 86_400.0])
def test_a_clock_that_is_set_makes_no_run_look_stopped(
    tmp_path: Path, program: Callable[[str], None], monkeypatch: pytest.MonkeyPatch, step: float
) -> None:
    program(SLEEP)
    run = runs.start(RECIPE, tmp_path)
    run.update(state="running")
    now, began = time.time, psutil.Process.create_time
    monkeypatch.setattr(time, "time", lambda: now() + step)
    monkeypatch.setattr(psutil.Process, "create_time", lambda process: began(process) + step)
    assert run.status().state == "running"
    runs.stop(run)
    assert run.status().state == "stopped"


def test_a_process_of_before_the_last_boot_is_not_the_runs(run: Run) -> None:
    recorded = run.recorded()
    assert recorded is not None
    assert recorded.process() is not None
    (run.path / "process.json").write_text(recorded.model_copy(update={"boot": "another boot"}).to_json())
    assert run.status().state == "stopped"
    (run.path / "process.json").write_text(recorded.model_copy(update={"ticks": recorded.ticks + 1}).to_json())
    assert run.status().state == "stopped"


def test_a_run_of_an_older_version_that_is_at_work_is_left_to_it(run: Run) -> None:
    with subprocess.Popen([sys.executable, "-c", SLEEP]) as older:
        record = {"pid": older.pid, "created": psutil.Process(older.pid).create_time()}
        (run.path / "process.json").write_text(json.dumps(record))
        (run.path / ".lock").unlink()
        run.update(state="running")
        assert run.status().state == "running"
        with pytest.raises(RunError, match="another process"), run.claim(resume=True):
            pass
        runs.stop(run)
        assert not psutil.pid_exists(older.pid)
    assert run.status().state == "stopped"


def test_a_run_at_work_where_its_process_cannot_be_seen_is_not_stopped_from_here(run: Run) -> None:
    with run.claim():
        (run.path / "process.json").unlink()
        assert run.status().state == "running"
        with pytest.raises(RunError, match="stop it where it began"):
            runs.stop(run)


def test_a_run_that_another_process_is_about_to_begin_is_not_taken(run: Run) -> None:
    with subprocess.Popen([sys.executable, "-c", SLEEP]) as other:
        run.record(other.pid, Path("."))
        with pytest.raises(RunError, match="already there"):
            runs.create(RECIPE.changed(train=RECIPE.train.changed(seed=9)), path=run.path)
        other.kill()
    assert read_recipe(run.recipe) == RECIPE


DEEP = b"[" * 100_000
ODD = {
    "a state that nobody knows": b'{"state": "walking"}',
    "a start beyond all time": b'{"state": "done", "started": 1e300}',
    "a start before all time": b'{"state": "done", "started": -1}',
    "no number": b'{"state": "done", "started": NaN}',
    "400 digits": b'{"state": "done", "epoch": ' + b"9" * 400 + b"}",
    "5000 digits": b'{"state": "done", "epoch": ' + b"9" * 5000 + b"}",
    "a list": b"[1, 2]",
    "lists without end": DEEP,
    "mappings without end": b'{"a":' * 100_000,
    "a list for a word": b'{"state": ["done"]}',
    "no text": b'\xff\xfe{"state": "done"}',
    "half of a character": '{"state": "done", "message": "é'.encode()[:-1],
    "nothing": b"",
    "NUL": b"\0" * 1000,
    "100 MB": b" " * 100_000_000,
}


@pytest.mark.parametrize("content", ODD.values(), ids=ODD)
def test_a_run_with_an_odd_status_is_not_listed_and_the_others_are(run: Run, content: bytes) -> None:
    odd = runs.create(RECIPE, path=run.path.parent / "odd")
    (odd.path / "status.json").write_bytes(content)
    listed, broken = runs.list_runs(run.path.parent)
    assert listed == [run]
    (why,) = broken
    assert why.startswith("odd is not listed, because ")
    assert "status.json" in why
    assert len(why) < 600
    for ask in (odd.status, lambda: runs.resume(odd), lambda: runs.stop(odd), lambda: runs.delete(odd)):
        with pytest.raises(RunError, match="is not a run"):
            ask()


@pytest.mark.parametrize("name", ["status.json", "log.jsonl", "process.json", "recipe.toml", "output.log", "start.txt"])
@pytest.mark.parametrize("kind", ["folder", "pipe", "link to itself", "link to a device"])
def test_what_is_no_file_is_neither_waited_for_nor_read(run: Run, name: str, kind: str) -> None:
    place = run.path / name
    place.unlink(missing_ok=True)
    {
        "folder": lambda: place.mkdir(),
        "pipe": lambda: os.mkfifo(place),
        "link to itself": lambda: place.symlink_to(place),
        "link to a device": lambda: place.symlink_to("/dev/zero"),
    }[kind]()
    listed, broken = runs.list_runs(run.path.parent)
    assert len(listed) + len(broken) <= 1
    if listed:
        run.status()
    assert run.log() == []
    assert run.teacher_start() is None
    run.last_words()
    with pytest.raises((RunError, ValueError)) if name == "recipe.toml" else contextlib.nullcontext():
        run.read_recipe()


@pytest.mark.parametrize("content", ODD.values(), ids=ODD)
def test_odd_lines_of_a_log_are_left_out(run: Run, content: bytes) -> None:
    log = run.path / "log.jsonl"
    run.append(epoch("student", 1))
    log.write_bytes(log.read_bytes() + content + b"\n" + epoch("student", 2).to_json().encode() + b"\n")
    assert [record.epoch for record in run.log()] in ([1, 2], [])  # nothing of one that is larger than any log
    run.append(epoch("student", 3))
    assert run.log()[-1:] in ([epoch("student", 3)], [])


@pytest.mark.parametrize("content", ODD.values(), ids=ODD)
@pytest.mark.parametrize("name", ["process.json", "start.txt", "recipe.toml"])
def test_odd_records_beside_a_status_cost_nobody_anything(run: Run, name: str, content: bytes) -> None:
    (run.path / name).write_bytes(content)
    assert runs.list_runs(run.path.parent)[0] == [run]
    assert run.status().state in ("queued", "stopped")
    run.teacher_start()
    if name == "recipe.toml":
        with pytest.raises(ValueError, match=r"recipe|TOML|modality|data"):
            run.read_recipe()


def test_words_of_any_length_and_kind_are_kept_as_far_as_they_can_be_shown(run: Run) -> None:
    run.update(state="failed", message="No file \udcff " + "x" * 10**6)
    assert run.status().message.startswith("No file ? xxx")
    assert len(run.status().message) == 4000


def test_a_torn_end_of_any_length_is_cut_off(run: Run) -> None:
    run.append(epoch("student", 1))
    with (run.path / "log.jsonl").open("ab") as log:
        log.write(b"\0" * 300_000)
    run.append(epoch("student", 2))
    assert run.log() == [epoch("student", 1), epoch("student", 2)]
    assert (run.path / "log.jsonl").stat().st_size < 1000


def test_the_last_words_of_an_endless_output_are_found_without_reading_it(run: Run) -> None:
    with run.output.open("wb") as output:
        output.truncate(2**34)
        output.seek(0, os.SEEK_END)
        output.write(b"\nThe data folder is gone.\n")
    assert run.last_words() == "The data folder is gone."
