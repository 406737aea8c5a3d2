"""The loss of likeness: who is in the picture that a guess of the noise amounts to, with a gradient; and training that goes on."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, DDPMScheduler
from torch import Tensor

from backend.training import base, instantid, loop
from backend.training.adapters import read_embeddings
from backend.training.asked import AskedLoss
from backend.training.budget import Budget
from backend.training.crops import crop
from backend.training.judge import Judge, JudgeNet, parted
from backend.training.likeness import STEPS, LikenessLoss, Seen, aligned, clean_of, drawn
from backend.training.parts import Base, Batch
from backend.training.people import People
from backend.training.recogniser import Recogniser
from backend.training.world import attributes, shot

EVERY = [np.arange(2 * person, 2 * person + 2) for person in (0, 0, 1, 1, 2, 2, 3, 3)]


@pytest.fixture(scope="module")
def recogniser(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recogniser that was never trained: it tells pictures apart all the same."""
    folder = tmp_path_factory.mktemp("recogniser")
    torch.manual_seed(3)
    torch.save(Recogniser().state_dict(), folder / "recogniser.pt")
    return folder


@pytest.fixture(scope="module")
def judge(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A judge that was never trained, of everything the drawn world has."""
    folder = tmp_path_factory.mktemp("judge")
    torch.manual_seed(8)
    shots = [shot(np.random.default_rng(seed)) for seed in range(400)]
    known = [parted({name: str(value or "none") for name, value in attributes(view).items()}) for view in shots]
    heads = {name: sorted({row[name] for row in known}) for name in known[0]}
    Judge(heads, JudgeNet(heads)).save(folder)
    return folder


@pytest.fixture(scope="module")
def told(people: People) -> People:
    """The same data set, with what each picture shows in words."""
    lines = [json.dumps(attributes(shot(np.random.default_rng(seed)))) for seed in range(8)]
    (people.folder / "attributes.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return People(people.folder)


@pytest.fixture
def frozen(model: Path, people: People, tmp_path: Path) -> Base:
    return base.load_base(model, people, tmp_path / "cache")


def noised(frozen: Base, times: list[int]) -> tuple[Batch, Tensor]:
    """The first pictures at these times, and the noise in them."""
    clean = torch.from_numpy(np.asarray(frozen.latents[: len(times)], np.float32))
    noise, t = torch.randn(clean.shape, generator=torch.Generator().manual_seed(1)), torch.tensor(times)
    return Batch(frozen.schedule.add_noise(clean, noise, t), t, torch.empty(0), None, noise, torch.ones(len(times))), noise


def task_of(frozen: Base, people: People, likeness: LikenessLoss | None) -> instantid.InstantIdTask:
    torch.manual_seed(4)
    embeddings = read_embeddings(people.folder / "embeddings.npy", 8)
    return instantid.InstantIdTask(people, frozen, embeddings, batch=4, held=1, likeness=likeness)


def test_an_aligned_face_is_the_one_that_opencv_cuts_out() -> None:
    rng = np.random.default_rng(0)
    rough = rng.integers(0, 256, (12, 12, 3), np.uint8)
    picture = rough.repeat(8, 0).repeat(8, 1)
    points = np.array([[34, 40], [58, 36], [47, 52], [38, 64], [60, 61]], np.float32)
    theirs = crop(picture, points).astype(np.float32) / 127.5 - 1
    shown = torch.from_numpy(picture).permute(2, 0, 1)[None].float() / 127.5 - 1
    ours = aligned(shown, points[None])[0].permute(1, 2, 0).numpy()
    assert np.abs(ours - theirs).mean() < 0.01  # OpenCV rounds places to a 32nd of a pixel


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction"])
def test_the_right_guess_amounts_to_the_clean_latents(frozen: Base, kind: str) -> None:
    batch, noise = noised(frozen, [20, 500, 900])
    schedule = DDPMScheduler.from_config(frozen.schedule.config, prediction_type=kind)
    clean = torch.from_numpy(np.asarray(frozen.latents[:3], np.float32))
    guess = noise if kind == "epsilon" else schedule.get_velocity(clean, noise, batch.t)
    found = clean_of(batch, guess, schedule.alphas_cumprod, velocity=kind == "v_prediction")
    assert float((found - clean).abs().max()) < 1e-3


def test_pictures_are_drawn_as_the_stock_ddim_scheduler_draws_them(frozen: Base) -> None:
    settings = {"clip_sample": True, "clip_sample_range": 4.0, "timestep_spacing": "trailing", "set_alpha_to_one": False}
    stock = DDIMScheduler.from_config(frozen.schedule.config, **settings)
    stock.set_timesteps(STEPS)
    noise = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(2))

    def answer(x: Tensor, t: Tensor) -> Tensor:
        return 0.7 * x + 0.0001 * t.float()[:, None, None, None]

    theirs = noise
    for t in stock.timesteps[:3]:
        theirs = stock.step(answer(theirs, t.repeat(2)), t, theirs, use_clipped_model_output=False).prev_sample
    ours, times = drawn(answer, noise, frozen.schedule.alphas_cumprod, 3)
    assert times.tolist() == [int(stock.timesteps[3])] * 2
    assert float((ours - theirs).abs().max()) < 1e-4


def test_a_guess_that_follows_the_gradient_becomes_more_alike(frozen: Base, people: People, recogniser: Path) -> None:
    likeness = LikenessLoss(recogniser, people, frozen)
    batch, noise = noised(frozen, [300, 300])
    guess = (noise + 0.3 * torch.randn(noise.shape, generator=torch.Generator().manual_seed(5))).requires_grad_(True)
    rows, everyone = np.array([0, 1]), torch.ones(2, dtype=torch.bool)
    climber, losses = torch.optim.Adam([guess], lr=0.04), []
    for _ in range(8):
        loss = likeness(batch, guess, rows, EVERY[:2], everyone)
        climber.zero_grad()
        loss.backward()
        climber.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.9 * losses[0]


def test_nobody_is_asked_about_without_a_face_to_go_by_or_in_mere_noise(frozen: Base, people: People, recogniser: Path) -> None:
    likeness = LikenessLoss(recogniser, people, frozen)
    batch, noise = noised(frozen, [300, 990])
    rows, wrong = np.array([0, 1]), -noise
    asked = [likeness(batch, wrong, rows, EVERY[:2], torch.tensor(counted)) for counted in ([True, True], [True, False], [False, True])]
    assert float(asked[0]) == pytest.approx(float(asked[1]))
    assert float(asked[0]) > 0
    assert float(asked[2]) == 0


def test_a_person_as_the_very_picture_shows_it_is_more_alike_than_as_another_one_does(
    frozen: Base, people: People, recogniser: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Glasses that the text asks for must not make a face less alike."""
    likeness = LikenessLoss(recogniser, people, frozen)
    picture = torch.from_numpy(np.array(people.pictures[:1])).permute(0, 3, 1, 2).float() / 127.5 - 1
    monkeypatch.setattr(frozen.vae, "decode", lambda latents, return_dict: (picture,))
    batch, noise = noised(frozen, [5])
    same_person, counted = EVERY[:1], torch.ones(1, dtype=torch.bool)
    shown, other = (float(likeness(batch, noise, np.array([row]), same_person, counted)) for row in (0, 1))
    assert shown < other


def test_a_step_makes_pictures_drawn_from_noise_more_alike_and_leaves_base_and_recogniser_as_they_were(
    frozen: Base, people: People, recogniser: Path
) -> None:
    likeness = LikenessLoss(recogniser, people, frozen)
    task = task_of(frozen, people, likeness)
    untouched = [*frozen.parts.parameters(), *likeness.network.parameters()]
    trained = [parameter for parameter in task.trained.parameters() if not any(parameter is other for other in untouched)]
    before = [parameter.detach().clone() for parameter in untouched]

    def unlikeness() -> Tensor:
        return task._own_pictures(likeness, 2, torch.Generator().manual_seed(6))

    first = unlikeness()
    first.backward()
    slopes = [(parameter, parameter.grad) for parameter in trained if parameter.grad is not None]
    steep = sum(float(slope.square().sum()) for _, slope in slopes)
    with torch.no_grad():
        for parameter, slope in slopes:
            parameter -= 0.02 * float(first.detach()) / steep * slope
        assert float(unlikeness()) < float(first)
    assert all(torch.equal(one, other) for one, other in zip(untouched, before, strict=True))


def test_pictures_that_follow_the_gradient_show_more_of_what_was_asked_for_and_the_judge_stays_as_it_was(told: People, judge: Path) -> None:
    asked = AskedLoss(judge, told)
    before = {name: value.clone() for name, value in asked.judge.net.state_dict().items()}
    pictures = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(7)).requires_grad_(True)
    climber, losses = torch.optim.Adam([pictures], lr=0.1), []
    for _ in range(25):
        loss = asked(Seen(pictures, np.array([0, 2]), torch.ones(2)), np.arange(4))
        climber.zero_grad()
        loss.backward()
        climber.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.9 * losses[0]
    assert all(torch.equal(before[name], value) for name, value in asked.judge.net.state_dict().items())


def test_an_expression_that_is_not_the_one_asked_for_counts_most(told: People, judge: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = AskedLoss(judge, told)
    right = parted(told.attributes[0])

    def loss(wrong: str | None) -> float:
        answers = {}
        for name, values in asked.judge.heads.items():
            answer = torch.zeros(1, len(values))
            place = values.index(right[name])
            answer[0, (place + 1) % len(values) if name == wrong else place] = 20.0
            answers[name] = answer
        monkeypatch.setattr(asked.judge.net, "forward", lambda pictures: answers)
        return float(asked(Seen(torch.zeros(1, 3, 128, 128), np.array([0]), torch.ones(1)), np.array([0])))

    assert loss(None) < 0.01
    assert loss("expression") > 2 * loss("background") > 0.1


def test_a_training_goes_on_from_what_another_exported(frozen: Base, people: People, model: Path, tmp_path: Path) -> None:
    first = task_of(frozen, people, None)
    loop.train(first, loop.Settings(tmp_path / "first", Budget(float("inf"), 3), average=0.0, sheet_every=1e9, precision="no"))
    second = task_of(base.load_base(model, people, tmp_path / "cache"), people, None)
    second.begin_with(tmp_path / "first")
    for (name, one), other in zip(first.trained.named_parameters(), second.trained.parameters(), strict=True):
        assert torch.allclose(one, other, atol=2e-3, rtol=2e-3), name
