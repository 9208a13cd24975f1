"""An option is declared once: its list, its check and its sentence come from one annotation."""

from __future__ import annotations

import pickle
from typing import Annotated, Any, Literal

import pytest
from pydantic import Field

from kdlight.contracts.options import Declared, Option, OptionError, Settings, Texts, checked, declared

Share = Annotated[float, Option("Weight of the one.", ge=0, le=1)]


def blur(
    image: bytes,
    *,
    sigma: Annotated[float, Option("Width of the blur.", gt=0, unit="px")],
    share: Share = 0.5,
    rounds: Annotated[int, Option("How often.", ge=1, le=8)] = 2,
    edge: Annotated[Literal["zeros", "reflection"], Option("What lies beyond the border.")] = "zeros",
    part: Annotated[str, Option("Where.", choices=("head", "chest"))] = "head",
    gray: Annotated[bool, Option("Without color.")] = False,
) -> None:
    """Nothing."""


class Method:
    name = "method"
    weight: Annotated[float, Option("Weight of all.", ge=0)] = 1.0
    steps: int = 3


class Special(Method):
    decay: Annotated[float, Option("How slowly.", ge=0, lt=1)] = 0.9


class Part(Settings):
    words: Annotated[str, Option("For people.")]
    lines: Annotated[Texts, Option("More for people.")] = ()
    kinds: Annotated[Texts, Option("Of a table.", choices=("a", "b"))] = ()


class Whole(Settings):
    part: Annotated[Part, Option("A part.")]
    named: Annotated[dict[str, Part], Option("Parts by name.")] = Field(default_factory=dict)
    count: Annotated[int, Option("A count.", gt=0, lt=5)] = 1


def test_a_function_s_options_are_its_annotated_keywords() -> None:
    sigma, share, rounds, edge, part, gray = declared(blur)
    assert sigma == Declared(
        name="sigma", kind="float", help="Width of the blur.", required=True, low=0, open_low=True, unit="px"
    )
    assert (share.default, share.low, share.high, share.open_low, share.open_high) == (0.5, 0, 1, False, False)
    assert (rounds.kind, rounds.default) == ("int", 2)
    assert (edge.kind, edge.choices) == ("str", ("zeros", "reflection"))
    assert (part.kind, part.choices) == ("str", ("head", "chest"))
    assert (gray.kind, gray.expected) == ("bool", "true or false")


def test_a_class_hands_its_options_down_and_keeps_its_other_attributes() -> None:
    assert [option.name for option in declared(Special)] == ["weight", "decay"]
    assert checked(Special, {"decay": 0}) == {"weight": 1.0, "decay": 0.0}


@pytest.mark.parametrize(
    ("bounds", "words"),
    [
        ({"ge": 0, "le": 1}, "from 0 to 1"),
        ({"gt": 0}, "above 0"),
        ({"ge": 0}, "of 0 or above"),
        ({"gt": 0, "le": 1}, "above 0 and up to 1"),
        ({"gt": 0, "lt": 1}, "above 0 and below 1"),
        ({"ge": 0, "lt": 1}, "from 0 to below 1"),
        ({"lt": 3}, "below 3"),
        ({"le": 3}, "up to 3"),
        ({}, ""),
    ],
)
def test_a_range_is_said_and_held_at_its_ends(bounds: dict[str, float], words: str) -> None:
    def scale(factor: Annotated[float, Option("Factor.", **bounds)] = 0.5) -> None: ...

    scale.__annotations__["factor"] = Annotated[float, Option("Factor.", **bounds)]
    assert declared(scale)[0].range == words
    holds = {"ge": lambda v, b: v >= b, "gt": lambda v, b: v > b, "le": lambda v, b: v <= b, "lt": lambda v, b: v < b}
    for value in (-1.0, 0.0, 0.5, 1.0, 3.0, 4.0):
        if all(holds[name](value, bound) for name, bound in bounds.items()):
            assert checked(scale, {"factor": value}) == {"factor": value}
        else:
            with pytest.raises(OptionError, match=rf"^factor is {value}; a number {words} was expected"):
                checked(scale, {"factor": value})


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({}, r"^x\.sigma is missing; a number above 0 \(px\) was expected\. Add it\.$"),
        ({"sigma": 1, "shar": 1}, r"^x\.shar is not known; one of sigma, .* was expected\. Did you mean share\?$"),
        ({"sigma": 1, "magic": 1}, r"^x\.magic is not known; .* Remove it\.$"),
        ({"sigma": float("nan")}, r"^x\.sigma is nan; a number above 0"),
        ({"sigma": float("inf")}, r"^x\.sigma is inf"),
        ({"sigma": "1"}, r"^x\.sigma is '1'; a number above 0"),
        ({"sigma": 1, "rounds": 2.5}, r"^x\.rounds is 2\.5; a whole number from 1 to 8 was expected"),
        ({"sigma": 1, "rounds": True}, r"^x\.rounds is True; a whole number"),
        ({"sigma": 1, "gray": 1}, r"^x\.gray is 1; true or false was expected"),
        ({"sigma": 1, "edge": "none"}, r"^x\.edge is 'none'; one of zeros, reflection was expected"),
        ({"sigma": 1, "part": "foot"}, r"^x\.part is 'foot'; one of head, chest was expected"),
    ],
)
def test_a_mistake_is_one_sentence_that_names_the_option(values: dict[str, Any], sentence: str) -> None:
    with pytest.raises(OptionError, match=sentence):
        checked(blur, values, "x")


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({}, "part is missing; a section of keys was expected"),
        ({"part": 3}, "part is 3; a section of keys was expected"),
        ({"part": {}}, r"part\.words is missing"),
        ({"part": {"words": ""}, "named": {"q": {"word": ""}}}, r"named\.q\.word is not known; .* Did you mean words"),
        ({"part": {"words": "", "lines": "x"}}, r"part\.lines is 'x'; a list of texts"),
        ({"part": {"words": "", "lines": [1]}}, r"part\.lines is 1; a list of texts"),
        ({"part": {"words": "", "kinds": ["a", "c"]}}, r"part\.kinds is 'c'; one of a, b was expected"),
        ({"part": {"words": ""}, "count": 5}, "count is 5; a whole number above 0 and below 5"),
    ],
)
def test_a_mistake_in_a_section_is_named_from_the_top(values: dict[str, Any], sentence: str) -> None:
    with pytest.raises(OptionError, match=f"^{sentence}"):
        Whole(**values)


def test_a_changed_copy_is_checked_again() -> None:
    whole = Whole(part=Part(words="w", lines=["a"]))
    assert whole.changed(count=2) == Whole(part=Part(words="w", lines=("a",)), count=2)
    assert whole.count == 1
    with pytest.raises(OptionError, match="count is 9"):
        whole.changed(count=9)
    with pytest.raises(ValueError, match="frozen"):
        whole.count = 3  # type: ignore[misc]


def test_declarations_and_mistakes_travel_between_processes() -> None:
    for option in declared(blur):
        assert Declared.model_validate_json(option.model_dump_json()) == option
    assert str(pickle.loads(pickle.dumps(OptionError("is 1.", "a")))) == "a is 1."  # noqa: S301
