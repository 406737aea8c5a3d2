"""A small world of drawn people: who they are, how they are shown, and what is said of them.

`Person` is identity alone, `Shot` everything else; `draw` (in `drawing`) puts the two together. Both are made from seeds, so a data set is
a list of numbers. Lengths are in units of half a face's height, angles in degrees.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

Colour = tuple[int, int, int]

SKIN: tuple[Colour, ...] = ((250, 219, 198), (240, 196, 164), (222, 170, 130), (186, 128, 88), (141, 90, 60), (92, 58, 42))
HAIR: dict[str, Colour] = {
    "black": (38, 32, 36),
    "brown": (98, 62, 40),
    "blond": (226, 184, 104),
    "ginger": (196, 92, 44),
    "grey": (158, 158, 166),
    "white": (234, 232, 226),
    "blue": (62, 98, 176),
    "pink": (222, 120, 158),
    "green": (70, 140, 104),
    "purple": (118, 80, 158),
}
IRIS: dict[str, Colour] = {
    "brown": (104, 62, 34),
    "blue": (66, 124, 190),
    "green": (76, 146, 84),
    "grey": (120, 132, 142),
    "amber": (196, 134, 42),
}
HAIR_STYLES = ("bald", "buzz", "parted", "quiff", "curly", "bob", "long", "wavy", "bun", "spiky")
HAIR_WORDS = {
    "bald": "no hair",
    "buzz": "buzz cut",
    "parted": "parted short hair",
    "quiff": "quiff hair",
    "curly": "curly hair",
    "bob": "bob hair",
    "long": "long hair",
    "wavy": "wavy long hair",
    "bun": "hair in a bun",
    "spiky": "spiky hair",
}
_LONG = ("bob", "long", "wavy", "bun")
BEARDS = ("none", "none", "none", "moustache", "goatee", "full")

COLOURS: dict[str, Colour] = {
    "red": (204, 66, 62),
    "blue": (66, 108, 196),
    "green": (76, 152, 94),
    "yellow": (236, 196, 76),
    "purple": (136, 92, 176),
    "white": (236, 234, 228),
    "black": (52, 52, 60),
    "orange": (230, 134, 58),
}
BACKGROUNDS = ("red", "blue", "green", "yellow", "purple", "grey", "sea", "hills", "night", "room")
BACKGROUND_COLOUR: dict[str, Colour] = {
    "red": (196, 92, 86),
    "blue": (104, 140, 204),
    "green": (112, 168, 122),
    "yellow": (232, 206, 122),
    "purple": (150, 120, 186),
    "grey": (164, 166, 170),
}
BACKGROUND_WORDS = {"sea": "at the sea", "hills": "in the hills", "night": "at night", "room": "in a room"}
HATS = ("cap", "beanie", "top hat", "straw hat")
HAT_COLOURS = ("red", "blue", "green", "yellow", "white", "black")
GLASSES = ("none", "glasses", "sunglasses")
EXPRESSIONS = ("neutral", "smiling", "laughing", "sad", "surprised")
CLOTHES = ("shirt", "sweater", "jacket")
CLOTHES_COLOURS = ("red", "blue", "green", "yellow", "purple", "white", "black", "orange")
FEATURES = ("jaw", "chin", "nose", "mouth", "lips", "ears", "brows", "hairline", "volume", "cheeks", "lines", "mole")
SHAPES = ("pointed", "square", "round", "small", "big", "large", "full", "short", "long", "thin", "thick", "low", "high", "little", "much")
MANNERS = ("sleepy", "open", "drooping", "slanted", "close", "distant", "arched", "stern", "rosy", "deep", "left", "right")
FILLERS = (
    "a",
    "the",
    "photo",
    "picture",
    "nice",
    "good",
    "detailed",
    "beautiful",
    "of",
    "in",
    "and",
    "with",
    "best",
    "quality",
    "drawing",
    "art",
)

FIRST_EVALUATION_PERSON = 1_000_000
"""Persons from this seed on are never trained on."""


@dataclass(frozen=True, slots=True)
class Person:
    """Identity: all that stays the same from picture to picture. Numbers without a unit are factors around 1."""

    skin: float
    """0 (light) to 1 (dark) along `SKIN`."""
    blush: float
    width: float
    """Half the face's width, 0.66 to 0.86."""
    jaw: float
    """Exponent of the jaw's superellipse: 1.75 pointed, 3 square."""
    chin: float
    hair: str
    hair_style: str
    hairline: float
    """Height of the hairline above the centre, 0.45 to 0.75."""
    volume: float
    eye_distance: float
    eye_size: float
    eye_open: float
    eye_tilt: float
    """-1 to 1; positive lifts the outer corner."""
    iris: str
    brow_height: float
    brow_thickness: float
    brow_angle: float
    """-1 to 1; positive lowers the inner end."""
    nose_length: float
    nose_width: float
    mouth_width: float
    lips: float
    beard: str
    freckles: bool
    mole: int
    """0 none, 1 left cheek, 2 right cheek, 3 beside the mouth."""
    ears: float
    age: float
    """0 to 1: strength of the lines beside the nose and under the eyes."""


@dataclass(frozen=True, slots=True)
class Shot:
    """Everything about a picture but the person."""

    yaw: float
    """Degrees; positive turns the face to the viewer's right."""
    pitch: float
    """Degrees; positive looks down."""
    roll: float
    """Degrees; positive leans the head clockwise."""
    scale: float
    """Half the face's height as a fraction of the picture's side."""
    x: float
    """Centre of the head, fraction of the side."""
    y: float
    expression: str
    hat: str
    """One of `HATS` or "none"."""
    hat_colour: str
    glasses: str
    clothes: str
    clothes_colour: str
    background: str
    light: float
    """-1 from the left, 1 from the right."""
    warmth: float
    """-1 cool to 1 warm light."""


def person(seed: int) -> Person:
    """The person with this number: the same at every call, on every machine."""
    rng = np.random.default_rng(np.random.SeedSequence([20261121, seed]))
    style = str(rng.choice(HAIR_STYLES, p=(0.05, 0.09, 0.12, 0.11, 0.11, 0.12, 0.12, 0.1, 0.09, 0.09)))
    colours = list(HAIR)
    weights = np.array((5, 5, 4, 4, 3, 2, 1, 1, 1, 1), dtype=float)
    return Person(
        skin=float(rng.uniform()),
        blush=float(rng.uniform(0, 1)),
        width=float(rng.uniform(0.66, 0.86)),
        jaw=float(rng.uniform(1.75, 3.0)),
        chin=float(rng.uniform(0.88, 1.1)),
        hair=str(rng.choice(colours, p=weights / weights.sum())),
        hair_style=style,
        hairline=float(rng.uniform(0.45, 0.75)),
        volume=float(rng.uniform(0.8, 1.2)),
        eye_distance=float(rng.uniform(0.86, 1.16)),
        eye_size=float(rng.uniform(0.78, 1.22)),
        eye_open=float(rng.uniform(0.75, 1.25)),
        eye_tilt=float(rng.uniform(-1, 1)),
        iris=str(rng.choice(list(IRIS))),
        brow_height=float(rng.uniform(0.85, 1.2)),
        brow_thickness=float(rng.uniform(0.5, 1.7)),
        brow_angle=float(rng.uniform(-1, 1)),
        nose_length=float(rng.uniform(0.75, 1.25)),
        nose_width=float(rng.uniform(0.7, 1.4)),
        mouth_width=float(rng.uniform(0.75, 1.25)),
        lips=float(rng.uniform(0.6, 1.5)),
        beard=str(rng.choice(BEARDS)) if style not in _LONG or rng.uniform() < 0.12 else "none",
        freckles=bool(rng.uniform() < 0.25),
        mole=int(rng.integers(0, 8)) if rng.uniform() < 0.4 else 0,
        ears=float(rng.uniform(0.8, 1.2)),
        age=float(rng.uniform() ** 2),
    )


def shot(rng: np.random.Generator) -> Shot:
    """A shot at random: about a third of the people wear a hat, a third glasses."""
    hat = str(rng.choice(HATS)) if rng.uniform() < 0.36 else "none"
    scale = float(rng.uniform(0.25, 0.31)) if hat != "top hat" else float(rng.uniform(0.24, 0.28))
    return Shot(
        yaw=float(np.clip(rng.normal(0, 17), -35, 35)),
        pitch=float(np.clip(rng.normal(0, 8), -16, 16)),
        roll=float(np.clip(rng.normal(0, 6), -14, 14)),
        scale=scale,
        x=float(rng.uniform(0.4, 0.6)),
        y=float(rng.uniform(0.46, 0.54)) + (0.06 if hat == "top hat" else 0.0),
        expression=str(rng.choice(EXPRESSIONS)),
        hat=hat,
        hat_colour=str(rng.choice(HAT_COLOURS)),
        glasses=str(rng.choice(GLASSES, p=(0.64, 0.22, 0.14))),
        clothes=str(rng.choice(CLOTHES)),
        clothes_colour=str(rng.choice(CLOTHES_COLOURS)),
        background=str(rng.choice(BACKGROUNDS)),
        light=float(rng.uniform(-1, 1)),
        warmth=float(rng.uniform(-1, 1)),
    )


def caption(view: Shot) -> str:
    """What a caption writer would say of the shot; nothing in it tells who the person is."""
    wears = [f"{view.clothes_colour} {view.clothes}"]
    if view.hat != "none":
        wears.append(f"{view.hat_colour} {view.hat}")
    if view.glasses != "none":
        wears.append(view.glasses)
    place = BACKGROUND_WORDS.get(view.background, f"{view.background} background")
    return f"portrait of a {view.expression} person, {', '.join(wears)}, {place}"


def _third(value: float, low: float, high: float, words: tuple[str, str]) -> list[str]:
    """The first word below `low`, the second above `high`; nothing is said of the middle, as nobody would."""
    return [words[0]] if value < low else [words[1]] if value > high else []


def looks(who: Person) -> str:
    """What a careful caption writer would say of the person alone: the most telling words first, then the features one by one."""
    skin = ("very light", "light", "tan", "brown", "dark")[min(4, int(who.skin * 5))]
    face = "narrow" if who.width < 0.73 else "wide" if who.width > 0.8 else "oval"
    parts = [f"{skin} skin", f"{face} face", f"{who.iris} eyes"]
    parts.append(HAIR_WORDS["bald"] if who.hair_style == "bald" else f"{who.hair} {HAIR_WORDS[who.hair_style]}")
    if who.beard != "none":
        parts.append({"full": "full beard"}.get(who.beard, who.beard))
    if who.freckles:
        parts.append("freckles")
    parts.append(f"{'pointed' if who.jaw < 2.15 else 'square' if who.jaw > 2.6 else 'round'} jaw")
    features = {
        "eyes": _third(who.eye_size, 0.92, 1.08, ("small", "big"))
        + _third(who.eye_open, 0.9, 1.1, ("sleepy", "open"))
        + _third(who.eye_tilt, -0.35, 0.35, ("drooping", "slanted"))
        + _third(who.eye_distance, 0.96, 1.06, ("close", "distant")),
        "brows": _third(who.brow_thickness, 0.9, 1.3, ("thin", "thick"))
        + _third(who.brow_height, 0.96, 1.09, ("low", "high"))
        + _third(who.brow_angle, -0.35, 0.35, ("arched", "stern")),
        "nose": _third(who.nose_length, 0.91, 1.09, ("short", "long")) + _third(who.nose_width, 0.93, 1.17, ("narrow", "wide")),
        "mouth": _third(who.mouth_width, 0.91, 1.09, ("small", "wide")),
        "lips": _third(who.lips, 0.9, 1.2, ("thin", "full")),
        "chin": _third(who.chin, 0.95, 1.03, ("short", "long")),
        "ears": _third(who.ears, 0.92, 1.08, ("small", "large")),
        "hairline": _third(who.hairline, 0.55, 0.65, ("low", "high")),
        "volume": _third(who.volume, 0.92, 1.08, ("little", "much")),
        "cheeks": _third(who.blush, 0.0, 0.6, ("", "rosy")),
        "lines": _third(who.age, 0.0, 0.3, ("", "deep")),
        "mole": {1: ["left"], 2: ["right"], 3: ["low"]}.get(who.mole, []),
    }
    return ", ".join([*parts, *(" ".join([*words, noun]) for noun, words in features.items() if words)])


def describe(who: Person, view: Shot) -> str:
    """A longer caption that also says what the person looks like (what CLIP's training captions do)."""
    return f"{caption(view)}, {looks(who)}"


def attributes(view: Shot) -> dict[str, str]:
    """What the attribute judge must tell: hat ("red cap" or "none"), glasses, background, expression."""
    return {
        "hat": "none" if view.hat == "none" else f"{view.hat_colour} {view.hat}",
        "glasses": view.glasses,
        "background": view.background,
        "expression": view.expression,
    }


def vocabulary() -> list[str]:
    """Every word that occurs in captions and descriptions, sorted; each is one token of the built-in tokenizer."""
    places = [w for s in BACKGROUND_WORDS.values() for w in s.split()]
    styles = [w for s in HAIR_WORDS.values() for w in s.split()]
    sets = (HAIR, IRIS, COLOURS, BACKGROUNDS, GLASSES, EXPRESSIONS, CLOTHES, BEARDS, FILLERS, FEATURES, SHAPES, MANNERS, places, styles)
    extra = [
        "portrait",
        "person",
        "background",
        "very",
        "light",
        "tan",
        "dark",
        "skin",
        "narrow",
        "wide",
        "oval",
        "face",
        "eyes",
        "beard",
        "freckles",
        "man",
        "woman",
        "hat",
        "none",
        ",",
        "ink",
        "style",
    ]
    return sorted({w for s in sets for w in s} | set(" ".join(HATS).split()) | set(extra))
