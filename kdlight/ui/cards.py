"""A bundle's card as a tile, and in plain words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import streamlit as st

from kdlight import bundle as bundles
from kdlight.anatomy import BODY_PARTS
from kdlight.bundle import Bundle
from kdlight.modality import MODALITIES
from kdlight.reading import ROLES
from kdlight.ui import caveats, comparison, gains, shelf, store, waiting, words, work
from kdlight.ui.starting_weights import INITS

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


def tile(bundle: Bundle) -> str:
    """The card in a glance, as HTML: name, modality, classes, both accuracies, size, what teaching gave, license."""
    card = bundle.card
    rows = []
    for role in ROLES:
        figure = card.metrics.get(role, {}).get("balanced_accuracy")
        size = words.megabytes(getattr(card, role)["bytes"])
        said = words.interval(figure) if figure else "not measured"
        rows.append(f'<dt class="{role}">{role.capitalize()}</dt><dd>{said} <small>· {size}</small></dd>')
    names = words.listed([words.safe(c["words"]) for c in card.classes])
    origin = "shipped" if shelf.is_shipped(bundle) else "yours"
    return (
        f'<div class="kd-tile"><h3>{words.safe(card.name)}</h3>'
        f'<div class="kd-sub">{_modality(card.modality)} · {origin} · {words.safe(card.created)}</div>'
        f'{caveats.html(card)}<dl class="kd-facts-list">'
        f"{''.join(rows)}<dt>Classes</dt><dd>{names}</dd>"
        f"<dt>Tested on</dt><dd>{words.safe(card.metrics.get('n', '?'))} images, balanced accuracy</dd>"
        f"<dt>Gain</dt><dd>{gains.html(bundle)}</dd>"
        f"<dt>License</dt><dd>{words.safe(license_of_weights(card.licence))} <small>· weights</small></dd></dl></div>"
    )


def license_of_weights(said: str) -> str:
    """The short name of the weights' own license, which a card puts first; the card's page has the whole text."""
    return said.partition(" for the weights")[0].partition(" (")[0]


def whole(bundle: Bundle) -> None:
    """Everything the card says, in words, and what can be done with the bundle."""
    card = bundle.card
    st.html(f'<div class="kd-line">{words.safe(card.intended_use)}</div>')
    for said in caveats.of(card):
        (st.error if card.at_chance else st.warning)(said)
    comparison.table(bundle, card.metrics)
    st.html(f'<div class="kd-line">{words.safe(gains.sentence(bundle))}</div>')
    left, right = st.columns(2, gap="large")
    with left:
        st.markdown("**Limits**")
        shelf.bullets(card.limits)
        st.markdown("**Reads**")
        shelf.bullets(_covered(card.eligibility, card.modality))
        st.markdown("**Data**")
        shelf.bullets(_data(card.data))
    with right:
        st.markdown("**How it was made**")
        shelf.bullets(_making(bundle))
        st.markdown("**License**")
        st.markdown(words.plain(card.licence))
    st.markdown("**Files**")
    st.dataframe(files(bundle), hide_index=True, width="stretch")
    actions(bundle)


def files(bundle: Bundle) -> list[dict[str, Any]]:
    """Every file with its size and its checksum as found now."""
    return [
        {
            "file": name,
            "size": words.megabytes((bundle.path / name).stat().st_size),
            "sha256": bundles.digest(bundle.path / name),
        }
        for name in bundles.files(bundle.path)
    ]


def actions(bundle: Bundle) -> None:
    """Verify, download, delete."""
    row = st.container(horizontal=True)
    name = f"verify {bundle.sha256}"
    if row.button("Verify", icon=":material/verified:"):
        waiting.send(name, work.workers().submit("verify", bundle.path))
    row.download_button(
        "Download", lambda: store.pack(bundle), f"{bundle.card.id}.zip", "application/zip", icon=":material/download:"
    )
    if not shelf.is_shipped(bundle) and row.button("Delete", icon=":material/delete:"):
        confirm_delete(bundle)
    found = waiting.result(name)
    if found is not None:
        _verified(found)


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
    except (ValueError, OSError) as error:
        st.session_state["refused"] = words.sentence(error)


def _verified(found: dict[str, Any]) -> None:
    parity = f"{found['onnx_torch_difference']:.1g}"
    if found["ok"]:
        st.success(
            f"Every checksum is right, and both models answer their {found['cases']} golden cases as before "
            f"(student on ONNX Runtime against torch: {parity} in probability).",
            icon=":material/verified:",
        )
    else:
        st.error(
            "The golden cases came out differently on this machine. Get the bundle again.", icon=":material/error:"
        )


def _modality(name: str) -> str:
    return MODALITIES[name].words if name in MODALITIES else words.safe(name)


def _data(data: dict[str, Any]) -> list[str]:
    counts = [f"{split}: {sum(c.values())} images" for split, c in data.get("counts", {}).items()]
    named = {"Source": "source", "License of the data": "licence", "Kept together": "group_key"}
    left_out = [f"{row['count']} {LEFT_OUT.get(row['reason'], 'other files')}" for row in data.get("left_out", [])]
    lines = [f"{title}: {data[key]}" for title, key in named.items() if data.get(key)] + counts
    return [*lines, *([f"Left out: {', '.join(left_out)}"] if left_out else [])]


def _covered(eligibility: Mapping[str, Any], modality: str) -> list[str]:
    """The modalities, body parts and views that are read without asking; where a card names none, any are."""
    parts, views = eligibility.get("body_parts") or (), eligibility.get("views") or ()
    modalities = words.listed([_modality(name) for name in eligibility.get("modalities") or (modality,)])
    return [
        f"Modality: {modalities}",
        f"Body part: {words.listed([_part(name) for name in parts]) if parts else 'any'}",
        f"View: {words.listed([str(view) for view in views]) if views else 'any'}",
    ]


def _part(name: str) -> str:
    return BODY_PARTS[name].words if name in BODY_PARTS else str(name)


def _lower(said: str) -> str:
    return f"{said[:1].lower()}{said[1:]}"


def _making(bundle: Bundle) -> list[str]:
    card = bundle.card
    made = card.distillation
    knobs = ", ".join(f"{name} {value}" for name, value in made.get("options", {}).items())
    lines = [
        f"{role.capitalize()}: {words.architecture(part['architecture'])}, "
        f"{words.millions(part['parameters'])} parameters, {words.millions(part['macs'])} multiply-adds"
        for role, part in (("teacher", card.teacher), ("student", card.student))
    ]
    lines.append(f"Method: {made.get('method', 'not stated')}{f' ({knobs})' if knobs else ''}")
    if card.origin is not None:
        lines.append(f"Teacher started from: {card.origin.words}")
    if made.get("init"):
        lines.append(f"Student started from: {_lower(INITS.get(made['init'], made['init']))}")
    lines.append(f"Input: {card.input['size']} x {card.input['size']} px")
    lines.append(", ".join(f"{name} {version}" for name, version in card.versions.items()) or "Versions not stated")
    return lines
