"""Read around its result: the line over the panes, nothing yet, refused, not covered, working, broken down."""

from __future__ import annotations

import streamlit as st

from kdlight import images
from kdlight.bundle import Bundle
from kdlight.contracts.modality import MODALITIES
from kdlight.explain import EXPLAINERS
from kdlight.images import Image, ImageError, Kind, Sample
from kdlight.ui import theme, words
from kdlight.ui.markup import put, write
from kdlight.ui.read import controls, readings, scans
from kdlight.ui.read.controls import Settings
from kdlight.ui.read.readings import Question
from kdlight.ui.read.scans import Scan

TILE = 120
"""Width of a sample in pixels."""
READABLE = "DICOM (also compressed), PNG, JPEG, TIFF, BMP and WebP up to 64 MB are read."

TALKATIVE = ("ultrasound", "endoscopy", None)
"""Modalities whose devices write into the picture; None: the file does not say what it is."""
SIDES = {"L": "left", "R": "right", "B": "both sides"}
"""Lateralities in words; U, of what is there once, says nothing."""
TILES = {
    Kind.SUITED: "A scan that a bundle is made for",
    Kind.PHANTOM: "Phantoms, drawn by arithmetic: they show how the page works, and no answer to them means anything",
    Kind.UNSUITED: "See it refuse: scans that no bundle is made for",
}


def nothing_yet() -> None:
    """The first thing a visitor sees: what this is, samples to try, and what becomes of a file."""
    put(
        write(
            '<div class="kd-hello"><h2>One scan, two opinions</h2>'
            "<p>A large model, the teacher, and a small one, its student, read the same picture side by side: "
            "see what the small one kept and what it lost. "
            "Drop a DICOM, PNG, JPEG or TIFF on the left, or try one of these.</p></div>"
        )
    )
    every = images.samples()
    with st.container(key="kd_samples"):
        for kind, title in TILES.items():
            _tiles(title, [sample for sample in every if sample.kind is kind])
    theme.line(
        "A file stays in this session's memory and is gone when you clear it or close the page. "
        "Names, identifiers and dates are dropped while it is read; nothing is written to disk or sent elsewhere."
    )


def _tiles(title: str, samples: list[Sample]) -> None:
    """Samples of one kind, picture and name, in a row or as many rows as the window asks for; a click opens one."""
    if not samples:
        return
    theme.line(title)
    with st.container(horizontal=True, gap="small"):
        for sample in samples:
            tile = st.container(width=TILE, gap="xsmall")
            picture, name = scans.thumbnail(sample.name), sample.name.removesuffix(" phantom")
            put(write('<img class="kd-thumb" src="{}" alt="{}">', picture, sample.words), tile)
            tile.button(name, sample.name, sample.words, on_click=scans.open_sample, args=[sample], width="stretch")


def rejected() -> None:
    """What the drop zone turned away, said beside whatever is on the page."""
    upload = scans.rejected()
    if upload is not None:
        st.error(words.plain(upload.sentence), icon=":material/block:")


def refused(error: ImageError) -> None:
    """A file that was not read: why, and what would work."""
    st.error(f"This file was refused. {words.plain(words.sentence(error))}", icon=":material/block:")
    st.markdown(READABLE)
    st.button("Leave this file out" if len(scans.open_scans()) > 1 else "Clear the file", on_click=scans.close_current)


def choose_first(settings: Settings) -> None:
    """The scan is shown, and nothing is classified until the person has decided."""
    if settings.modality is None:
        st.info("Which modality is this? Choose it on the left; nothing is classified before.", icon=":material/help:")


def ask(question: Question, image: Image, bundle: Bundle) -> None:
    """Put the question to the workers and draw whatever becomes of it; starts the page again with the answer."""
    from kdlight.inference import IneligibleError

    wanted = readings.first(question)
    if readings.declined(wanted):
        stopped(wanted)
        return
    try:
        asked = readings.ask(wanted, image, bundle.path)
        answer = readings.answered(asked)
    except IneligibleError as error:
        not_covered(error.reasons, question)
    except ValueError as error:
        broken_down(error)
    else:
        if answer is not None:
            st.rerun()
        readings.poll(asked)


def stopped(question: Question) -> None:
    """What the person canceled: said, and offered again; a reading that was there before stays."""
    title = "The reading" if question.method is None else EXPLAINERS[question.method].title
    rest = "" if question.method is None else " The reading stands without a map."
    notice, again = st.columns([6, 1], vertical_alignment="center")
    notice.info(f"{words.plain(title)} was stopped.{rest}", icon=":material/cancel:")
    again.button("Start again", on_click=readings.forget, width="stretch")


def not_covered(reasons: tuple[str, ...], question: Question) -> None:
    """The bundle was not made for this file: nothing is classified until the person says so."""
    lines = "\n".join(f"- {words.plain(reason)}" for reason in reasons)
    opening = "This image is not of the kind this bundle knows. Nothing was classified."
    st.warning(f"{opening}\n{lines}", icon=":material/report:")
    st.button("Read anyway", on_click=_confirm, args=[question])


def broken_down(error: ValueError) -> None:
    """A worker died or the queue is full: said plainly, and offered again."""
    st.error(words.plain(words.sentence(error)), icon=":material/error:")
    st.button("Try again", icon=":material/refresh:", on_click=readings.forget)


def _confirm(question: Question) -> None:
    controls.confirmations().add((question.sha256, question.bundle, question.modality))


def scan_line(image: Image, scan: Scan, modality: str | None) -> None:
    """What is on the screen, in one line, with nothing that names a person."""
    parts = [
        MODALITIES[modality].words if modality else "Modality not chosen",
        f"{image.shape[1]} x {image.shape[0]}",
        "color" if image.color else f"{image.bits} bit",
    ]
    if image.frames > 1:
        parts.append(f"frame {image.frame + 1}/{image.frames}")
    if image.spacing and image.spacing_kind != "aspect":
        parts.append(f"{words.number(image.spacing[1])} mm per pixel")
    if image.laterality in SIDES:
        parts.append(SIDES[image.laterality])
    parts += [removal(image), *filter(None, [remaining(image)])]
    caution = f" · {scan.caution}" if scan.caution else ""
    rest = "".join(f" · {part}" for part in parts)
    truth = write(' · <span class="kd-strong">Truth: {}</span>', scan.truth) if scan.truth else ""
    theme.line(write('<span class="kd-strong">{}{}</span>{}{}', scans.title(scan), caution, truth, rest))


def removal(image: Image) -> str:
    """What was left behind of the file, by what it really had."""
    if not image.removed:
        return "nothing to remove"
    if image.format != "dicom":
        return f"{words.listed(image.removed)} removed"
    return "header names removed" if any(k.endswith("Name") for k in image.removed) else "header identifiers removed"


def remaining(image: Image) -> str:
    """What may still name a person in the pixels themselves; empty where nothing points to it."""
    if image.burned_in:
        return "names are burned into the picture and remain"
    if image.burned_in is None and (image.secondary or image.format != "dicom" or image.modality in TALKATIVE):
        return "text in the picture may remain"
    return ""


def label(image: Image, modality: str | None) -> str:
    """The scan for someone who hears the page."""
    kind = MODALITIES[modality].words if modality else "Scan"
    return f"{kind}, {image.shape[1]} by {image.shape[0]} pixels, frame {image.frame + 1} of {image.frames}"
