"""What can be asked of the backend, as frozen dataclasses. Pictures are `Plane`s; the codec lifts them into raw frames.

The bound of each field is in its type (`limits`); the codec refuses what is outside, `checks` parts that do not fit each other, and the
engine what the model cannot do, all with `InvalidRequest` or an error below it. Making one of these checks nothing.
"""

from __future__ import annotations

from dataclasses import field
from enum import Enum
from typing import Annotated, TypeAlias

from .frozen import frozen
from .geometry import Extent, Point
from .limits import (
    BLOCKS,
    COUNT,
    EMBEDDING_DIGITS,
    LORAS,
    PHOTOS,
    RECOGNISERS,
    SUBJECTS,
    Between,
    Fraction,
    Hex,
    Items,
    Name,
    Prompt,
    Seed,
    Sentence,
    Text,
    Weight,
)
from .planes import Plane
from .weights import STEADY as STEADY
from .weights import BlockWeight as BlockWeight
from .weights import Course as Course
from .weights import Lora as Lora
from .weights import Mark as Mark
from .weights import Schedule as Schedule

FaceIndex = Annotated[int, Between(0, 127)]
"""0 is the largest face of a photo."""


@frozen
class Window:
    """The part of the sampling steps in which something acts, as fractions of all steps: 0 <= start < end <= 1."""

    start: Fraction = 0.0
    end: Fraction = 1.0


class Lends(Enum):
    """What an image prompt lends to the picture (InstantStyle's names for SDXL blocks)."""

    ALL = "all"
    STYLE = "style"
    COMPOSITION = "composition"
    STYLE_AND_COMPOSITION = "style-and-composition"
    FACE = "face"


class Crop(Enum):
    """Which part of a picture an image encoder sees; it takes squares only."""

    SQUASH = "squash"
    """All of it, squeezed into the square."""
    CENTRE = "centre"
    TOP = "top"
    """The square at the top (of a lying picture, in the middle): where portraits have the head."""
    PAD = "pad"
    """All of it in its proportions, its edges drawn out to the square."""
    FACE = "face"
    """The square around the largest face."""


class GuideKind(Enum):
    """What a guide picture shows."""

    KEYPOINTS = "keypoints"
    SKELETON = "skeleton"
    DEPTH = "depth"
    NORMALS = "normals"
    EDGES = "edges"
    LINES = "lines"
    SOFT_EDGES = "soft-edges"
    """Soft outlines, or a scribble."""
    SEGMENTS = "segments"
    """A colour for each kind of thing, as in ADE20K."""
    TILE = "tile"
    """A picture whose composition is kept while its details are drawn anew; without a picture, the canvas."""
    INPAINT = "inpaint"
    """A picture that is black where it is to be filled; without a picture, the canvas and its mask."""


LATER_GUIDES = frozenset({GuideKind.SOFT_EDGES, GuideKind.SEGMENTS, GuideKind.TILE, GuideKind.INPAINT})
"""Kinds of version 1.3."""
CANVAS_GUIDES = frozenset({GuideKind.TILE, GuideKind.INPAINT})
"""Kinds that can be made of the canvas."""


@frozen
class Photos:
    """A person given by 1 to 16 photos in colour, of any sizes. Where one shows several, `face` chooses by index; None: the largest."""

    pictures: Annotated[tuple[Plane, ...], Items(PHOTOS, least=1)]
    face: FaceIndex | None = None


@frozen
class Character:
    """A person saved in the backend under a name."""

    name: Name


@frozen
class Embedding:
    """A person given by what the recogniser reads of them: 512 raw numbers, not normalised, as little-endian float32 in hexadecimal.

    `keypoints` is where the face was in a photo of `extent`; it goes to the same place of the picture when nothing else says where.
    """

    numbers: Annotated[str, Hex(EMBEDDING_DIGITS)]
    keypoints: Annotated[tuple[Point, ...], Items(5, least=5)]
    extent: Extent
    recogniser: Annotated[str, Text(64)] = ""
    """sha256 of the recogniser's ONNX file, so that a model of another one refuses the numbers; empty when it is not known."""


@frozen
class Reading:
    """What one recogniser reads of a person; `sha256` is of its ONNX file, since embeddings of two recognisers have nothing in common.

    `numbers` (A8, 2048 wide) has rows of 512 little-endian float32, raw and not normalised: first the person's own embedding, then one row
    per photo. `keypoints` are five points per photo, in pixels of the photo, which has the size in `extents`. A blend has one such row.
    """

    recogniser: Name
    sha256: Annotated[str, Hex(64)]
    numbers: Plane
    keypoints: Annotated[tuple[Point, ...], Items(5 * PHOTOS, least=5)]
    extents: Annotated[tuple[Extent, ...], Items(PHOTOS, least=1)]


@frozen
class About:
    """What somebody noted of a character for whoever is given it: what the person agreed to, and under which licence it may be used."""

    consent: Sentence = ""
    licence: Sentence = ""


@frozen
class Subject:
    """One person in the picture (InstantID): who, how strongly, where.

    `adapter` is the scale of the image adapter's cross-attention, `identity_net` IdentityNet's conditioning scale; each 0 to 2, with
    its own window and its own schedule within it. `region` (A8, the size of the picture) keeps the person to a part of the picture.
    Of several people, those without a region get one of their own around their face, so that nobody blends with another.
    """

    who: Photos | Character | Embedding
    adapter: Weight = 0.8
    identity_net: Weight = 0.8
    adapter_window: Window = Window()
    identity_net_window: Window = Window()
    region: Plane | None = None
    adapter_schedule: Schedule = STEADY
    identity_net_schedule: Schedule = STEADY


@frozen
class ImagePrompt:
    """A picture as a prompt (IP-Adapter), of any size. `adapter` names one of the model's adapters, or None for its first.

    `weight` is the scale of its cross-attention, 0 to 2, within `window` and after `schedule`; `region` (A8, the size of the picture that
    is asked for) keeps it to a part.

    A FaceID adapter may be given the person by `who` instead of a picture. FaceID-Plus looks at the face too: in `reference` when both are
    given, else in the person's first photo.

    `blocks` weigh single blocks of the UNet, as factors of `weight`; the others count `other_blocks` times (0 for these blocks only).
    `negative` is a picture of what is not wanted: it takes the place of the empty picture in the unconditional half, with the same `crop`.
    """

    reference: Plane | None = None
    weight: Weight = 0.6
    lends: Lends = Lends.ALL
    adapter: Name | None = None
    window: Window = Window()
    region: Plane | None = None
    who: Photos | Character | Embedding | None = None
    crop: Crop = Crop.SQUASH
    schedule: Schedule = STEADY
    blocks: Annotated[tuple[BlockWeight, ...], Items(BLOCKS)] = ()
    other_blocks: Weight = 1.0
    negative: Plane | None = None


@frozen
class Guide:
    """A ControlNet's picture: pose, depth, edges; in colour, of the size of the picture that is asked for. `weight` is its conditioning
    scale, 0 to 2. Keypoints may come as five points instead (viewer's left eye, right eye, nose, left and right corner of the mouth, in
    pixels of that picture) and then place a subject's face: those of the first such guide the first one's, and so on.
    """

    kind: GuideKind
    picture: Plane | None = None
    keypoints: Annotated[tuple[Point, ...], Items(5)] = ()
    weight: Weight = 0.5
    window: Window = Window()


@frozen
class Canvas:
    """The picture to start from. Without a mask: image-to-image; with one (A8, same size): inpaint, outside it not one byte changes.

    `strength`, above 0 and up to 1, is how much changes. `feather`, 0 to 1024 canvas pixels, is how softly the new goes over into the old
    inside the mask; `grow`, -1024 to 1024 pixels, by how much more than the mask (less below 0) is drawn anew, of which only the mask's
    part is shown. None leaves them to the backend.
    """

    picture: Plane
    mask: Plane | None = None
    strength: Fraction = 1.0
    feather: Annotated[int, Between(0, 1024)] | None = None
    grow: Annotated[int, Between(-1024, 1024)] | None = None


class Shortcut(Enum):
    """A way to be quicker that changes the picture, and so is only taken when a job names it (`backend.pipelines.quick`)."""

    FEW_STEPS = "few-steps"
    """The model's few-step LoRA if it has one, without guidance; else fewer steps of a scheduler that bears them. Where the job says
    nothing of steps, guidance and scheduler."""
    GUIDANCE_INTERVAL = "guidance-interval"
    """The unconditional half in a part of the steps only (Kynkäänniemi et al., arXiv:2404.07724)."""
    CONDITIONAL_IDENTITY = "conditional-identity"
    """IdentityNet for the conditional half only."""
    SMALL = "small"
    """Drawn at five eighths of the model's own sizes, and scaled to what was asked for; only by models that were trained on many sizes."""
    FEATURE_REUSE = "feature-reuse"
    """What the inner blocks of the UNet and the ControlNets say counts for two steps (DeepCache, Ma et al., arXiv:2312.00858)."""


@frozen
class Sampling:
    """How to sample. None means the model's own default."""

    steps: Annotated[int, Between(1, 1000)] | None = None
    guidance_scale: Annotated[float, Between(0.0, 100.0)] | None = None
    scheduler: Name | None = None
    seed: Seed = 0
    guidance_rescale: Fraction | None = None
    """How far the contrast of guidance is brought back to that of the text alone (Lin et al., arXiv:2305.08891, section 3.4): 0 not at all,
    0.7 is usual for models trained on v-prediction."""
    tiled: bool | None = None
    """Whether the VAE works in tiles; None: where the picture is large for the device."""
    shortcuts: Annotated[tuple[Shortcut, ...], Items(8)] = ()
    clip_skip: Annotated[int, Between(1, 12)] | None = None
    """Which of the text encoders' layers is read, counted from the end as A1111 does: 1 the last, 2 the one before (also SDXL's 1)."""


@frozen
class SecondPass:
    """The picture once more at `scale` times its sides, from the first one made larger, with the same people: `strength` of it changes, in
    `steps` (None: as the first). With a mask the size of the canvas stays, and its part is drawn finer.
    """

    scale: Annotated[float, Between(1.0, 4.0)] = 2.0
    strength: Fraction = 0.3
    steps: Annotated[int, Between(1, 1000)] | None = None


@frozen
class FacePass:
    """Small faces once more, each at the model's own size, with the identity of its person, laid back softly.

    A face is small when its head is lower than `threshold` times the shorter side of what the model draws best. `strength` of it changes,
    in `steps` (None: as the picture). Outside the heads not one byte changes.
    """

    strength: Fraction = 0.7
    threshold: Fraction = 0.4
    steps: Annotated[int, Between(1, 1000)] | None = None


@frozen
class PictureJob:
    """One request for `count` pictures. Every optional part combines with every other. Picture i uses seed `sampling.seed + i`."""

    prompt: Prompt = ""
    negative: Prompt | None = None
    """None means the model's own default negative prompt."""
    extent: Extent | None = None
    """Size of the result; None means the canvas's, else the model's own, with several people (and no regions or guides) a wide one."""
    model: Name | None = None
    canvas: Canvas | None = None
    subjects: Annotated[tuple[Subject, ...], Items(SUBJECTS)] = ()
    image_prompts: Annotated[tuple[ImagePrompt, ...], Items(SUBJECTS)] = ()
    guides: Annotated[tuple[Guide, ...], Items(SUBJECTS)] = ()
    sampling: Sampling = field(default_factory=Sampling)
    count: Annotated[int, Between(1, COUNT)] = 1
    preview_every: Annotated[int, Between(0, 1000)] = 4
    """Steps between two previews; 0 for none."""
    second_pass: SecondPass | None = None
    face_pass: FacePass | None = None
    loras: Annotated[tuple[Lora, ...], Items(LORAS)] = ()


@frozen
class AnalyseFaces:
    """Find the faces of a picture: boxes, keypoints, scores, and how alike each is to `character` when one is named."""

    picture: Plane
    character: Name | None = None
    model: Name | None = None


@frozen
class Share:
    """One character's part in a blend."""

    character: Name
    weight: Weight = 1.0


@frozen
class Embed:
    """Read who one or more photos show, without saving anybody; for a recipe that is to make the same picture once more.

    Instead of photos, `shares` are saved characters: one as it is, or what lies between several. `adapter` names the image adapter whose
    recogniser reads; None is InstantID's.
    """

    photos: Annotated[tuple[Plane, ...], Items(PHOTOS)] = ()
    face: FaceIndex | None = None
    model: Name | None = None
    shares: Annotated[tuple[Share, ...], Items(SUBJECTS)] = ()
    adapter: Name | None = None


@frozen
class MakeCharacter:
    """Save a person under a name, from one or more photos. `face` chooses one face by index (largest first) in photos that show several.

    Without `replace`, a name that is taken is refused with `NameTaken`.
    """

    name: Name
    photos: Annotated[tuple[Plane, ...], Items(PHOTOS, least=1)]
    face: FaceIndex | None = None
    replace: bool = False
    model: Name | None = None


@frozen
class BlendCharacters:
    """Save a person who is a weighted mean of others' embeddings. At least one weight is above 0. Each of `photos` counts as one more
    person of weight 1."""

    name: Name
    shares: Annotated[tuple[Share, ...], Items(SUBJECTS, least=1)]
    replace: bool = False
    model: Name | None = None
    photos: Annotated[tuple[Plane, ...], Items(PHOTOS)] = ()


@frozen
class ImportCharacter:
    """Save a person of a character file: by the readings, and by the photos when the file has them.

    Photos are read anew by `model` when none of the readings is of its recognisers; without photos this is refused. `scores` are the
    detector's, one per photo that the person was made from.
    """

    name: Name
    thumbnail: Plane
    readings: Annotated[tuple[Reading, ...], Items(RECOGNISERS)] = ()
    photos: Annotated[tuple[Plane, ...], Items(PHOTOS)] = ()
    scores: Annotated[tuple[Fraction, ...], Items(PHOTOS)] = ()
    about: About = About()
    replace: bool = False
    model: Name | None = None


Job: TypeAlias = PictureJob | AnalyseFaces | Embed | MakeCharacter | BlendCharacters | ImportCharacter
"""Everything that is queued and needs a worker."""
