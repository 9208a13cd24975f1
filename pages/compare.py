"""Compare: one bundle's two models on labeled images; or the studies, which say what a teacher gave."""

import streamlit as st

from kdlight.reports.card import details, older
from kdlight.reports.pair import caveats, gain_sentence
from kdlight.ui import documents, navigation, pair, places, shelf, theme, waiting, widgets, words
from kdlight.ui.compare import acceptance, confusion, look_alike, measurement, shortcuts, studies, trust
from kdlight.ui.markup import write
from kdlight.workers.requests import Comparison

navigation.enter()
with st.sidebar:
    view = widgets.segment("Show", "compare view", ("One pair", "Studies", "Accept"), width="stretch")
if view == "Studies":
    studies.draw()
    st.stop()
if view == "Accept":
    acceptance.draw()
    st.stop()

with st.sidebar:
    bundle = shelf.pick()
    if bundle is not None:
        data = places.field(
            "Labeled images on this machine",
            "compare folder",
            placeholder="/path/to/folder, .npz or .csv",
            help="<split>/<class>/<file> or <class>/<file>; the test split is used where there is one. "
            "Leave it empty for the test recorded in the card.",
        )
        masks = places.field(
            "Outlines (optional)",
            "compare outlines",
            placeholder="/path/to/masks",
            help="A folder of masks with the names of the images, to hold the heat maps against. Masks that lie beside "
            "the images, as in BUSI, are found without it.",
        )
        if data is not None and masks is not None:
            measurement.offer(bundle, data, masks)

theme.heading("Compare", "What the student kept of its teacher, and what it lost.")
if bundle is None:
    st.stop()

measured = waiting.result(measurement.job(bundle)) or Comparison()
evaluation = measured.evaluation
metrics = evaluation.metrics if evaluation else bundle.card.metrics  # never one set's beside another's
timed = measured.speed or bundle.card.metrics.latency
theme.line(f"{measurement.source(bundle, metrics, evaluation is not None)} {words.PRECISION}")
if measured.busy:
    st.info(words.plain(measured.busy), icon=":material/timer_off:")

for caveat in caveats(bundle.card):
    theme.line(write("<b>{}</b>", caveat))
pair.table(bundle, metrics, timed)
if evaluation is not None:
    measurement.drift(evaluation)
if evaluation is None:
    theme.line(gain_sentence(bundle.card))
    documents.draw([*details(bundle.card), *older(bundle.card, folded=True)], heads=False)
if timed is not None:
    measurement.speed(timed, here=measured.speed is not None)
    measurement.trade(bundle, metrics, timed)
if evaluation is not None:
    measurement.outlines(bundle, evaluation)
    measurement.curves(bundle, evaluation)
if metrics.teacher.confusion:
    confusion.draw(bundle, metrics)
trust.draw(bundle, metrics)
shortcuts.draw(bundle, metrics.shortcuts)
look_alike.draw(bundle, metrics.look_alike, evaluation.looks if evaluation else ())
if evaluation is not None:
    measurement.flips(bundle, evaluation)
else:
    st.info(
        "ROC, reliability and the list of differing images need the images: "
        "name a labeled folder on the left, or leave it empty to measure the time only."
    )
