"""Whether a network's published weights can be had on this machine now: known within seconds, before any download.

The hub's own client asks again and again for about a minute where there is no network. Here one file is looked for in
its cache, and if it is not there one request of a bounded time says whether it could be fetched.
"""

from __future__ import annotations

import threading
import urllib.request
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

import timm
import torch
from huggingface_hub import constants, get_hf_file_metadata, hf_hub_url, try_to_load_from_cache

from kdlight.models.registry import published_networks

ANSWER = 2.5
"""Seconds in which a server must answer; ours."""
FILES = ("model.safetensors", "pytorch_model.bin")
"""What timm's repositories on the hub hold, the better first."""


@cache
def lacking(name: str) -> str | None:
    """Why the published weights of a network cannot be had now, as a clause for people; None where they can.

    Takes less than 3 s, whatever the network connection does; asked once for each network in a process.
    """
    wanted = published_networks(name)
    configs = _configs(wanted)
    if not wanted or len(configs) < len(wanted):
        return f"no weights are published for {name}"
    missing = [config for config in configs if not _cached(config)]
    if not missing:
        return None
    if constants.is_offline_mode():
        return "its published weights are not on this machine, and HF_HUB_OFFLINE forbids downloading them"
    if not _within(ANSWER, lambda: all(_answers(config) for config in missing)):
        return "its published weights are not on this machine, and the server that has them cannot be reached"
    return None


def licenses(name: str) -> tuple[str, ...]:
    """Under which licenses timm publishes the weights of a network, each once; empty where it does not say."""
    return tuple(dict.fromkeys(str(config.license) for config in _configs(published_networks(name)) if config.license))


def commercial(name: str) -> bool:
    """Whether commercial use of a network's published weights is not excluded by the ids of their licenses."""
    return not any("nc" in license_id.lower().split("-") for license_id in licenses(name))


def _configs(names: Sequence[str]) -> list[timm.models.PretrainedCfg]:
    """What timm knows of the published weights of its networks; those without any are left out."""
    configs = [timm.get_pretrained_cfg(name) for name in names]
    return [config for config in configs if config is not None and config.has_weights]


def _cached(config: timm.models.PretrainedCfg) -> bool:
    repository, revision = _repository(config)
    if not repository:
        return (
            config.url is not None
            and (Path(torch.hub.get_dir()) / "checkpoints" / Path(str(config.url)).name).is_file()
        )
    names = (config.hf_hub_filename,) if config.hf_hub_filename else FILES
    return any(isinstance(try_to_load_from_cache(repository, name, revision=revision), str) for name in names)


def _answers(config: timm.models.PretrainedCfg) -> bool:
    """Whether the server that has the file answers for it."""
    repository, revision = _repository(config)
    try:
        if not repository:
            request = urllib.request.Request(str(config.url), method="HEAD")
            with urllib.request.urlopen(request, timeout=ANSWER):
                return True
        name = config.hf_hub_filename or FILES[0]
        get_hf_file_metadata(hf_hub_url(repository, name, revision=revision), timeout=ANSWER, token=False)
    except Exception:  # noqa: BLE001  proxies, names, certificates, portals: each of them means, not available here
        return False
    return True


def _repository(config: timm.models.PretrainedCfg) -> tuple[str, str | None]:
    """Of a network on the hub its repository and revision; an empty name for one that is elsewhere."""
    name, _, revision = str(config.hf_hub_id or "").partition("@")
    return name, revision or None


def _within(seconds: float, question: Callable[[], bool]) -> bool:
    """The answer to a question, False where it takes longer: looking up a name has no time limit of its own."""
    answers: list[bool] = []
    asked = threading.Thread(target=lambda: answers.append(question()), daemon=True, name="are weights published")
    asked.start()
    asked.join(seconds)
    return bool(answers and answers[0])
