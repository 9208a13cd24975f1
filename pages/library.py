"""Library: every bundle on this machine, its whole card, and what can be done with it."""

import streamlit as st

from kdlight.ui import navigation, sessions, shelf, theme, waiting, words
from kdlight.ui.library import cards, store
from kdlight.ui.markup import put

PER_ROW = 3

navigation.enter()
theme.heading("Library", "Trained pairs on this machine, and what is known about them.")
listed = shelf.all_bundles()
opened = next((b for b in listed if b.sha256 == st.query_params.get("bundle")), None)

if opened is not None:
    if st.button("All bundles", icon=":material/arrow_back:", type="tertiary"):
        st.query_params.clear()
        st.rerun()
    st.subheader(words.plain(opened.card.name), anchor=False)
    cards.whole(opened)
    st.stop()

with st.sidebar:
    turn = st.session_state.setdefault("import", 0)
    packed = st.file_uploader("Import a bundle", type="zip", key=f"import-{turn}", help="A zip made by Download.")
    if packed is not None:
        try:
            with st.spinner("Checking every byte, and asking both models their golden cases"):
                added = store.unpack(packed.getvalue())
            st.session_state["imported"] = f"{added.name} is in your library."
        except ValueError as error:
            st.session_state["refused"] = f"The bundle was refused. {words.sentence(error)}"
        sessions.let_go()
        st.session_state["import"] = turn + 1
        st.rerun()
    for entry, show in (("imported", st.success), ("refused", st.error)):
        if notice := st.session_state.pop(entry, None):
            show(words.plain(notice))

for path, reason in shelf.broken().items():
    st.error(f"{words.plain(path.name)} is not listed. {words.plain(words.sentence(reason))}", icon=":material/report:")
for refusal in waiting.workers().strikes.disabled.values():
    st.warning(words.plain(words.sentence(refusal)), icon=":material/block:")
if not listed:
    st.info("No bundle is on this machine yet. Train one, or import one on the left.")
for start in range(0, len(listed), PER_ROW):
    for column, bundle in zip(st.columns(PER_ROW, gap="medium"), listed[start : start + PER_ROW], strict=False):
        with column.container(border=True, height="stretch", vertical_alignment="distribute"):
            put(cards.tile(bundle))
            if st.button("Open the card", key=f"open {bundle.path}"):
                st.query_params["bundle"] = bundle.sha256
                st.rerun()
