"""Compare: one bundle's two models on labeled images; or the studies, which say what a teacher gave."""

import streamlit as st

from kdlight.ui import caveats, comparison, confusion, gains, kept, navigation, shelf, study_view, theme, waiting, words

navigation.enter()
with st.sidebar:
    view = kept.segment("Show", ("One pair", "Studies"), "compare view")
if view == "Studies":
    study_view.draw()
    st.stop()

with st.sidebar:
    bundle = shelf.pick()
    if bundle is not None:
        data = kept.text(
            "Labeled images on this machine",
            "compare folder",
            placeholder="/path/to/folder, .npz or .csv",
            help="<split>/<class>/<file> or <class>/<file>; the test split is used where there is one. "
            "Leave it empty for the test recorded in the card.",
        ).strip()
        masks = kept.text(
            "Outlines (optional)",
            "compare outlines",
            placeholder="/path/to/masks",
            help="A folder of masks with the names of the images, to hold the heat maps against. Masks that lie beside "
            "the images, as in BUSI, are found without it.",
        ).strip()
        comparison.offer(bundle, data, masks)

theme.heading("Compare", "What the student kept of its teacher, on images neither was trained on.")
if bundle is None:
    st.stop()

measured = waiting.result(comparison.job(bundle)) or {}
fresh = "teacher" in measured
figures = measured if fresh else {**bundle.card.metrics, **measured}  # never one set's figures beside another's
figures = {"latency": bundle.card.metrics.get("latency"), **figures}  # which no set has a part in
st.html(f'<div class="kd-line">{comparison.source(bundle, figures, fresh)} {words.PRECISION}</div>')
if "busy" in measured:
    st.info(words.plain(measured["busy"]), icon=":material/timer_off:")

caveats.draw(bundle.card)
comparison.table(bundle, figures)
if not fresh:
    st.html(f'<div class="kd-line">{words.safe(gains.sentence(bundle))}</div>')
comparison.speed(figures, here="latency" in measured)
comparison.trade(bundle, figures)
if fresh:
    comparison.outlines(bundle, figures)
    comparison.curves(bundle, figures)
if "confusion" in figures.get("teacher", {}):
    confusion.draw(bundle, figures)
if fresh:
    comparison.flips(bundle, figures)
else:
    st.info(
        "ROC, reliability and the list of differing images need the images: "
        "name a labeled folder on the left, or leave it empty to measure the time only."
    )
