"""A bundle's card as a tile, and in plain words."""

from __future__ import annotations

import json
from functools import partial

import streamlit as st

from kdlight import bundle as bundles
from kdlight.bundle import Bundle, signature
from kdlight.contracts.modality import MODALITIES
from kdlight.contracts.reading import ROLES
from kdlight.reports import card as cards
from kdlight.reports.applied import applied
from kdlight.reports.markdown import markdown
from kdlight.ui import documents, pair, shelf, theme, waiting, words
from kdlight.ui.library import store
from kdlight.ui.markup import Markup, joined, write
from kdlight.workers import Verification, Verify


def tile(bundle: Bundle) -> Markup:
    """The card in a glance, as HTML: name, modality, classes, both accuracies, size, what teaching gave, license."""
    card = bundle.card
    rows = []
    for role in ROLES:
        accuracy = words.interval(card.metrics.of(role).balanced_accuracy)
        size = words.megabytes(card.network(role).bytes)
        rows.append(
            write('<dt class="{0}">{1}</dt><dd>{2} <small>· {3}</small></dd>', role, role.capitalize(), accuracy, size)
        )
    return write(
        '<div class="kd-tile"><h3>{name}</h3><div class="kd-sub">{modality} · {origin} · {created}</div>{caveats}'
        '<dl class="kd-facts-list">{rows}<dt>Classes</dt><dd>{classes}</dd>'
        "<dt>Tested on</dt><dd>{tested} images, balanced accuracy</dd><dt>Gain</dt><dd>{gain}</dd>"
        "<dt>License</dt><dd>{license} <small>· weights</small></dd></dl></div>",
        name=card.name,
        modality=MODALITIES[card.modality].words,
        origin="shipped" if shelf.is_shipped(bundle) else "yours",
        created=card.created,
        caveats=pair.caveats_html(card),
        rows=joined(rows),
        classes=words.listed([entry.words for entry in card.classes]),
        tested=card.metrics.n,
        gain=pair.gain_html(card),
        license=card.licenses.weights,
    )


def whole(bundle: Bundle) -> None:
    """Everything the card says, in words, and what can be done with the bundle."""
    documents.draw(cards.sections(bundle.card))
    st.subheader("Files", anchor=False)
    theme.line(_signature(bundle))
    files = {name: bundle.path / name for name in bundles.files(bundle.path)}
    rows = [
        {"file": name, "size": words.megabytes(path.stat().st_size), "sha256": bundles.digest(path)}
        for name, path in files.items()
    ]
    st.dataframe(rows, hide_index=True, width="stretch")
    actions(bundle)


def actions(bundle: Bundle) -> None:
    """Verify, download, delete."""
    row = st.container(horizontal=True)
    name = f"verify {bundle.sha256}"
    if row.button("Verify", icon=":material/verified:"):
        waiting.begin(name, Verify(bundle.path))
    row.download_button(
        "Download", lambda: store.pack(bundle), f"{bundle.card.id}.zip", "application/zip", icon=":material/download:"
    )
    with row.popover("Card", icon=":material/description:"):
        for label, written, kind in CARDS:
            st.download_button(label, partial(written, bundle), f"{bundle.card.id}-card.{kind}", key=f"card {kind}")
    if not shelf.is_shipped(bundle) and row.button("Delete", icon=":material/delete:"):
        confirm_delete(bundle)
    result = waiting.result(name)
    if result is not None:
        _verified(result)


@st.dialog("Delete this bundle?")
def confirm_delete(bundle: Bundle) -> None:
    """Asks before anything is gone."""
    st.markdown(
        f"**{words.plain(bundle.card.name)}** is deleted from your library on this machine. This cannot be undone."
    )
    if st.button("Delete it", type="primary", on_click=_remove, args=[bundle]):
        st.rerun()


def _remove(bundle: Bundle) -> None:
    try:
        store.remove(bundle)
        waiting.workers().strikes.clear(bundle.path)
    except (ValueError, OSError) as error:
        st.session_state["refused"] = words.sentence(error)


def _pdf(bundle: Bundle) -> bytes:
    from kdlight.reports.pdf import pdf

    return pdf(cards.document(bundle.card))


def _markdown(bundle: Bundle) -> str:
    return markdown(cards.document(bundle.card))


def _applied(bundle: Bundle) -> str:
    return json.dumps(applied(bundle.card).to_json(), ensure_ascii=False, indent=1)


CARDS = (("PDF", _pdf, "pdf"), ("Markdown", _markdown, "md"), ("For programs (JSON)", _applied, "json"))
"""What a card can be taken away as: its name, what writes it, the ending of its file."""


def _signature(bundle: Bundle) -> str:
    """Who vouches for these files."""
    try:
        said = signature.look(bundle).words
    except (ValueError, OSError) as error:
        return words.sentence(error)
    return f"{said[:1].upper()}{said[1:]}."


def _verified(result: Verification) -> None:
    if not result.ok:
        st.error(words.plain(f"{result.fault} Get the bundle again."), icon=":material/error:")
        return
    if not result.bound:
        st.warning("Its golden cases bind nothing: the bundle was made before they did.")
    st.success(
        f"Every checksum is right, and both models answer their {result.cases} golden cases as before "
        f"(student on ONNX Runtime against torch: {result.onnx_torch_difference:.1g} in probability).",
        icon=":material/verified:",
    )
