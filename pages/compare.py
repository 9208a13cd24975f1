"""Compare: one bundle's two models on labeled images; or the studies, which say what a teacher gave."""

import streamlit as st

from kdlight.ui import comparison, confusion, front, kept, shelf, study_view, theme, waiting, words

front.door()
with st.sidebar:
    view = kept.segment("Show", ("One pair", "Studies"), "compare view")
if view == "Studies":
    study_view.draw()
    st.stop()

with st.sidebar:
    bundle = shelf.pick()
    if bundle is not None:
        data = st.text_input(
            "Labeled images on this machine",
            placeholder="/path/to/folder, .npz or .csv",
            help="<split>/<class>/<file> or <class>/<file>; the test split is used where there is one. "
            "Leave it empty for the test recorded in the card.",
        )
        if st.button("Measure", type="primary", icon=":material/play_arrow:", width="stretch"):
            waiting.begin(f"compare {bundle.sha256}", "compare", path=str(bundle.path), data=data.strip() or None)

theme.heading("Compare", "What the student kept of its teacher, on images neither was trained on.")
if bundle is None:
    st.stop()

measured = waiting.result(f"compare {bundle.sha256}") or {}
fresh = "teacher" in measured
figures = measured if fresh else {**bundle.card.metrics, **measured}  # never one set's figures beside another's
if fresh:
    split = words.safe(measured["split"])
    said = f"Measured just now on {measured['n']} images, split {split}. {comparison.seen(measured['split'])}"
else:
    said = words.safe(f"As recorded in the card: {figures.get('n', '?')} images, split {figures.get('split')}.")
st.html(f'<div class="kd-line">{said} {words.PRECISION}</div>')

comparison.table(bundle, figures)
if not fresh:
    st.html(f'<div class="kd-line">{comparison.verdict(figures)}</div>')
comparison.speed(figures)
if "latency" in figures:
    st.subheader("Accuracy against time", anchor=False)
    comparison.trade(bundle, figures)
if fresh:
    comparison.curves(bundle, figures)
if "confusion" in figures.get("teacher", {}):
    confusion.draw(bundle, figures)
if fresh:
    comparison.flips(bundle, figures)
else:
    st.info(
        "ROC, reliability, time per image and the list of differing images need the images: "
        "name a labeled folder on the left, or leave it empty to measure the time only."
    )
