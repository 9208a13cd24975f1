"""The terms of training in words for a clinician or a student: what a knob does, before what values it takes."""

from __future__ import annotations

TEMPERATURE = (
    "How far the teacher's answers are softened before the student copies them. At 1 they stay as they are; higher "
    "shows more of what the teacher thinks of the less likely classes."
)
TERMS: dict[str, str] = {
    "alpha": "Weight of the teacher's output against the labels in the student's loss: 0 is the labels alone, 1 the "
    "teacher alone.",
    "temperature": TEMPERATURE,
    "gamma": "How strongly the student is drawn to what the teacher sees in an image, not only to its answer. 0 leaves "
    "that out; the shipped pairs use 5.",
    "dist gamma": "How much it counts that the student ranks the images of one class as the teacher does.",
    "fitnet gamma": "How much the teacher's hint counts in the first stage.",
    "beta": "Weight of this method's own loss beside that of the labels.",
    "tau": "How sharply near and far are told apart: smaller is sharper.",
    "momentum": "How slowly a kept average follows what is new: near 1 is slow and steady.",
    "rotated": "How much the teacher's answers on turned images count.",
    "mixup": "How much pairs of images are blended into one, so that the student grows less sure of itself.",
    "stage": "How long the first stage lasts, as a share of the whole run.",
    "stage1": "How long the first stage, without labels, lasts as a share of the whole run.",
    "keep": "Only this share of each batch is trained on: the images that help most.",
    "trust": "How much the teacher's opinion counts where an image has a label already.",
}
"""By a knob's name; "method knob" where a method means something else by it."""
EPOCHS = "How often all training images are gone through. More takes longer; the best epoch on validation is kept."
VIEWS = (
    "Each training image is shown in this many fixed augmented versions (turned, cropped, brighter, darker), in turn. "
    "The teacher's output for each is computed once and cached, which saves most of its time. 0 draws new "
    "augmentations in every epoch."
)
TEACHER_WEIGHTS = (
    "The weights that the teacher's training begins with: a file of yours, or, if this is empty, published ImageNet "
    "weights. Where those cannot be downloaded the teacher starts from random weights, which is said here."
)
STUDENT_WEIGHTS = (
    "The weights that the student's training begins with: channels selected from the teacher, weights that were "
    "distilled before on other images, published ones, or random ones. Their license applies to the trained pair."
)
ALONE = (
    "The same student, trained on the labels without its teacher: the baseline that a gain is measured against. Takes "
    "longer."
)
SAME_START = (
    "The student's starting weights already help. This baseline has the same ones and no teacher, so only what is "
    "gained over it is the teacher's doing. Takes longer."
)
SCRATCH = (
    "The same student once more, on the labels, without its teacher and from random weights: shows what the starting "
    "weights gave. Takes longer."
)
METHOD = "How the student learns from its teacher. The line below says what this method asks of it."


def explained(method: str, name: str, line: str | None) -> str | None:
    """A knob's help: what it does in plain words, then what the method's own line says of its values."""
    plain = TERMS.get(f"{method} {name}", TERMS.get(name))
    if plain is None or not line:
        return plain or line
    return f"{plain}  \n*{line[:1].upper()}{line[1:]}*"
