"""The bundles on this machine, the ones that fit a scan first. Cards are read and checked here; models never are."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path

import streamlit as st

from kdlight import bundle as bundles
from kdlight.bundle import Bundle, BundleError
from kdlight.ui import widgets, words

OTHER = " (other)"
"""Behind the name of a bundle that is made for another modality."""
FITS = 26
"""Letters of a name that a picker in the sidebar has room for; a longer one is written out below."""


def all_bundles() -> list[Bundle]:
    """Every bundle whose checksums hold, shipped ones first."""
    return [bundle for bundle in map(opened, bundles.find()) if bundle is not None]


def opened(path: Path) -> Bundle | None:
    """A bundle in the library or elsewhere, such as in a run's folder; None where none is that can be trusted."""
    bundle = _opened(path)
    return bundle if isinstance(bundle, Bundle) else None


def broken() -> dict[Path, BundleError]:
    """The folders of bundles that are not trusted, with the reason."""
    refused = {path: _opened(path) for path in bundles.find()}
    return {path: reason for path, reason in refused.items() if isinstance(reason, BundleError)}


def fits(bundle: Bundle, modality: str | None) -> bool:
    return modality in bundle.card.modalities


def choose(modality: str | None) -> Bundle | None:
    """A picker with the fitting bundles first; None where this machine has no bundle at all."""
    listed = sorted(all_bundles(), key=lambda bundle: not fits(bundle, modality))
    bundle = _pick(_entry(modality), listed, lambda b: b.card.name + ("" if fits(b, modality) else OTHER))
    if bundle is None:
        return None
    if fits(bundle, modality):
        written_out(bundle.card.name)
    else:
        st.caption(f"{words.plain(bundle.card.name)}: made for another modality.")
    with st.popover("Card", type="tertiary", icon=":material/description:"):
        st.markdown(f"**{words.plain(bundle.card.name)}**")
        st.markdown(words.plain(bundle.card.intended_use))
        bullets(bundle.card.limits)
    return bundle


def written_out(name: str) -> None:
    """Below a picker, the whole of a name that it has no room for."""
    if len(name) > FITS:
        st.caption(words.plain(name))


def prefer(bundle: Bundle, modality: str | None) -> None:
    """Have `choose` begin with this bundle the next time that it is drawn for the modality."""
    st.session_state[_entry(modality)] = str(bundle.path)


def _entry(modality: str | None) -> str:
    return f"bundle for {modality}"


def pick() -> Bundle | None:
    """A picker over all bundles, by itself; the choice is shared by the pages and outlives them."""
    return _pick("bundle", all_bundles(), lambda bundle: bundle.card.name)


def _pick(entry: str, listed: list[Bundle], name: Callable[[Bundle], str]) -> Bundle | None:
    if not listed:
        st.info("No bundle is on this machine yet. Train one, or import one in the Library.")
        return None
    paths = {str(bundle.path): bundle for bundle in listed}
    first = next(iter(paths))
    return paths[widgets.select("Bundle", entry, list(paths), first, format_func=lambda path: name(paths[path]))]


def is_shipped(bundle: Bundle) -> bool:
    return bundles.is_shipped(bundle.path)


def bullets(lines: Iterable[str]) -> None:
    st.markdown("\n".join(f"- {words.plain(line)}" for line in lines))


def _opened(path: Path) -> Bundle | BundleError:
    """A bundle, or why not. Kept for as long as no file of it changes its size or time of change."""
    try:
        with bundles.guarded(path):
            stats = [(path / name).stat() for name in (*bundles.files(path), bundles.SUMS)]
            return _open(os.fsencode(path), tuple((stat.st_mtime_ns, stat.st_size) for stat in stats))
    except BundleError as error:
        return error


@st.cache_resource(show_spinner=False, max_entries=64)
def _open(path: bytes, stamps: tuple[tuple[int, int], ...]) -> Bundle | BundleError:
    try:
        return bundles.load(os.fsdecode(path))
    except BundleError as error:
        return error
