"""What runs a network: torch for teachers, ONNX Runtime for students as shipped."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np

from kdlight.bundle import Bundle, OverLimitError, guarded
from kdlight.contracts.reading import Role
from kdlight.inference import graphs

if TYPE_CHECKING:
    from torch import Tensor


class Answer(NamedTuple):
    """All that comes out of one pass."""

    logits: np.ndarray
    """(B, K)."""
    maps: np.ndarray | None = None
    """Class maps (B, K, h, w) in logits, of a network that has them."""
    stages: tuple[np.ndarray, ...] = ()
    """Pooled features (B, C) of every stage, where they were asked for (`graphs.tapped`)."""


class Engine(Protocol):
    """A network ready to answer prepared inputs x (B, 3, S, S)."""

    def __call__(self, x: Tensor) -> np.ndarray:
        """Logits (B, K)."""

    def answer(self, x: Tensor) -> Answer:
        """Logits, class maps and features out of one pass."""


class Watched:
    """An engine of a bundle. Raises OverLimitError for whatever fails in it: libraries tell it in a dozen ways."""

    def __init__(self, engine: Engine, bundle: Bundle, role: Role) -> None:
        self._engine = engine
        self._sentence = (
            f"The {role} of {bundle.card.name} failed, or asked for more memory than a reading may take. "
            "Verify the bundle, or get it again."
        )

    def __call__(self, x: Tensor) -> np.ndarray:
        with self._watched():
            return self._engine(x)

    def answer(self, x: Tensor) -> Answer:
        with self._watched():
            return self._engine.answer(x)

    @contextmanager
    def _watched(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            raise OverLimitError(self._sentence) from error


class TorchEngine:
    """A torch network in eager mode, in the memory format of its weights."""

    def __init__(self, model: Any) -> None:
        import torch

        weight = next(p for p in model.parameters() if p.dim() == 4)
        last = weight.is_contiguous(memory_format=torch.channels_last) and not weight.is_contiguous()
        self._layout = torch.channels_last if last else torch.contiguous_format
        self._model = model

    def __call__(self, x: Tensor) -> np.ndarray:
        import torch

        with torch.inference_mode(), flushed_denormals():
            logits: np.ndarray = self._model(x.contiguous(memory_format=self._layout)).numpy()
        return logits

    def answer(self, x: Tensor) -> Answer:
        import torch

        from kdlight.explain.classmap import mapped

        with torch.inference_mode(), flushed_denormals():
            logits, maps = mapped(self._model, x.contiguous(memory_format=self._layout))
        return Answer(logits.numpy(), None if maps is None else maps.numpy())


class OnnxEngine:
    """A shipped ONNX file on ONNX Runtime's processor kernels, with `threads` threads.

    The class maps are the file's second output; they cost nothing beside the logits, which are made from them.
    """

    @classmethod
    def of(cls, bundle: Bundle, threads: int, file: Path | None = None, stages: bool = False) -> OnnxEngine:
        """A bundle's student, or another `file` of it, from whomever. Raises BundleError, see `graphs`."""
        graphs.check(bundle, file or bundle.onnx)
        with guarded(bundle.path, "models"):
            return cls(file or bundle.onnx, threads, stages)

    def __init__(self, path: Path, threads: int, stages: bool = False) -> None:
        """stages: answer with the features of every stage too."""
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        options.add_session_config_entry("session.set_denormal_as_zero", "1")
        with flushed_denormals():
            graph = graphs.tapped(path) if stages else str(path)
            self._session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        self._input = self._session.get_inputs()[0].name
        self._logits = [self._session.get_outputs()[0].name]
        self._maps = any(output.name == "maps" for output in self._session.get_outputs())

    def __call__(self, x: Tensor) -> np.ndarray:
        return self._run(x, self._logits)[0]

    def answer(self, x: Tensor) -> Answer:
        logits, *rest = self._run(x, None)
        maps = rest.pop(0) if self._maps else None
        return Answer(logits, maps, tuple(pooled.reshape(len(pooled), -1) for pooled in rest))

    def _run(self, x: Tensor, names: list[str] | None) -> list[np.ndarray]:
        with flushed_denormals():
            outputs: list[np.ndarray] = self._session.run(names, {self._input: x.contiguous().numpy()})
        return outputs


@contextmanager
def flushed_denormals() -> Iterator[None]:
    """Numbers too small to matter count as zero inside: they slow a processor down tenfold.

    The flag is the calling thread's, and ONNX Runtime sets it as well; outside it is always off, as NumPy expects.
    """
    import torch

    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """Torch's operations on `count` threads inside."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
