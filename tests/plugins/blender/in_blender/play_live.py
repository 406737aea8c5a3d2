"""Live pictures with a real backend that paints one colour per seed: posed, undone, watched in other scenes, switched off, and let down."""

import contextlib
import itertools
import json
import subprocess
import time

import bpy
import numpy as np
import stage

STATE = stage.FOLDER / "state"
STATE.mkdir(mode=0o700)
stage.os.environ["LIKENESS_STATE"] = str(STATE)
stage.empty()

import portrait as studio
import recorder
from mannequin import a_person, turn
from plugin_blender.protocol.geometry import Extent
from plugin_blender.protocol.planes import Layout, Plane

import plugin_blender
from plugin_blender import scene_live, scripting, ui
from plugin_blender.scene import camera_of, figure_of
from plugin_blender.scene_memory import Memory
from plugin_blender.scene_pictures import LIVE, show_live
from plugin_blender.scene_shot import Setup

told = {}
TURNS = (0, 10, 25, -25, 40, -50, 90, 180)


def handlers():
    """How many there are of each kind."""
    kinds = (name for name in dir(bpy.app.handlers) if isinstance(getattr(bpy.app.handlers, name), list))
    return {name: len(getattr(bpy.app.handlers, name)) for name in kinds}


def presenter():
    return bpy.types.WindowManager.likeness_session.presenter


def beat():
    """What Blender's timer does."""
    return bpy.types.WindowManager.likeness_timer()


def until(done):
    end = time.monotonic() + 300
    while not done():
        assert time.monotonic() < end, (presenter().live.sentence, presenter().notice, presenter().backend)
        beat()
        presenter().wait(0.01)


def beats(count=30):
    for _ in range(count):
        beat()
        presenter().wait(0.002)


def settled(wanted=lambda: True):
    """Until nothing is under way, and what was asked for last is what is `wanted`."""
    until(lambda: not presenter().live.working and not presenter().live.reading and wanted())


def posed(rig, head):
    """Until what was asked for last is this pose, and drawn."""
    points = points_of_portrait(rig, head)
    settled(lambda: alike(points_of(jobs[-1][0]), points))


def looked(count):
    """Until it was looked again, without anything to be asked for."""
    settled(lambda: len(looks) > count)


def live_image():
    return [image for image in bpy.data.images if LIVE in image]


def points_of(job):
    return [[point.x, point.y] for guide in job.guides for point in guide.keypoints]


def points_of_portrait(rig, head=None):
    """Where the button "Portrait" would have them."""
    scene, graph = bpy.context.scene, stage.depsgraph()
    figure = figure_of(scene, graph, camera_of(scene, graph), rig, head)
    return [[point.x, point.y] for point in figure.keypoints]


def alike(some, others):
    """Five points each, but for the hundredths of a pixel to which live ones are rounded."""
    return len(some) == len(others) == 5 and np.abs(np.array(some) - np.array(others)).max() < 0.011


# The points of a live picture are those of any other, though no ray is cast once the head is known.
off = {}
for face in ("bone", "group", "empty", "estimate"):
    rig, head = a_person(face)
    memory, setup, scene = Memory(), Setup(armature=rig), bpy.context.scene
    for degrees in TURNS:
        graph = turn(rig, degrees)
        camera = camera_of(scene, graph)
        quick, slow = memory.figure(scene, graph, camera, setup, 0), figure_of(scene, graph, camera, rig)
        pairs = list(zip(quick.face, slow.face, strict=True)) + list(zip(quick.joints, slow.joints, strict=True))
        distance = max(abs(one.x - other.x) + abs(one.y - other.y) for one, other in pairs if one and other)
        off[f"{face} {degrees}"] = [distance, len(quick.keypoints), len(slow.keypoints), [one is None for one, _ in pairs]]
        assert [other is None for _, other in pairs] == off[f"{face} {degrees}"].pop()
told["off"] = off

# What a look costs where the head is heavy: 48,000 vertices that are moved by a bone and marked by groups.
rig, head = a_person("group")
dense = head.modifiers.new("Dense", "SUBSURF")
dense.subdivision_type, dense.levels = "SIMPLE", 2
bpy.context.view_layer.objects.active = head
bpy.ops.object.modifier_move_to_index(modifier="Dense", index=0)
bpy.ops.object.modifier_apply(modifier="Dense")
memory, setup = Memory(), Setup(armature=rig)
spent = {"live": [], "portrait": []}
for degrees in range(12):
    graph = turn(rig, degrees)
    camera = camera_of(bpy.context.scene, graph)
    start = time.thread_time()
    memory.figure(bpy.context.scene, graph, camera, setup, 0)
    looked_at = time.thread_time()
    spent["live"].append(looked_at - start)
    if degrees < 3:
        figure_of(bpy.context.scene, graph, camera, rig)
        spent["portrait"].append(time.thread_time() - looked_at)
told["vertices"] = len(head.evaluated_get(graph).data.vertices)
told["spent"] = {"live": sorted(spent["live"])[:-2], "portrait": sorted(spent["portrait"])}

# What it costs to show one.
start, shown = time.thread_time(), []
for level in (10, 20, 30, 40, 50):
    plane = Plane(Layout.RGB8, Extent(512, 512), bytes([level]) * (512 * 512 * 3))
    start = time.thread_time()
    image = show_live(plane)
    shown.append(time.thread_time() - start)
    assert (studio.pixels_of(image)[..., 0] == level).all(), level
told["show"] = sorted(shown)
told["image"] = [image.name, image.is_dirty, image.use_fake_user, image.users, len(live_image())]
bpy.data.images.remove(image)

# From here on with a backend.
program = stage.ROOT / "tests" / "fakes" / "blender_backend.py"
backend = subprocess.Popen([stage.os.environ["LIKENESS_TEST_PYTHON"], str(program), str(STATE)])
plugin_blender.register()
without = handlers()
rig, head = a_person("estimate")
scene = bpy.context.scene
scene.render.resolution_x, scene.render.resolution_y = 96, 64
settings = scene.likeness
settings.rig, settings.head, settings.seed, settings.use_depth, settings.prompt = rig, head, 50, False, "a pilot"
until(lambda: presenter().connected and presenter().models)
presenter()._is_known = lambda name: True
presenter().live._known = presenter()._is_known
settings.character = "Ada"

jobs, looks = [], []
client = presenter()._client
real_submit = client.submit


def submit(job, **how):
    jobs.append((job, how.get("live")))
    return real_submit(job, **how)


client.submit = submit
real_look = scene_live.SceneEyes.look
scene_live.SceneEyes.look = lambda self, kinds: (looks.append(kinds), real_look(self, kinds))[1]

# Without a window it is refused with a sentence; the rest of this scene switches it on behind the switch.
bpy.context.window_manager.likeness_live = True
told["refused"] = [presenter().notice, bpy.context.window_manager.likeness_live, handlers() == without]
try:
    scripting.live()
except Exception as error:
    told["refused script"] = str(error)
presenter().say("")

stage.depsgraph()
scene_live.follow(scene)
with_live = handlers()
told["handlers"] = {name: with_live[name] - without[name] for name in with_live if with_live[name] != without[name]}
told["switch"] = bpy.context.window_manager.likeness_live
told["beat"] = beat() <= ui.BUSY_S
until(lambda: presenter().live.picture)
beat()
[image] = live_image()
colour = studio.pixels_of(image)[0, 0].tolist()
told["points"] = bool(alike(points_of(jobs[0][0]), points_of_portrait(rig, head)))
told["first"] = [jobs[0][1] is not None, image.size[:] == (96, 64), image.name]
told["sampling"] = [jobs[0][0].sampling.seed, jobs[0][0].prompt, jobs[0][0].subjects[0].who.name, len(jobs[0][0].sampling.shortcuts)]

# A bone is moved: another job with the new points. Another seed: another colour in the same image.
count = len(jobs)
turn(rig, 20)
posed(rig, head)
told["moved"] = [len(jobs) - count, points_of(jobs[-1][0]) != points_of(jobs[0][0])]
scene.camera.location.x += 0.02
stage.depsgraph()
posed(rig, head)
told["camera"] = len(jobs) - count
settings.seed = 51
until(lambda: presenter().live.picture.seed == 51)
beat()
told["same image"] = [live_image() == [image], studio.pixels_of(image)[0, 0].tolist() != colour, image.is_dirty]

# Nothing moves: nothing is looked at. A lamp moves: looked at, and nothing is sent.
settled()
count, before = len(jobs), len(looks)
beats()
told["still"] = [len(jobs) - count, len(looks) - before]
lamp = stage.linked("Lamp", bpy.data.lights.new("Lamp", "POINT"))
for step in range(3):
    before = len(looks)
    lamp.location.x = step
    stage.depsgraph()
    looked(before)
told["lamp"] = len(jobs) - count

# Ten moves, quicker than anything can be drawn: few are asked for, and the last is.
count = len(jobs)
for degrees in range(10):
    turn(rig, degrees)
    beat()
posed(rig, head)
told["ten"] = [len(jobs) - count < 10, presenter().live.picture.number == len(jobs)]

# Undo: none of these pictures is a step of it, and the scene is followed through it.
bpy.ops.ed.undo_push(message="before")
bpy.context.scene.objects["Rig"].location.x = 0.01
bpy.ops.ed.undo_push(message="moved")
stage.depsgraph()
posed(bpy.data.objects["Rig"], bpy.data.objects["Sphere"])
beat()
bpy.ops.ed.undo()
rig, head, scene = bpy.data.objects["Rig"], bpy.data.objects["Sphere"], bpy.context.scene
stage.depsgraph()
told["undo"] = round(rig.location.x, 3)
count = len(jobs)
posed(rig, head)
beat()
told["undone"] = [len(jobs) > count, len(live_image())]
settings = scene.likeness

# An editor that shows nothing shows the next first picture, and undo to before the image was made does not leave it empty.
scene_live.leave()
for image in live_image():
    bpy.data.images.remove(image)
areas = bpy.context.window_manager.windows[0].screen.areas
areas[0].type = areas[1].type = "IMAGE_EDITOR"
space, busy = areas[0].spaces.active, areas[1].spaces.active
busy.image = bpy.data.images.new("The artist's own", 4, 4)
bpy.ops.ed.undo_push(message="without the image")
scene_live.follow(scene)
until(lambda: presenter().live.picture)
beat()
told["editor"] = [space.image == live_image()[0], space.image.users > 0]
bpy.ops.ed.undo_push(message="with the image")
bpy.ops.ed.undo()
told["editor"].append(bool(live_image()))
rig, head, scene = bpy.data.objects["Rig"], bpy.data.objects["Sphere"], bpy.context.scene
settings = scene.likeness
stage.depsgraph()
beat()
told["editor"].append(bool(live_image()) and space.image == live_image()[0])
told["another image"] = busy.image.name == "The artist's own"
areas[0].type = areas[1].type = "OUTLINER"
posed(rig, head)

# The artist deletes the image, and empties what is chosen.
for image in live_image():
    bpy.data.images.remove(image)
settings.seed = 52
until(lambda: presenter().live.picture and presenter().live.picture.seed == 52)
beat()
told["made anew"] = len(live_image())


poses = itertools.count(5)


def obstacle(words, act, mend):
    """What is said while something is in the way, and whether pictures go on once it is not any more."""
    act()
    stage.depsgraph()
    until(lambda: words in presenter().live.sentence)
    said, count = presenter().live.sentence, len(jobs)
    beats(10)
    quiet = len(jobs) == count
    mend()
    stage.depsgraph()
    until(lambda: not presenter().live.sentence)
    turn(rig, -next(poses))
    posed(rig, head)
    return [said, quiet]


camera = scene.camera
told["no camera"] = obstacle("no camera", lambda: setattr(scene, "camera", None), lambda: setattr(scene, "camera", camera))


def choose(which, what):
    settings.rig, settings.head = which, what


told["no rig"] = obstacle("no rig", lambda: choose(None, None), lambda: choose(rig, head))
other = bpy.data.scenes.new("Other")
told["other scene"] = obstacle(
    "No window shows", lambda: setattr(bpy.context.window, "scene", other), lambda: setattr(bpy.context.window, "scene", scene)
)
scene_live.follow(other)
beats(3)
told["elsewhere"] = recorder.drawn(ui.CLASSES)["LIKENESS_PT_live"]
try:
    bpy.ops.likeness.live_full()
except RuntimeError as error:
    told["elsewhere full"] = str(error)
bpy.data.scenes.remove(other)
until(lambda: "deleted" in presenter().live.sentence)
told["deleted scene"] = presenter().live.sentence
scene_live.follow(scene)
until(lambda: presenter().live.picture)
posed(rig, head)

# The panel, with a picture.
beat()
told["panel"] = recorder.drawn(ui.CLASSES)["LIKENESS_PT_live"]

# In full: an ordinary job with the same seed, all its steps, whatever the lock of the seed says; live pictures wait and go on.
settings.seed, settings.seed_locked, settings.count = 52, False, 4
settled(lambda: jobs[-1][0].sampling.seed == 52)
count, results = len(jobs), len(presenter().results)
answer = bpy.ops.likeness.live_full()
beats(3)
waiting = presenter().live.sentence
turn(rig, 33)
until(lambda: len(presenter().results) > results)
full = next(job for job, live in jobs[count:] if live is None)
told["full"] = [sorted(answer), presenter().results[0].seed, full.count, full.sampling.seed, len(full.sampling.shortcuts)]
told["full waits"] = [waiting, next(live is None for _, live in jobs[count:])]
posed(rig, head)
told["full size"] = [presenter().results[0].width, presenter().results[0].height]

# Saving the file does not keep a picture that nothing shows.
bpy.ops.wm.save_as_mainfile(filepath=str(stage.FOLDER / "kept.blend"), copy=True)
with bpy.data.libraries.load(str(stage.FOLDER / "kept.blend")) as (inside, _):
    told["kept"] = [name for name in inside.images if "Live" in name]

# Switched off with the panel's own property: no handler is left, nothing is looked at, the image stays.
bpy.context.window_manager.likeness_live = False
told["switched off"] = [handlers() == without, bpy.context.window_manager.likeness_live, len(live_image())]
before = len(looks)
turn(rig, 5)
beats()
told["off looks"] = len(looks) - before
told["idle"] = beat() == ui.IDLE_S

# Another file is opened, the backend is lost, the add-on is switched off: each while it is on.
scene_live.follow(bpy.context.scene)
settled()
bpy.ops.wm.read_homefile(use_empty=True, use_factory_startup=True)
told["another file"] = [handlers() == without, presenter().live.on]
rig, head = a_person("estimate")
settings = bpy.context.scene.likeness
settings.rig, settings.head = rig, head
told["still off"] = [handlers() == without, presenter().live.on]
scene_live.follow(bpy.context.scene)
until(lambda: presenter().live.picture)
backend.kill()
backend.wait(120)
until(lambda: "waits for the backend" in presenter().live.sentence)
told["lost"] = [presenter().live.sentence, presenter().live.on]
plugin_blender.unregister()
told["unregistered"] = [handlers() == without, hasattr(bpy.types.WindowManager, "likeness_live")]
with contextlib.suppress(subprocess.TimeoutExpired):
    backend.wait(120)
stage.answer(told=json.loads(json.dumps(told)))
