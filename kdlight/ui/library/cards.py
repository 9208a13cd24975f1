"""A bundle's card as a tile, and in plain words."""

from __future__ import annotations

import streamlit as st

from kdlight import bundle as bundles
from kdlight.bundle import Bundle, Card, signature
from kdlight.bundle.card import DataDescription
from kdlight.contracts.anatomy import BODY_PARTS
from kdlight.contracts.modality import MODALITIES
from kdlight.contracts.reading import ROLES
from kdlight.ui import figures, pair, shelf, theme, waiting, words
from kdlight.ui.library import store
from kdlight.ui.markup import Markup, joined, write
from kdlight.ui.train.starting_weights import INITS
from kdlight.workers import Verification, Verify

LEFT_OUT = {
    "mask": "masks",
    "mask-without-image": "masks without an image",
    "frames": "further frames of files",
    "system": "system files",
    "dicomdir": "DICOMDIR files",
    "hidden": "hidden files",
    "not-an-image": "files that are no images",
    "not-listed": "images that the manifest does not list",
    "link": "links",
}
"""What of a set's folder a training did not use, by `kdlight.data.dataset.Reason`."""


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
        modality=_modality(card.modality),
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
    card = bundle.card
    theme.line(card.intended_use)
    for caveat in pair.caveats(card):
        (st.error if card.at_chance else st.warning)(caveat)
    pair.table(bundle, card.metrics, card.metrics.latency)
    theme.line(pair.gain_sentence(card))
    figures.draw(card)
    left, right = st.columns(2, gap="large")
    with left:
        st.markdown("**Limits**")
        shelf.bullets(card.limits)
        st.markdown("**Reads**")
        shelf.bullets(_covered(card))
        st.markdown("**Data**")
        shelf.bullets(_data(card.data))
    with right:
        st.markdown("**How it was made**")
        shelf.bullets(_making(bundle))
        st.markdown("**License**")
        licenses = card.licenses
        note = f" ({licenses.weights_note})" if licenses.weights_note else ""
        shelf.bullets(filter(None, [f"Weights: {licenses.weights}{note}", licenses.data and f"Data: {licenses.data}"]))
    st.markdown("**Files**")
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


def _modality(name: str) -> str:
    return MODALITIES[name].words


def _data(data: DataDescription) -> list[str]:
    named = {"Source": data.source, "License of the data": data.license, "Kept together": data.group_key}
    named |= {split: f"{sum(by_class.values())} images" for split, by_class in data.counts.items()}
    named["Left out"] = ", ".join(f"{row.count} {LEFT_OUT.get(row.reason, 'other files')}" for row in data.left_out)
    return [f"{title}: {text}" for title, text in named.items() if text]


def _covered(card: Card) -> list[str]:
    """The modalities, body parts and views that are read without asking; where a card names none, any are."""
    parts, views = card.eligibility.body_parts, card.eligibility.views
    return [
        f"Modality: {words.listed([_modality(name) for name in card.modalities])}",
        f"Body part: {words.listed([BODY_PARTS[name].words for name in parts]) if parts else 'any'}",
        f"View: {words.listed(views) if views else 'any'}",
        *_withheld(card),
    ]


def _withheld(card: Card) -> list[str]:
    """How often images that do not belong are withheld, and the bundle's own; nothing of an older bundle."""
    kinds = card.belonging.kinds if card.belonging else ()
    shares = [f"{one.kind} {one.share.value:.0%} (n = {one.n})" for one in kinds]
    return [f"Withheld as not belonging: {', '.join(shares)}"] if shares else []


def _making(bundle: Bundle) -> list[str]:
    card = bundle.card
    made = card.distillation
    options = ", ".join(f"{name} {value}" for name, value in made.options.items())
    lines = [
        f"{role.capitalize()}: {words.architecture(network.architecture)}, "
        f"{words.millions(network.parameters)} parameters, {words.millions(network.macs)} multiply-adds"
        for role, network in zip(ROLES, map(card.network, ROLES), strict=True)
    ]
    lines.append(f"Method: {made.method}{f' ({options})' if options else ''}")
    if card.origin is not None:
        license_id = f" ({card.origin.license})" if card.origin.license else ""
        lines.append(f"Teacher started from: {card.origin.words}{license_id}")
    if made.init:
        init = INITS.get(made.init, made.init)
        lines.append(f"Student started from: {init[:1].lower()}{init[1:]}")
    lines.append(f"Input: {card.input.size} x {card.input.size} px")
    lines.append(", ".join(f"{name} {version}" for name, version in card.versions.items()) or "Versions not stated")
    return lines
