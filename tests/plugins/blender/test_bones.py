"""Joints by the names of bones: the rigs as they are handed out, the sides, what was put right by hand."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest
from plugin_blender.protocol.errors import InvalidRequest

from plugin_blender.bones import FACE_POINTS, JOINTS, Spot, corrections_from_text, corrections_to_text, find_joints, side_and_word

ROOT = Path(__file__).resolve().parents[3]


def words(line: str) -> list[str]:
    return line.split()


def sided(names: str, pattern: str, sides: str) -> list[str]:
    return [pattern.format(word=word, side=side) for word in words(names) for side in words(sides)]


RIGIFY = [
    *words("spine spine.001 spine.002 spine.003 spine.004 spine.005 spine.006 face nose nose.001 nose.002 nose.003 nose.004"),
    *words("jaw chin chin.001 teeth.T teeth.B tongue tongue.001 tongue.002"),
    *sided("ear lip.T lip.B brow.B brow.T lid.T lid.B forehead temple jaw chin cheek.B cheek.T eye nose", "{word}.{side}", "L R"),
    *sided("ear lip.T lip.B brow.B brow.T lid.T lid.B forehead jaw cheek.B cheek.T nose", "{word}.{side}.001", "L R"),
    *sided("shoulder upper_arm forearm hand palm.01 f_index.01 thumb.01 breast", "{word}.{side}", "L R"),
    *sided("pelvis thigh shin foot toe heel.02", "{word}.{side}", "L R"),
]
"""Blender's human meta-rig, as `armature_human_metarig_add` makes it (some fingers and lids left away)."""
CONTROLS = [
    *words("root eyes torso hips chest neck head nose nose.001 nose.002 nose.003 nose.004 nose.005 nose_master jaw_master tongue"),
    *sided("eye ear master_eye lips hand_ik hand_fk hand_tweak upper_arm_fk forearm_fk upper_arm_ik", "{word}.{side}", "L R"),
    *sided("thigh_fk shin_fk foot_fk foot_ik thigh_ik shoulder breast lip.T", "{word}.{side}", "L R"),
]
"""Names without a prefix in a generated rig: its controls."""
GENERATED = [prefix + name for prefix in ("ORG-", "DEF-", "MCH-") for name in RIGIFY]
MIXAMO = [
    *words("Hips Spine Spine1 Spine2 Neck Head HeadTop_End"),
    *sided("Shoulder Arm ForeArm Hand HandThumb1 HandIndex1 HandPinky3", "{side}{word}", "Left Right"),
    *sided("UpLeg Leg Foot ToeBase Toe_End", "{side}{word}", "Left Right"),
]
VROID = [
    *words("Root J_Bip_C_Hips J_Bip_C_Spine J_Bip_C_Chest J_Bip_C_UpperChest J_Bip_C_Neck J_Bip_C_Head J_Sec_Hair1_01"),
    *sided("Shoulder UpperArm LowerArm Hand Thumb1 Index1 UpperLeg LowerLeg Foot ToeBase", "J_Bip_{side}_{word}", "L R"),
    *words("J_Adj_L_FaceEye J_Adj_R_FaceEye J_Sec_L_Bust1 J_Sec_R_Bust1"),
]
VRM_RENAMED = [
    *words("Root Hips Spine Chest UpperChest Neck Head"),
    *sided("Shoulder UpperArm LowerArm Hand Thumb1 UpperLeg LowerLeg Foot ToeBase FaceEye", "{word}_{side}", "L R"),
]
VRM_HUMANOID = [
    *words("hips spine chest upperChest neck head jaw"),
    *sided("Shoulder UpperArm LowerArm Hand UpperLeg LowerLeg Foot Toes Eye", "{side}{word}", "left right"),
]
UNREAL = [
    *words("root pelvis spine_01 spine_02 spine_03 spine_04 spine_05 neck_01 neck_02 head ik_foot_root ik_hand_root ik_hand_gun"),
    *sided("clavicle upperarm upperarm_twist_01 lowerarm lowerarm_twist_01 hand thumb_01 index_01 ik_hand", "{word}_{side}", "l r"),
    *sided("thigh thigh_twist_01 calf calf_twist_01 foot ball ik_foot", "{word}_{side}", "l r"),
]
MAKEHUMAN = [
    *words("root spine01 spine02 spine03 spine04 spine05 neck01 neck02 neck03 head jaw special01 oris01 oris02 tongue00"),
    *sided("clavicle shoulder01 upperarm01 upperarm02 lowerarm01 lowerarm02 wrist metacarpal1 finger1-1", "{word}.{side}", "L R"),
    *sided("pelvis upperleg01 upperleg02 lowerleg01 lowerleg02 foot toe1-1 breast eye oculi01 orbicularis03", "{word}.{side}", "L R"),
]
CHARACTER_CREATOR = [
    *words("CC_Base_BoneRoot CC_Base_Hip CC_Base_Pelvis CC_Base_Waist CC_Base_Spine01 CC_Base_NeckTwist01 CC_Base_Head"),
    *sided("Clavicle Upperarm UpperarmTwist01 Forearm ForearmTwist01 Hand", "CC_Base_{side}_{word}", "L R"),
    *sided("Thigh Calf Foot ToeBase Eye", "CC_Base_{side}_{word}", "L R"),
]
BIPED = [
    *("Bip001 Pelvis", "Bip001 Spine", "Bip001 Neck", "Bip001 Head"),
    *sided("Clavicle UpperArm Forearm Hand Thigh Calf Foot", "Bip001 {side} {word}", "L R"),
]
DAZ = ["hip", "pelvis", "head", *sided("ShldrBend ForearmBend Hand ThighBend Shin Foot Eye Ear", "{side}{word}", "l r")]

BODY = tuple(joint for joint in JOINTS if joint.split("_")[-1] not in {"nose", "eye", "ear"})
EYES = ("right_eye", "left_eye")

RIGS = {
    "Rigify's meta-rig": (RIGIFY, "Rigify", JOINTS, "spine.006"),
    "a generated Rigify rig": (
        [*(f"ORG-{n}" for n in RIGIFY), *(f"DEF-{n}" for n in RIGIFY), *CONTROLS],
        "Rigify",
        JOINTS,
        "ORG-spine.006",
    ),
    "Rigify's deforming bones alone, as a game gets them": ([f"DEF-{n}" for n in RIGIFY], "Rigify", JOINTS, "DEF-spine.006"),
    "Mixamo": ([f"mixamorig:{n}" for n in MIXAMO], "Mixamo", BODY, "mixamorig:Head"),
    "a second Mixamo character in one file": ([f"mixamorig1:{n}" for n in MIXAMO], "Mixamo", BODY, "mixamorig1:Head"),
    "Mixamo without its colon, as some exporters write it": ([f"mixamorig{n}" for n in MIXAMO], "Mixamo", BODY, "mixamorigHead"),
    "Mixamo without its prefix": (MIXAMO, "Mixamo", BODY, "Head"),
    "Mixamo with eyes": ([*MIXAMO, "LeftEye", "RightEye"], "Mixamo", BODY + EYES, "Head"),
    "VRoid": (VROID, "VRoid", BODY + EYES, "J_Bip_C_Head"),
    "VRM, renamed by its add-on": (VRM_RENAMED, "VRM", BODY + EYES, "Head"),
    "VRM's humanoid names": (VRM_HUMANOID, "VRM", BODY + EYES, "head"),
    "Unreal's mannequin": (UNREAL, "Unreal", BODY, "head"),
    "Unreal under an armature's name": ([f"Armature|{n}" for n in UNREAL], "Unreal", BODY, "Armature|head"),
    "MakeHuman": (MAKEHUMAN, "MakeHuman", BODY + EYES, "head"),
    "Character Creator, by its words": (CHARACTER_CREATOR, "", BODY + EYES, "CC_Base_Head"),
    "3ds Max's biped, by its words": (BIPED, "", BODY, "Bip001 Head"),
    "Daz, by its words": (DAZ, "", (*BODY, *EYES, "right_ear", "left_ear"), "head"),
}


@pytest.mark.parametrize("rig", RIGS)
def test_every_joint_that_a_rig_names_is_found(rig: str):
    names, family, joints, head = RIGS[rig]
    found = find_joints(names)
    assert (found.family, found.found, found.head) == (family, tuple(joint for joint in JOINTS if joint in joints), head)
    assert found.sentence == f"{len(joints)}/18 {family}".strip()
    assert set(found.missing) == set(JOINTS) - set(joints)


@pytest.mark.parametrize("rig", RIGS)
def test_a_joint_lies_on_a_bone_of_its_own_side(rig: str):
    names, _, _, _ = RIGS[rig]
    found = find_joints(names)
    for joint, spot in found.spots.items():
        side = joint.split("_")[0]
        assert side_and_word(spot.bone)[0] == (side if side in {"left", "right"} else ""), (joint, spot)


@pytest.mark.parametrize(
    ("rig", "joint", "bone"),
    [
        ("Mixamo", "right_shoulder", "mixamorig:RightArm"),  # not RightShoulder, which is the collar bone
        ("Mixamo", "left_knee", "mixamorig:LeftLeg"),
        ("Unreal's mannequin", "left_elbow", "lowerarm_l"),
        ("VRoid", "left_hip", "J_Bip_L_UpperLeg"),
        ("MakeHuman", "right_wrist", "wrist.R"),
        ("a generated Rigify rig", "right_elbow", "ORG-forearm.R"),  # where the joint is, whichever control moved it
        ("Character Creator, by its words", "left_shoulder", "CC_Base_L_Upperarm"),
        ("Daz, by its words", "left_shoulder", "lShldrBend"),
    ],
)
def test_the_bone_that_begins_at_the_joint_is_taken(rig: str, joint: str, bone: str):
    assert find_joints(RIGS[rig][0]).spots[joint] == Spot(bone)


def test_rigifys_face_gives_all_five_points_with_the_pupils_and_the_corners_at_the_ends_of_their_bones():
    face = find_joints(RIGIFY).face
    assert set(face) == set(FACE_POINTS)
    assert (face["left_eye"], face["right_mouth"]) == (Spot("eye.L", 1.0), Spot("lip.T.R.001", 1.0))


def test_the_order_of_bones_does_not_matter():
    assert find_joints(reversed(UNREAL)) == find_joints(UNREAL)


@pytest.mark.parametrize(
    "names", [[], ["Bone"], ["root", "wheel_l", "wheel_r"], ["head", "eye_l", "eye_r"], ["Head", "LeftLeg", "RightLeg"][:1]]
)
def test_what_is_no_human_has_no_joints(names: list[str]):
    assert find_joints(names).found == ()
    assert find_joints(names).sentence == "0/18"


def test_half_a_person_is_found_by_half():
    found = find_joints([name for name in UNREAL if name.endswith("_l")])
    assert found.found == ("left_shoulder", "left_elbow", "left_wrist", "left_hip", "left_knee", "left_ankle")


def test_what_was_put_right_by_hand_goes_first():
    by_hand = {"right_wrist": Spot("ik_hand_r", 0.5), "nose": Spot("head", 1.0), "left_ankle": None}
    found = find_joints(UNREAL, by_hand)
    assert found.spots["right_wrist"] == Spot("ik_hand_r", 0.5)
    assert "nose" in found.found
    assert "left_ankle" not in found.found
    assert "left_ankle" not in found.missing
    assert found.face["nose"] == Spot("head", 1.0)


def test_a_neck_left_out_by_hand_is_left_out():
    assert "neck" not in find_joints(UNREAL, {"neck": None}).found


def test_a_correction_whose_bone_is_gone_is_passed_over():
    assert find_joints(UNREAL, {"right_wrist": Spot("gone")}) == find_joints(UNREAL)


def test_corrections_are_kept_as_text_and_read_again():
    by_hand = {"right_wrist": Spot("hand ÿ|:\"'.001", 0.25), "left_ear": None, "left_mouth": Spot("lip", 1.0)}
    assert corrections_from_text(corrections_to_text(by_hand)) == by_hand
    assert corrections_from_text("") == {}


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        "3",
        '{"tail": null}',
        '{"nose": ["a"]}',
        '{"nose": [3, 0]}',
        '{"nose": ["a", 2]}',
        '{"nose": ["a", NaN]}',
        '{"nose": "ab"}',
    ],
)
def test_corrections_that_others_wrote_are_refused_with_a_sentence(text: str):
    with pytest.raises(InvalidRequest, match="likeness_joints"):
        corrections_from_text(text)


@pytest.mark.parametrize("path", sorted((ROOT / "plugin_blender").glob("*.py")), ids=lambda path: path.stem)
def test_only_the_scene_and_the_panels_know_blender(path: Path):
    """`scene…`, `ui…`, and the three that hold settings, small pictures and functions: everything else is tested without Blender."""
    words = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    modules = {name for node in words if isinstance(node, ast.Import) for name in (alias.name for alias in node.names)}
    words = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    modules |= {node.module or "" for node in words if isinstance(node, ast.ImportFrom) and not node.level}
    blender = {name for name in modules if name.split(".")[0] in {"bpy", "mathutils", "bpy_extras", "gpu", "bmesh"}}
    assert not blender or path.stem.split("_")[0] in {"scene", "ui", "settings", "thumbnails", "scripting"}


def test_the_package_is_imported_without_blender_and_brings_its_own_contract():
    """Every extension shares one interpreter: a module called `protocol` would be another one's."""
    lines = (
        "import sys, plugin_blender as ours, plugin_blender.presenter, plugin_blender.protocol.errors",
        "assert 'bpy' not in sys.modules and 'numpy' not in sys.modules",
        "assert 'protocol' not in sys.modules",
        "print(ours.bl_info['blender'])",
    )
    done = subprocess.run([sys.executable, "-c", "\n".join(lines)], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, "(4, 2, 0)"), done.stderr
