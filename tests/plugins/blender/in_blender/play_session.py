"""A whole session with a real backend that paints one colour per seed: every button, and what may happen to the scene meanwhile."""

import contextlib
import json
import subprocess

import bpy
import numpy as np
import stage

STATE = stage.FOLDER / "state"
STATE.mkdir(mode=0o700)
stage.os.environ["LIKENESS_STATE"] = str(STATE)
stage.empty()

import everything
import portrait as studio
import recorder

import plugin_blender
from plugin_blender import scripting, ui
from plugin_blender.scene_pictures import plane_of_image
from plugin_blender.wish import GuideKind, Kind

told = {}
program = stage.ROOT / "tests" / "fakes" / "blender_backend.py"
backend = subprocess.Popen([stage.os.environ["LIKENESS_TEST_PYTHON"], str(program), str(STATE)])


def a_scene():
    """A head with a rig whose bones are named as in Unreal, animated; a camera, and a second one at its side."""
    stage.empty()
    head = studio.head(segments=32, rings=24)
    head.location.z = 1.65
    rig = stage.linked("Rig", bpy.data.armatures.new("Rig"))
    bpy.context.view_layer.objects.active = rig
    bpy.ops.object.mode_set(mode="EDIT")
    stage.bone(rig, "head", (0, 0, 1.58), (0, 0, 1.77))
    for name, start, end in (("upperarm", (0.17, 0, 1.42), (0.42, 0, 1.3)), ("thigh", (0.09, 0, 0.95), (0.09, 0, 0.5))):
        for side, sign in (("_l", 1), ("_r", -1)):
            stage.bone(rig, name + side, (sign * start[0], *start[1:]), (sign * end[0], *end[1:]))
    bpy.ops.object.mode_set(mode="OBJECT")
    pose = rig.pose.bones["head"]
    pose.rotation_mode = "XYZ"
    for frame, turn in ((1, 0.0), (21, 0.6)):
        pose.rotation_euler = (0, turn, 0)
        pose.keyframe_insert("rotation_euler", frame=frame)
    bpy.context.scene.frame_set(1)
    with bpy.context.temp_override(active_object=head, selected_objects=[head], selected_editable_objects=[head]):
        head.parent, head.parent_type, head.parent_bone = rig, "BONE", "head"
    bpy.context.view_layer.update()
    head.matrix_world = bpy.context.scene.objects["Head"].matrix_world.Translation((0, 0, 1.65))
    camera = stage.camera((0, -1.2, 1.64), 64, 64, lens=85)
    side = stage.linked("Side", camera.data)
    side.location, side.rotation_euler = (0.85, -0.85, 1.64), (np.pi / 2, 0, np.pi / 4)
    settings = bpy.context.scene.likeness
    settings.rig, settings.head, settings.count, settings.seed, settings.seed_locked = rig, head, 1, 50, True
    settings.use_normals = True
    bpy.ops.object.select_all(action="DESELECT")
    return rig, head


def presenter():
    return bpy.types.WindowManager.likeness_session.presenter


def until(done):
    scripting._until(done, 120)


plugin_blender.register()
rig, head = a_scene()
until(lambda: presenter().connected and presenter().models)

# One portrait from the button: the seed is the panel's, and the scene is as it was.
settings = bpy.context.scene.likeness
before = everything.lines()
answer = bpy.ops.likeness.portrait(wait=True)
told["untouched"] = sorted(set(everything.lines()) ^ set(before))
told["left out"] = presenter().notice
first = presenter().results[0]
told["portrait"] = [sorted(answer), first.width, first.height, first.seed, first.shot, bool(first.camera)]

# The function for scripts: values stand for the panel's.
made = scripting.portrait(seed=7, count=3, prompt="a pilot")
told["script"] = [[one.seed for one in made], made[0].wish.prompt, settings.prompt, [one.similarity for one in made]]
settings.seed_locked = False
bpy.ops.likeness.portrait(wait=True)
told["random seed"] = [presenter().results[0].seed != 50, settings.seed == presenter().results[0].seed]
settings.seed, settings.seed_locked = 50, True

# What is sent are maps of the moment of pressing: the artist poses on, renames and deletes while the job waits.
asked = []
real_ask = presenter().ask
presenter().ask = lambda wish, shots: (asked.extend(shots), real_ask(wish, shots))[1]
settings.character = ""
bpy.ops.likeness.portrait()
rig.pose.bones["head"].rotation_euler = (0, 1.2, 0)
stage.depsgraph()
bpy.ops.likeness.portrait()
kinds = [{kind: bytes(plane.data) for kind, plane in shot.maps.items()} for shot in asked]
told["moment"] = [len(kinds), kinds[0].keys() == kinds[1].keys(), [kind.value for kind in kinds[0] if kinds[0][kind] == kinds[1][kind]]]
until(lambda: presenter().progress is None)

# A batch over frames: another frame in each, and the pose without a key is still there.
settings.first, settings.last, settings.step = 1, 21, 10
asked.clear()
before = everything.lines()
batch = scripting.portrait(batch="FRAMES", seed=9)
told["batch untouched"] = sorted(set(everything.lines()) ^ set(before))
told["batch"] = [sorted(one.shot for one in batch), sorted({one.seed for one in batch}), bpy.context.scene.frame_current]
depths = [bytes(shot.maps[GuideKind.DEPTH].data) for shot in asked]
told["batch depths"] = [len(depths), len(set(depths))]
told["unkeyed pose"] = round(rig.pose.bones["head"].rotation_euler.y, 4)
marker = bpy.context.scene.timeline_markers.new("profile", frame=21)
marker.camera = bpy.data.objects["Side"]
told["markers"] = [one.shot for one in scripting.portrait(batch="MARKERS", seed=9)]
bpy.context.scene.timeline_markers.clear()
told["cameras"] = sorted(one.shot for one in scripting.portrait(batch="CAMERAS", seed=9))

# A texture from two cameras while the head is renamed and turned; then each picture goes where it was seen.
bpy.context.view_layer.objects.active = head
head.select_set(True)
pictures = scripting.texture(batch="CAMERAS", seed=3, wait=False)
head.name = "Renamed"
until(lambda: presenter().progress is None)
targets = {target.name for one in presenter().results[:2] for target in one.targets}
told["texture"] = [sorted(one.shot for one in presenter().results if one.wish.kind is Kind.TEXTURE), targets == {"Head"}]
texture = presenter().results[0]
bpy.ops.ed.undo_push(message="before")
layers = len(head.data.uv_layers)
bpy.ops.likeness.project(key=texture.key, whole_press=True)
told["projected"] = len(bpy.data.objects["Renamed"].data.uv_layers) - layers
was = head.data.uv_layers.keys()
bpy.ops.likeness.unproject()
told["unprojected"] = [len(was) - len(head.data.uv_layers), head.data.uv_layers.keys() == was[:layers]]
try:
    bpy.ops.likeness.unproject()
except RuntimeError as error:
    told["nothing projected"] = str(error)
bpy.ops.likeness.project(key=texture.key, whole_press=True)
baked = bpy.ops.likeness.bake(size=64, use=True)
told["baked"] = [sorted(baked), [list(image.size) for image in bpy.data.images if "texture" in image.name]]

# One apply is one step of undo, for the card as for the projection.
bpy.ops.ed.undo_push(message="before the card")
objects = len(bpy.data.objects)
bpy.ops.likeness.card(key=first.key)
with_card = len(bpy.data.objects)
bpy.ops.ed.undo_push(message="after the card")
bpy.ops.ed.undo()
without = len(bpy.data.objects)
told["undo"] = [objects, with_card, without]
told["undone results"] = len(presenter().results) == len({one.key for one in presenter().results}) and first.path.is_file()
bpy.ops.likeness.card(key=first.key)
card = next(one for one in bpy.data.objects if "likeness_card" in one)
told["card size"] = [round(side, 3) for side in card.dimensions]
head, rig = bpy.data.objects["Renamed"], bpy.data.objects["Rig"]

# Undo while a job runs gives every object another place in memory; the picture finds its mesh all the same.
bpy.ops.object.select_all(action="DESELECT")
head.select_set(True)
bpy.ops.ed.undo_push(message="before a change")
rig.location.x = 0.01
bpy.ops.ed.undo_push(message="after the change")
scripting.texture(seed=6, wait=False)
bpy.ops.ed.undo()
until(lambda: presenter().progress is None)
head, rig = bpy.data.objects["Renamed"], bpy.data.objects["Rig"]
layers = len(head.data.uv_layers)
bpy.ops.likeness.project(key=presenter().results[0].key)
told["undone meanwhile"] = [round(rig.location.x, 3), presenter().results[0].seed, len(head.data.uv_layers) - layers]

# A job whose objects are deleted, in a file that is closed, still ends; its picture says that they are gone.
settings = bpy.context.scene.likeness
bpy.ops.object.select_all(action="DESELECT")
head.select_set(True)
scripting.texture(seed=4, wait=False)
bpy.data.objects.remove(head)
until(lambda: presenter().progress is None)
orphan = presenter().results[0]
try:
    bpy.ops.likeness.project(key=orphan.key)
except RuntimeError as error:
    told["gone"] = str(error)

# A render, repainted where the head is.
rig, head = a_scene()
settings = bpy.context.scene.likeness
studio.plain()
bpy.context.scene.render.film_transparent = False
studio.shining(head)
stage.depsgraph()
settings.source, settings.area, settings.grow = "FRESH", "HEAD", 0
asked.clear()
repainted = scripting.repaint(seed=12)[0]
mask = np.frombuffer(asked[0].mask.data, np.uint8).reshape(64, 64)
rendered = np.frombuffer(asked[0].picture.data, np.uint8).reshape(64, 64, -1)[..., :3]
bpy.ops.likeness.open(key=repainted.key)
image = next(one for one in bpy.data.images if one.get("likeness_job") == repainted.key)
result = studio.pixels_of(image)[..., :3]
told["repaint"] = [int(mask.sum() > 0), bool((mask == 0).any()), bool((result[mask == 0] == rendered[mask == 0]).all())]
told["repaint changed"] = float((result[mask > 0] != rendered[mask > 0]).any(axis=1).mean())
settings.source = "IMAGE"
try:
    bpy.ops.likeness.repaint()
except RuntimeError as error:
    told["no image"] = str(error)

# Saved, its settings taken again, thrown away.
bpy.ops.likeness.save(key=made[0].key, filepath=str(stage.FOLDER / "saved"))
told["saved"] = (stage.FOLDER / "saved.png").read_bytes() == made[0].path.read_bytes()
bpy.ops.likeness.reuse(key=made[0].key)
told["reused"] = [settings.prompt, settings.seed, settings.seed_locked]
count = len(presenter().results)
bpy.ops.likeness.discard(key=made[0].key)
told["discarded"] = [count - len(presenter().results), made[0].path.exists()]

# Cancelling, and what the panel shows while something is under way.
for _ in range(3):
    bpy.ops.likeness.portrait(prompt="hold=cancelled", count=2)
until(lambda: presenter().progress is not None and presenter().progress.words != "sent")
panels = recorder.drawn(ui.CLASSES)
told["panel"] = panels["LIKENESS_PT_backend"] + panels["LIKENESS_PT_prompt"]
until(lambda: presenter().progress is None or not bpy.ops.likeness.cancel() or presenter().progress is None)
told["results panel"] = recorder.drawn(ui.CLASSES)["LIKENESS_PT_results"][:8]

# A failure is a sentence.
try:
    scripting.character("Nobody", [str(made[1].path)])
except Exception as error:
    told["no face"] = str(error)
told["photo"] = [plane_of_image(image).extent.width]

plugin_blender.unregister()
backend.terminate()
with contextlib.suppress(subprocess.TimeoutExpired):
    backend.wait(120)
backend.kill()
stage.answer(told=json.loads(json.dumps(told)))
