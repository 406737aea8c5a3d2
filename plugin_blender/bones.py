"""Which bone carries which joint of the OpenPose skeleton: found by the names that the usual rigs have, corrected by hand. Without Blender.

A rig is of the family whose names fit most; names of two families are never mixed, as "LeftLeg" is Mixamo's shin and other people's thigh.
A rig of no family is read word by word, with the sides that Blender itself knows. Left and right are the person's own, as in OpenPose.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from .protocol.errors import InvalidRequest

JOINTS = (
    *("nose", "neck", "right_shoulder", "right_elbow", "right_wrist", "left_shoulder", "left_elbow", "left_wrist"),
    *("right_hip", "right_knee", "right_ankle", "left_hip", "left_knee", "left_ankle", "right_eye", "left_eye", "right_ear", "left_ear"),
)
"""OpenPose's 18 joints in the order of its COCO model (openpose, `poseParameters.cpp`)."""

FACE_POINTS = ("right_eye", "left_eye", "nose", "right_mouth", "left_mouth")
"""InstantID's five keypoints, of the person's own sides: upright and from the front, this is the viewer's left eye first."""

LIMBS = ("shoulder", "elbow", "wrist", "hip", "knee", "ankle")
BODY = 2 * len(LIMBS) + 1
"""Joints below the head: all limbs, and the neck between them."""


@dataclass(frozen=True, slots=True)
class Spot:
    """A place on a bone: `along` is 0 at its head and 1 at its tail."""

    bone: str
    along: float = 0.0


@dataclass(frozen=True)
class RigMap:
    """Where the joints of one rig are. The neck has no bone of its own: OpenPose's lies between the shoulders."""

    family: str
    spots: Mapping[str, Spot]
    """Joint to bone; without the neck, unless it was put on a bone by hand."""
    left_out: frozenset[str] = frozenset()
    """Joints that shall not be drawn, by hand."""
    face: Mapping[str, Spot] = field(default_factory=dict)
    """The face points that have a bone: `FACE_POINTS` to bone."""
    head: str | None = None
    """The bone that turns the head."""
    crown: Spot | None = None
    """The top of the head, where the rig marks it."""

    @property
    def found(self) -> tuple[str, ...]:
        """The joints with a place, in OpenPose's order."""
        between = {"right_shoulder", "left_shoulder"} <= self.spots.keys() and "neck" not in self.left_out
        return tuple(joint for joint in JOINTS if joint in self.spots or (joint == "neck" and between))

    @property
    def missing(self) -> tuple[str, ...]:
        """The joints without one that were not left out by hand, in OpenPose's order."""
        return tuple(joint for joint in JOINTS if joint not in self.found and joint not in self.left_out)

    @property
    def sentence(self) -> str:
        """What the panel says: "18/18 Rigify"."""
        return f"{len(self.found)}/{len(JOINTS)} {self.family}".strip()


@dataclass(frozen=True)
class _Family:
    """Names of one kind of rig. `{side}` stands for the side; the first name that a rig has is taken."""

    name: str
    sides: tuple[str, str]
    """How right and left are written."""
    limbs: tuple[str, str, str, str, str, str]
    """Bones whose heads are shoulder, elbow, wrist, hip, knee, ankle."""
    head: tuple[str, ...]
    eyes: Spot | None = None
    """The pupil where a bone reaches it, else the middle of the eyeball; the scene then looks for the surface before it."""
    ears: Spot | None = None
    nose: tuple[Spot, ...] = ()
    mouth: tuple[Spot, ...] = ()
    """The corner of the mouth."""
    crown: tuple[Spot, ...] = ()
    prefixes: tuple[str, ...] = ("",)


FAMILIES = (
    # Rigify's human meta-rig; in a generated rig bare names are controls, and the bones that lie on the joints are called ORG-.
    _Family(
        "Rigify",
        (".R", ".L"),
        ("upper_arm{side}", "forearm{side}", "hand{side}", "thigh{side}", "shin{side}", "foot{side}"),
        head=("spine.006", "head"),
        eyes=Spot("eye{side}", 1.0),
        ears=Spot("ear{side}", 0.5),
        nose=(Spot("nose.002"), Spot("nose.004")),
        mouth=(Spot("lip.T{side}.001", 1.0), Spot("lip.B{side}.001", 1.0)),
        crown=(Spot("spine.006", 1.0),),
        prefixes=("ORG-", "DEF-", ""),
    ),
    _Family(
        "Mixamo",
        ("Right", "Left"),
        ("{side}Arm", "{side}ForeArm", "{side}Hand", "{side}UpLeg", "{side}Leg", "{side}Foot"),
        head=("Head",),
        eyes=Spot("{side}Eye"),
        crown=(Spot("HeadTop_End"),),
    ),
    _Family(
        "VRoid",
        ("R", "L"),
        (
            *("J_Bip_{side}_UpperArm", "J_Bip_{side}_LowerArm", "J_Bip_{side}_Hand"),
            *("J_Bip_{side}_UpperLeg", "J_Bip_{side}_LowerLeg", "J_Bip_{side}_Foot"),
        ),
        head=("J_Bip_C_Head",),
        eyes=Spot("J_Adj_{side}_FaceEye"),
    ),
    # What the VRM add-on makes of VRoid's names.
    _Family(
        "VRM",
        ("_R", "_L"),
        ("UpperArm{side}", "LowerArm{side}", "Hand{side}", "UpperLeg{side}", "LowerLeg{side}", "Foot{side}"),
        head=("Head",),
        eyes=Spot("FaceEye{side}"),
    ),
    # VRM's humanoid, the names of its specification.
    _Family(
        "VRM",
        ("right", "left"),
        ("{side}UpperArm", "{side}LowerArm", "{side}Hand", "{side}UpperLeg", "{side}LowerLeg", "{side}Foot"),
        head=("head",),
        eyes=Spot("{side}Eye"),
    ),
    # The mannequins of Unreal Engine 4 and 5, MetaHuman, MakeHuman's game engine rig.
    _Family(
        "Unreal",
        ("_r", "_l"),
        ("upperarm{side}", "lowerarm{side}", "hand{side}", "thigh{side}", "calf{side}", "foot{side}"),
        head=("head",),
        eyes=Spot("eye{side}"),
    ),
    _Family(
        "MakeHuman",
        (".R", ".L"),
        ("upperarm01{side}", "lowerarm01{side}", "wrist{side}", "upperleg01{side}", "lowerleg01{side}", "foot{side}"),
        head=("head",),
        eyes=Spot("eye{side}"),
        crown=(Spot("head", 1.0),),
    ),
)

_NAMESPACE = re.compile(r"^(?:.*[|:])?(?:mixamorig\d*[:_]?)?", re.IGNORECASE)
"""What importers put in front: "Armature|", "mixamorig:", "mixamorig1:", "mixamorig" alone, and any namespace of Maya's."""

_WORDS: Mapping[str, tuple[str, ...]] = {
    "shoulder": ("upperarm", "uparm", "armupper", "shldrbend", "shldr", "humerus", "arm"),
    "elbow": ("forearm", "lowerarm", "loarm", "armlower", "forearmbend", "elbow"),
    "wrist": ("hand", "wrist"),
    "hip": ("thigh", "upperleg", "upleg", "legupper", "thighbend", "femur"),
    "knee": ("shin", "calf", "lowerleg", "loleg", "leglower", "knee", "leg"),
    "ankle": ("foot", "ankle"),
    "eye": ("eye", "eyeball"),
    "ear": ("ear",),
}
"""For rigs of no family: words for the bone that begins at a joint, the surest first, without side, number and separators."""
_NAMES_IN_FRONT = re.compile(r"^(?:cc_base_|bip\d*\s+|def[-_]|org[-_]|valvebiped\.bip\d*_|b_|j_(?:bip|adj)_)", re.IGNORECASE)
_SIDE_IN_FRONT = re.compile(r"^(?:(?P<word>left|right)[\s._-]*|(?P<letter>[lr])(?:[\s._-]+))(?P<rest>.+)$", re.IGNORECASE)
_SIDE_BEHIND = re.compile(r"^(?P<rest>.+?)(?:[\s._-]+(?P<letter>[lr])|[\s._-]*(?P<word>left|right))$", re.IGNORECASE)


def find_joints(names: Iterable[str], by_hand: Mapping[str, Spot | None] | None = None) -> RigMap:
    """The joints of a rig with these bones. `by_hand` goes first: a joint or face point to its place, or to None: leave it out.

    A correction that names a bone which the rig has no longer is passed over. A rig without any fitting name gives an empty map.
    """
    given = tuple(names)
    find = _finder(given)
    # The first of the best, as max takes it; a whole body of one family needs no reading word by word.
    best = max((_of_family(family, find) for family in FAMILIES), key=lambda rig: len(rig.found))
    if len(best.found) < BODY:
        best = max(best, _of_words(given), key=lambda rig: len(rig.found))
    if not best.found:
        best = RigMap("", {})
    usable = {part: spot for part, spot in (by_hand or {}).items() if spot is None or spot.bone in given}
    left_out = frozenset(part for part, spot in usable.items() if spot is None)
    joints = {**best.spots, **{part: spot for part, spot in usable.items() if spot and part in JOINTS}}
    face = {**best.face, **{part: spot for part, spot in usable.items() if spot and part in FACE_POINTS}}
    return RigMap(
        best.family,
        {joint: spot for joint, spot in joints.items() if joint not in left_out},
        left_out,
        {point: spot for point, spot in face.items() if point not in left_out},
        best.head,
        best.crown,
    )


def corrections_to_text(by_hand: Mapping[str, Spot | None]) -> str:
    """Corrections as one line of JSON, to be kept on the armature: {"nose": ["nose.004", 0.0], "left_ear": null}."""
    return json.dumps({part: [spot.bone, spot.along] if spot else None for part, spot in by_hand.items()}, ensure_ascii=False)


def corrections_from_text(text: str) -> dict[str, Spot | None]:
    """What `corrections_to_text` wrote; "" is none. Raises `InvalidRequest` for anything else, as others may write there too."""
    try:
        read = json.loads(text) if text else {}
        return {_part(part): None if place is None else _spot(*place) for part, place in read.items()}
    except (ValueError, TypeError, AttributeError) as error:
        sentence = "The joints that were put right by hand cannot be read from this armature. Take its property likeness_joints away."
        raise InvalidRequest(sentence) from error


def side_and_word(name: str) -> tuple[str, str]:
    """A bone's side ("right", "left" or "") and the word that is left of its name, in small letters without separators.

    >>> side_and_word("CC_Base_L_Upperarm"), side_and_word("Bip001 R Forearm"), side_and_word("lShldrBend")
    (('left', 'upperarm'), ('right', 'forearm'), ('left', 'shldrbend'))
    """
    rest = _NAMES_IN_FRONT.sub("", _NAMESPACE.sub("", name))
    camel = re.match(r"^([lr])([A-Z].*)$", rest)
    found = _SIDE_IN_FRONT.match(rest) or _SIDE_BEHIND.match(rest)
    if camel:
        letter, rest = camel[1], camel[2]
    elif found:
        letter, rest = (found["word"] or found["letter"])[0], found["rest"]
    else:
        letter = ""
    side = {"r": "right", "l": "left"}.get(letter.lower(), "")
    return side, re.sub(r"[\s._\-]|0*1$", "", rest).lower()


Finder = Callable[[str], "str | None"]


def _finder(names: tuple[str, ...]) -> Finder:
    """From a wanted name to the rig's own: as written, without what importers put in front, and then in other letters."""
    known: dict[str, str] = {}
    for change in (lambda name: name, lambda name: _NAMESPACE.sub("", name), lambda name: _NAMESPACE.sub("", name).lower()):
        for name in names:
            known.setdefault(change(name), name)
    return lambda wanted: known.get(wanted) or known.get(wanted.lower())


def _of_family(family: _Family, find: Finder) -> RigMap:
    def first(spots: Iterable[Spot]) -> Spot | None:
        tried = ((find(prefix + spot.bone), spot.along) for spot in spots for prefix in family.prefixes)
        return next((Spot(bone, along) for bone, along in tried if bone), None)

    joints: dict[str, Spot | None] = {"nose": first(family.nose)}
    face: dict[str, Spot | None] = {"nose": joints["nose"]}
    for side, written in zip(("right", "left"), family.sides, strict=True):
        for limb, name in zip(LIMBS, family.limbs, strict=True):
            joints[f"{side}_{limb}"] = first([Spot(name.format(side=written))])
        for part, spot in (("eye", family.eyes), ("ear", family.ears)):
            joints[f"{side}_{part}"] = first([Spot(spot.bone.format(side=written), spot.along)] if spot else [])
        face[f"{side}_eye"] = joints[f"{side}_eye"]
        face[f"{side}_mouth"] = first(Spot(spot.bone.format(side=written), spot.along) for spot in family.mouth)
    head = first(Spot(name) for name in family.head)
    # A head and two eyes are what any animal's rig has: without one limb of the family it is not of the family.
    if not any(spot for joint, spot in joints.items() if joint.split("_")[-1] in LIMBS):
        return RigMap(family.name, {})
    return RigMap(family.name, _there(joints), face=_there(face), head=head.bone if head else None, crown=first(family.crown))


def _of_words(names: tuple[str, ...]) -> RigMap:
    """A rig of no family; the first of the words that it has counts, and "leg" is a shin only beside a thigh."""
    known: dict[tuple[str, str], str] = {}
    for name in names:
        known.setdefault(side_and_word(name), name)
    joints: dict[str, Spot | None] = {}
    for side in ("right", "left"):
        for part, words in _WORDS.items():
            bone = next((known[side, word] for word in words if (side, word) in known), None)
            joints[f"{side}_{part}"] = Spot(bone) if bone else None
        if not joints[f"{side}_hip"]:
            joints[f"{side}_knee"] = None
        if not joints[f"{side}_elbow"]:
            joints[f"{side}_shoulder"] = None
    if not any(joints[f"{side}_{limb}"] for side in ("right", "left") for limb in LIMBS):
        return RigMap("", {})
    face = {f"{side}_eye": joints[f"{side}_eye"] for side in ("right", "left")}
    return RigMap("", _there(joints), face=_there(face), head=known.get(("", "head")))


def _there(spots: Mapping[str, Spot | None]) -> dict[str, Spot]:
    return {part: spot for part, spot in spots.items() if spot}


def _part(name: str) -> str:
    if name not in {*JOINTS, *FACE_POINTS}:
        raise ValueError(name)
    return name


def _spot(bone: str, along: float) -> Spot:
    if not isinstance(bone, str) or not 0.0 <= float(along) <= 1.0:
        raise ValueError(bone)
    return Spot(bone, float(along))
