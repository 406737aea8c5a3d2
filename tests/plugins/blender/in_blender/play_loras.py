"""LoRAs in the panel: listed, added, weighed, taken out and asked for, with a real backend that paints one colour per seed."""

import subprocess

import bpy
import stage

STATE = stage.FOLDER / "state"
(STATE / "script").mkdir(mode=0o700, parents=True)
STATE.chmod(0o700)
stage.os.environ["LIKENESS_STATE"] = str(STATE)
stage.empty()

import recorder

import plugin_blender
from plugin_blender import scripting, ui
from plugin_blender.settings import wish_of
from plugin_blender.ui_loras import LIKENESS_PT_loras
from plugin_blender.wish import Kind, wish_from

for file in ("ink.lora", "oil.lora"):
    (STATE / "script" / file).touch()
program = stage.ROOT / "tests" / "fakes" / "blender_backend.py"
backend = subprocess.Popen([stage.os.environ["LIKENESS_TEST_PYTHON"], str(program), str(STATE)])
plugin_blender.register()
presenter = bpy.types.WindowManager.likeness_session.presenter
settings = bpy.context.scene.likeness


def seen():
    drawn = recorder.drawn(ui.CLASSES)
    return {"panel": drawn["LIKENESS_PT_loras"], "menu": drawn["LIKENESS_MT_loras"], "shown": LIKENESS_PT_loras.poll(bpy.context)}


def rows():
    return [[one.name, round(one.weight, 3)] for one in settings.loras]


nothing = seen()
scripting._until(lambda: presenter.models and presenter.models[0].loras, 300)
listed = seen()
bpy.ops.likeness.lora_add(name="ink")
bpy.ops.likeness.lora_add(name="oil")
bpy.ops.likeness.lora_add(name="INK")
settings.loras[0].weight = 0.5
added, added_rows = seen(), rows()
settings.lora_index = 1
bpy.ops.likeness.lora_remove()
removed, removed_rows = seen(), rows()

# What is asked for, remembered with the picture, and brought back.
submitted = []
client = presenter.state._errands.client
submit = client.submit
client.submit = lambda job, **more: submitted.append(job) or submit(job, **more)
stage.camera((0, -3, 1.6), 64, 64)
settings.size, settings.use_skeleton, settings.use_depth, settings.seed_locked = "RENDER", False, False, True
(made,) = scripting.portrait(count=1)
by_script = scripting.portrait(count=1, loras={"oil": 0.25})
asked = [[[one.name, round(one.weight, 3)] for one in job.loras] for job in submitted if hasattr(job, "loras")]
settings.loras.clear()
bpy.ops.likeness.reuse(key=made.key)
reused = rows()

# In the file, and one that is gone.
settings.loras.clear()
settings.loras.add().name = "watercolour"
file = str(stage.FOLDER / "kept.blend")
bpy.ops.wm.save_as_mainfile(filepath=file)
bpy.ops.wm.read_homefile(use_empty=True, use_factory_startup=True)
fresh = len(bpy.context.scene.likeness.loras)
bpy.ops.wm.open_mainfile(filepath=file)
settings = bpy.context.scene.likeness
kept, gone = rows(), seen()
wish = wish_of(settings, Kind.PORTRAIT)
survives = wish_from(wish.kept()) == wish
plugin_blender.unregister()
backend.kill()
backend.wait(60)
stage.answer(
    nothing=nothing,
    listed=listed,
    added=added,
    added_rows=added_rows,
    removed=removed,
    removed_rows=removed_rows,
    asked=asked,
    results=[len(by_script)],
    reused=reused,
    fresh=fresh,
    kept=kept,
    gone=gone,
    survives=survives,
)
