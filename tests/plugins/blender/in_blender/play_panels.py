"""The add-on is switched on, off and on; its panels as they are drawn without a backend, with a rig, after new files; nothing is left."""

import bpy
import stage

STATE = stage.FOLDER / "state"
stage.os.environ["LIKENESS_STATE"] = str(STATE)
stage.os.environ["PATH"] = ""  # no backend is installed here
stage.os.environ.pop("LIKENESS_COMMAND", None)
stage.empty()

import recorder

import plugin_blender
from plugin_blender import ui


def ours():
    kinds = (bpy.types.Operator, bpy.types.Panel, bpy.types.Menu, bpy.types.PropertyGroup, bpy.types.AddonPreferences)
    found = sorted(
        cls.__name__ for kind in kinds for cls in kind.__subclasses__() if cls.is_registered and "ikeness" in cls.__name__.lower()
    )
    return {
        "classes": found,
        "properties": [hasattr(bpy.types.Scene, "likeness"), hasattr(bpy.types.WindowManager, "likeness_session")],
    }


plugin_blender.register()
timer = bpy.types.WindowManager.likeness_timer
on, ticking = ours(), bpy.app.timers.is_registered(timer)
plugin_blender.unregister()
off, silent = ours(), not bpy.app.timers.is_registered(timer)
plugin_blender.register()
again = ours()

session = bpy.types.WindowManager.likeness_session
opened_by_registering = session.is_open
presenter = session.presenter
for _ in range(3):
    presenter.tick()
empty = recorder.drawn(ui.CLASSES)

rig = stage.metarig()
stage.camera((0, -3, 1.6), 128, 128, lens=85)
settings = bpy.context.scene.likeness
settings.rig, settings.character, settings.size, settings.batch, settings.source, settings.area = (
    rig,
    "Ada",
    "CUSTOM",
    "FRAMES",
    "IMAGE",
    "HEAD",
)
stage.depsgraph()
with_rig = recorder.drawn(ui.CLASSES)

before = [image.name for image in bpy.data.images]
answer = bpy.ops.likeness.preview_maps()
previewed = sorted(image.name for image in bpy.data.images if image.name not in before)
bpy.ops.likeness.preview_maps()
with_previews = all(image.preview is not None for image in bpy.data.images if "likeness_map" in image)
previewed_again = sorted(image.name for image in bpy.data.images if image.name not in before)

refused = {}
for name, act in {
    "no bone": lambda: bpy.ops.likeness.joint(part="nose", bone="gone"),
    "no backend": lambda: bpy.ops.likeness.backend_start(),
}.items():
    try:
        act()
    except Exception as error:
        refused[name] = str(error)

bpy.ops.likeness.joint(part="left_ear", left_out=True)
corrected = [line for line in recorder.drawn(ui.CLASSES)["LIKENESS_PT_rig"] if "17/18" in line]

# Face points by ray: from the camera onto a head that hangs on the rig's head bone; then taken away again.
bpy.ops.mesh.primitive_uv_sphere_add(radius=0.12, location=(0, 0, 1.75))
settings.head = bpy.context.object
for part, x in (("right_eye", -0.03), ("left_eye", 0.03), ("nose", 0.0), ("right_mouth", -0.02), ("left_mouth", 0.02)):
    bpy.ops.likeness.place_point(part=part, begin=(x, -3, 1.75), way=(0, 1, 0))
stage.depsgraph()
placed = {
    name: [round(number, 3) for number in bpy.data.objects[name].matrix_world.translation] for name in ("likeness_eye.R", "likeness_nose")
}
with_points = [line for line in recorder.drawn(ui.CLASSES)["LIKENESS_PT_rig"] if "Face" in line or "remove_points" in line]
bpy.ops.likeness.remove_points()
without_points = [one.name for one in bpy.data.objects if one.name.startswith("likeness_")]

# Settings are in the file, and a new file has the defaults; the session goes on.
file = str(stage.FOLDER / "kept.blend")
settings.prompt = "a pilot"
bpy.ops.wm.save_as_mainfile(filepath=file)
bpy.ops.wm.read_homefile(use_empty=True, use_factory_startup=True)
fresh = bpy.context.scene.likeness.prompt
bpy.ops.wm.open_mainfile(filepath=file)
kept = bpy.context.scene.likeness.prompt
same_session = bpy.types.WindowManager.likeness_session is session
ui.rename_everywhere("Ada", "Berta")
renamed = bpy.context.scene.likeness.character

# The rig is deleted from the scene while the panel still names it.
bpy.data.objects.remove(bpy.context.scene.likeness.rig)
after_deleting = recorder.drawn(ui.CLASSES)["LIKENESS_PT_rig"]
next_beat = bpy.types.WindowManager.likeness_timer()
plugin_blender.unregister()
stage.answer(
    on=on,
    off=off,
    again=again,
    with_previews=with_previews,
    ticking=ticking,
    silent=silent,
    opened_by_registering=opened_by_registering,
    empty=empty,
    with_rig=with_rig,
    answer=sorted(answer),
    previewed=previewed,
    previewed_again=previewed_again,
    refused=refused,
    corrected=corrected,
    placed=placed,
    with_points=with_points,
    without_points=without_points,
    fresh=fresh,
    kept=kept,
    same_session=same_session,
    renamed=renamed,
    after_deleting=after_deleting,
    next_beat=next_beat,
    state_made=STATE.exists(),
)
