"""The document of a record: its verdict, each line, and the digests that bind it, in the PDF as well."""

from __future__ import annotations

import pytest

from kdlight.bundle import Bundle
from kdlight.contracts.bar import Bar
from kdlight.reports.acceptance import VERDICTS, document
from kdlight.reports.markdown import markdown
from kdlight.reports.pdf import pdf
from kdlight.trust.acceptance import held_against
from kdlight.trust.monitoring import looked, verdict_of, watches
from tests.reports.test_pdf import close, read
from tests.trust.test_acceptance import case
from tests.trust.test_monitoring import BAR, batch, record


def test_the_report_is_bound_to_its_record(tiny_bundle: Bundle) -> None:
    cases = [case(i, "malignant", "malignant" if i else None) for i in range(30)]
    lines = held_against(cases, BAR, tiny_bundle.card)
    found = record(cases=cases, lines=lines, verdict=verdict_of(lines), before=None)
    told = document(found, tiny_bundle.words)
    text = read(pdf(told))
    for part in (found.sha256, found.bundle_sha256, found.bar_sha256, VERDICTS["undecided"]):
        assert close(part) in text
    assert "1 of them were withheld by the bundle" in markdown(told)
    (table,) = (block for block in told.sections[1].blocks if hasattr(block, "rows"))
    assert table.rows[0][:5] == (
        "sensitivity, student: Malignant",
        "at least 0.9",
        "1.000 [0.902, 1.000], n = 29",  # 0.05^(1/29) = 0.9018
        "1",
        "pass",
    )
    assert table.rows[1][0] == "answered: all cases"
    assert table.rows[1][-1].endswith(" more")


@pytest.mark.parametrize(("missed", "verdict"), [(0, "go on"), (20, "stop")])
def test_a_later_look_says_how_much_speaks_against_going_on(tiny_bundle: Bundle, missed: int, verdict: str) -> None:
    cases = batch(0, 40, missed)
    after = looked(watches(BAR, tiny_bundle.card), 0, cases, BAR)
    found = record(cases=cases, watches=after, looks=1, verdict=verdict, before="2" * 64, began="rejected")
    text = markdown(document(found))
    assert "This pair was never accepted: the first record says rejected" in text
    assert VERDICTS[found.verdict] in text
    assert "sensitivity, student: malignant | at least 0.9 | 40 | " in text
    assert "| 40 |\n" in text.replace("\\", "")
    assert "The record before it: sha256 " + "2" * 64 in text


def test_a_calibration_is_told_by_its_gap(tiny_bundle: Bundle) -> None:
    bar = Bar(calibration=0.1, difference={"all": 0.05})
    lines = held_against([case(i, "benign", "benign") for i in range(200)], bar, tiny_bundle.card)
    told = document(record(bar=bar, lines=lines, verdict=verdict_of(lines)))
    text = markdown(told).replace("\\", "")
    assert "calibration, student: all cases | gap at most 0.1 | 0.100 [" in text
    assert "difference: all cases | loss at most 0.05 | 0.000 [" in text
