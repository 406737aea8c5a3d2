"""`likeness models`, from an empty folder to a portrait: the real layout with small stand-ins, from a server on 127.0.0.1."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import official_layouts as layouts
import pytest
from fake_faces import write_pack, write_recogniser
from ldm_layout import write_checkpoint
from model_server import FakeHub, Fault, running
from tiny_models import WIDTH, _unet, write_adapter

from backend.cli.main import main
from backend.models.bundle import Model
from backend.models.catalog import Catalog, Part
from backend.models.parts import Parts
from backend.workbench import find_model

SETS = ("instantid-sdxl", "ip-adapter-plus-face-sdxl", "ip-adapter-bigg-sdxl", "faceid-sdxl", "controlnet-depth-sdxl")
SHIPPED = Catalog.load()
Pulled = Any


@pytest.fixture(scope="session")
def stand_ins(models: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Place in a model folder -> contents, for every file of the sets: a model that really draws, with 64 pixels a side."""
    folder = tmp_path_factory.mktemp("stand-ins")
    shutil.copytree(models / "tiny", folder, dirs_exist_ok=True)
    write_adapter(folder / "ip-adapter.bin", layouts.resampler(64, 1, 512, WIDTH), layouts.attention(_unet("sdxl")))
    write_pack(folder / "faces")
    adapters = folder / "ip_adapter"
    copies = {
        "faces/scrfd_10g_bnkps.onnx": folder / "faces" / "det.onnx",
        "faces/glintr100.onnx": folder / "faces" / "rec.onnx",
        "recognisers/buffalo_l/det_10g.onnx": folder / "faces" / "det.onnx",
        "recognisers/buffalo_l/w600k_r50.onnx": write_recogniser(folder / "other.onnx", 9),
        "ip_adapter/ip-adapter-plus-face_sdxl_vit-h.safetensors": adapters / "plus.safetensors",
        "ip_adapter/ip-adapter-faceid-plusv2_sdxl.bin": adapters / "faceid-plusv2.safetensors",
    }
    places = {file.place for name in SETS for file in SHIPPED.sets[name].files}
    found = {place: copies.get(place, folder / place) for place in places}
    return {place: path.read_bytes() if path.is_file() else b"{}\n" for place, path in found.items()}


@pytest.fixture(scope="session")
def catalogue(stand_ins: dict[str, bytes], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped catalogue's sets with the same names, repositories and places; sizes and hashes are the stand-ins'."""

    def part(one: Part) -> str:
        lines = [f"[part.{one.id}]", f"title = {json.dumps(one.title)}", f'family = "{one.family}"', f'licence = "{one.licence.id}"']
        lines += [f'repository = "{one.files[0].repository}"', f'revision = "{one.files[0].revision}"']
        if one.adapter:
            known = ", ".join(f'{key} = "{value}"' for key, value in one.adapter.items())
            lines.append(f"adapter = {{ {known} }}")
        if one.recogniser:
            lines.append(f'recogniser = "{one.recogniser}"')
        for file in one.files:
            content = stand_ins[file.place]
            known = f', bytes = {len(content)}, sha256 = "{hashlib.sha256(content).hexdigest()}"' if file.sha256 else ""
            lines += ["[[part." + one.id + ".files]]", f'path = "{file.path}"', f'place = "{file.place}"', *known.split(", ")[1:]]
        return "\n".join(lines)

    parts = {one.id: one for name in SETS for one in SHIPPED.sets[name].parts}
    text = [
        f"[licence.{one.id}]\nname = {json.dumps(one.name)}\nurl = {json.dumps(one.url)}\n"
        f"commercial = {json.dumps(one.commercial)}\nforbids = {json.dumps(one.forbids)}"
        for one in {one.licence.id: one.licence for one in parts.values()}.values()
    ]
    text += map(part, parts.values())
    for name in SETS:
        chosen = SHIPPED.sets[name]
        text.append(f'[set.{name}]\npurpose = "p"\nfamily = "sdxl"\nparts = {json.dumps([one.id for one in chosen.parts])}')
        if chosen.model is not None:
            text.append(f'[set.{name}.model]\nname = "n"\nsize = [64, 64]\ndefaults = {{ steps = 2, guidance_scale = 3.0 }}')
    file = tmp_path_factory.mktemp("catalogue") / "catalog.toml"
    file.write_text("\n".join(text), encoding="utf-8")
    Catalog.load(file)
    return file


@pytest.fixture
def hub(stand_ins: dict[str, bytes], catalogue: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    with running(FakeHub()) as server:
        settle_environment(monkeypatch, server, tmp_path / "models")
        put_all(server, catalogue, stand_ins)
        yield server


def settle_environment(patch: pytest.MonkeyPatch, server: FakeHub, models: Path) -> None:
    """Nothing of this machine is seen: no proxy, no login, no cache and no folder of another program."""
    for name in [name for name in os.environ if name.lower().endswith("_proxy") or name.startswith(("HF_", "TRANSFORMERS_"))]:
        patch.delenv(name)
    for name in ("HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME"):
        patch.setenv(name, str(models.parent / "home" / name))
    patch.setenv("LIKENESS_MODELS", str(models))
    patch.setattr("os.fsync", lambda handle: None)  # a hundred times in a pull, and a busy disk takes its time; no test here cuts the power
    patch.setenv("HF_ENDPOINT", server.endpoint)


def put_all(server: FakeHub, catalogue: Path, stand_ins: dict[str, bytes]) -> None:
    for file in Catalog.load(catalogue).files:
        server.put(file.repository, file.path, stand_ins[file.place], revision=file.revision)


@pytest.fixture
def run(hub: FakeHub, catalogue: Path, capsys: pytest.CaptureFixture[str]):
    """Run `likeness models WORDS`: exit code, standard output, standard error."""

    def do(*words: object) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main(["models", "--catalogue", str(catalogue), *map(str, words)])
        out, err = capsys.readouterr()
        assert "Traceback" not in err
        return code, out, err

    return do


@pytest.fixture(scope="session")
def pulled_once(stand_ins: dict[str, bytes], catalogue: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the models after `likeness models pull instantid-sdxl`; tests get copies of it."""
    folder = tmp_path_factory.mktemp("pulled") / "models"
    with pytest.MonkeyPatch.context() as patch, running(FakeHub()) as server:
        settle_environment(patch, server, folder)
        put_all(server, catalogue, stand_ins)
        assert main(["models", "--catalogue", str(catalogue), "pull", "instantid-sdxl", "--accept-licences"]) == 0
    return folder


@pytest.fixture
def pulled(hub: FakeHub, pulled_once: Path, tmp_path: Path) -> Path:
    shutil.copytree(pulled_once, tmp_path / "models", symlinks=True)
    return tmp_path / "models" / "instantid-sdxl"


def sentence(result: tuple[int, str, str]) -> str:
    """The one sentence of a refusal."""
    code, _, err = result
    assert code == 2, err
    lines = [line for line in err.splitlines() if line.strip() and "%|" not in line]
    assert len(lines) == 1, err
    assert lines[0].endswith((".", "?"))
    return lines[0]


def paths(hub: FakeHub) -> list[str]:
    return [asked.path for asked in hub.asked]


def test_a_set_is_pulled_and_a_portrait_is_painted_with_it(run: Pulled, hub: FakeHub, tmp_path: Path, photo: Path) -> None:
    code, out, err = run("pull", "instantid-sdxl", "--accept-licences")
    assert code == 0, err
    assert "non-commercial research only" in out
    assert "InstantX/InstantID/ControlNetModel/config.json; trusted on first use" in out
    assert f"instantid-sdxl is ready in {tmp_path / 'models' / 'instantid-sdxl'}" in out
    model = find_model_of(tmp_path, "instantid-sdxl")
    assert model.instant_id
    assert model.faces is not None
    assert main(["portrait", "--model", "instantid-sdxl", "--face", str(photo), "--prompt", "x", "-o", str(tmp_path / "a.png")]) == 0
    assert (tmp_path / "a.png").is_file()
    asked = len(hub.asked)
    assert run("pull", "instantid-sdxl")[0] == 0
    assert len(hub.asked) == asked


def find_model_of(tmp_path: Path, name: str) -> Model:
    from backend.config import Settings

    return find_model(Settings(tmp_path / "models", tmp_path / "logs"), name)


def test_the_doctor_finds_nothing_wrong_with_a_pulled_model(pulled: Path, tmp_path: Path) -> None:
    from backend.config import Settings
    from backend.doctor import State, _models

    notes = _models(Settings(tmp_path / "models", tmp_path / "logs"))
    assert [note for note in notes if note.state is State.WRONG] == []
    assert any("instantid-sdxl: sdxl, 64 x 64, InstantID, faces" in note.found for note in notes)


def test_a_second_set_fetches_only_what_is_new(run: Pulled, pulled: Path, hub: FakeHub, tmp_path: Path) -> None:
    hub.asked.clear()
    assert run("pull", "ip-adapter-plus-face-sdxl", "--accept-licences")[0] == 0
    assert {path.split("/resolve/")[0] for path in paths(hub)} == {"/h94/IP-Adapter"}
    assert [entry.name for entry in find_model_of(tmp_path, "ip-adapter-plus-face-sdxl").adapters] == ["plus-face"]


def test_a_set_can_be_added_to_a_model_and_stays_there(run: Pulled, pulled: Path, tmp_path: Path) -> None:
    assert run("pull", "ip-adapter-plus-face-sdxl", "--into", "instantid-sdxl", "--accept-licences")[0] == 0
    assert run("pull", "controlnet-depth-sdxl", "--accept-licences")[0] == 0
    assert run("pull", "instantid-sdxl")[0] == 0
    model = find_model_of(tmp_path, "instantid-sdxl")
    assert [entry.name for entry in model.adapters] == ["plus-face"]
    assert [kind.value for kind, _ in model.controls] == ["depth"]
    assert not (tmp_path / "models" / "ip-adapter-plus-face-sdxl").exists()


def test_faceid_joins_instantid_in_one_model_each_with_its_own_recogniser(run: Pulled, pulled: Path, tmp_path: Path) -> None:
    from backend.config import Settings
    from backend.doctor import _models

    assert run("pull", "faceid-sdxl", "--into", "instantid-sdxl", "--accept-licences")[0] == 0
    model = find_model_of(tmp_path, "instantid-sdxl")
    assert [one.name for one in model.recognisers] == ["antelopev2", "buffalo_l"]
    assert (model.recogniser(None).name, model.recogniser(model.adapter("faceid-plusv2")).name) == ("antelopev2", "buffalo_l")
    notes = [note.found for note in _models(Settings(tmp_path / "models", tmp_path / "logs")) if note.topic == "recogniser"]
    assert any("antelopev2" in found and "non-commercial" in found and found.endswith("for instantid") for found in notes)
    assert any("buffalo_l" in found and found.endswith("for faceid-plusv2") for found in notes)


def test_what_does_not_go_together_is_refused_before_anything_is_fetched(run: Pulled, pulled: Path, hub: FakeHub) -> None:
    assert run("pull", "ip-adapter-plus-face-sdxl", "--into", "instantid-sdxl", "--accept-licences")[0] == 0
    hub.asked.clear()
    assert "want the same place" in sentence(run("pull", "ip-adapter-bigg-sdxl", "--into", "instantid-sdxl", "--accept-licences"))
    assert "is no pulled or added sdxl model" in sentence(run("pull", "controlnet-depth-sdxl", "--into", "nothing"))
    assert hub.asked == []


def test_a_set_that_is_added_needs_a_model(run: Pulled) -> None:
    assert "Pull one first, such as instantid-sdxl" in sentence(run("pull", "controlnet-depth-sdxl"))


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_nothing_is_fetched_before_the_licences_are_accepted(run: Pulled, hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))  # no terminal: a script must say so itself
    assert "--accept-licences" in sentence(run("pull", "instantid-sdxl"))
    for answer in ("n\n", "\n", ""):
        monkeypatch.setattr("sys.stdin", Terminal(answer))
        result = run("pull", "instantid-sdxl")
        assert "were not accepted" in sentence(result)
        assert "Do you accept them" in result[1]
    assert hub.asked == []
    monkeypatch.setattr("sys.stdin", Terminal("y\n"))
    assert run("pull", "instantid-sdxl")[0] == 0
    assert "accepted on 20" in run("licences")[1]


def test_offline_says_what_is_missing_and_works_when_nothing_is(
    run: Pulled, hub: FakeHub, pulled: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    hub.asked.clear()
    shutil.rmtree(pulled)
    assert run("pull", "instantid-sdxl")[0] == 0
    assert (pulled / "model.toml").is_file()
    assert "h94/IP-Adapter" in sentence(run("pull", "ip-adapter-plus-face-sdxl", "--accept-licences"))
    assert hub.asked == []


def test_a_full_disk_is_said_before_the_first_byte(run: Pulled, hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("backend.models.store.Store.free_bytes", lambda self: 1000)
    assert "GiB are free" in sentence(run("pull", "instantid-sdxl", "--accept-licences"))
    assert hub.asked == []


def test_files_of_comfyui_are_used_in_place(run: Pulled, hub: FakeHub, stand_ins: dict[str, bytes], tmp_path: Path) -> None:
    comfy = tmp_path / "Comfy models"
    comfy.mkdir()
    (comfy / "sdxl_unet.safetensors").write_bytes(stand_ins["unet/diffusion_pytorch_model.safetensors"])
    code, out, _ = run("add", comfy)
    assert (code, "1 file(s) of the catalogue" in out) == (0, True)
    (comfy / "iid.bin").write_bytes(stand_ins["ip-adapter.bin"])  # comes later: the folder is remembered
    assert run("pull", "instantid-sdxl", "--accept-licences")[0] == 0
    assert not [path for path in paths(hub) if "unet/diffusion" in path or path.endswith("ip-adapter.bin")]
    model = tmp_path / "models" / "instantid-sdxl"
    assert (model / "ip-adapter.bin").resolve() == (comfy / "iid.bin").resolve()
    (comfy / "iid.bin").unlink()
    code, out, _ = run("verify")
    assert code == 2
    assert "iid.bin is gone (needed by instantid-sdxl)" in out
    assert run("pull", "instantid-sdxl", "--accept-licences")[0] == 0
    assert run("verify")[0] == 0
    assert run("remove", "instantid-sdxl")[0] == 0
    assert (comfy / "sdxl_unet.safetensors").is_file()


def test_a_checkpoint_becomes_a_model_with_what_was_pulled_and_paints_a_portrait(
    run: Pulled, pulled: Path, stand_ins: dict[str, bytes], models: Path, tmp_path: Path, photo: Path
) -> None:
    file = tmp_path / "Anna's models" / "Painter v2 lightning.safetensors"
    file.parent.mkdir()
    write_checkpoint(file, Parts(Model.open(models / "tiny")).base, {"modelspec.resolution": "256x256"})
    before = file.read_bytes()
    code, out, err = run("add", file)
    assert code == 0, err
    assert "SDXL, 256 x 256, lightning: 4 steps with euler, guidance 1" in out
    assert "Joined: InstantID" in out
    folder = tmp_path / "models" / "painter-v2-lightning"
    for part in ("unet", "vae", "text_encoder", "text_encoder_2"):  # the checkpoint is a tiny one: no stock configuration fits it
        (folder / part).mkdir()
        shutil.copy(models / "tiny" / part / "config.json", folder / part)
    for part in ("tokenizer", "tokenizer_2"):
        shutil.copytree(models / "tiny" / part, folder / part)
    out_file = tmp_path / "a.png"
    assert main(["portrait", "--model", folder.name, "--face", str(photo), "--prompt", "x", "-o", str(out_file)]) == 0
    assert out_file.is_file()
    assert run("pull", "controlnet-depth-sdxl", "--accept-licences")[0] == 0  # joins every model of its family
    assert [kind.value for kind, _ in find_model_of(tmp_path, folder.name).controls] == ["depth"]
    assert run("pull", "ip-adapter-plus-face-sdxl", "--into", folder.name, "--accept-licences")[0] == 0
    assert [entry.name for entry in find_model_of(tmp_path, folder.name).adapters] == ["plus-face"]
    assert str(file) in run("list")[1]
    assert run("verify")[0] == 0
    assert f"Not touched: {file}" in run("remove", folder.name)[1]
    assert file.read_bytes() == before


def test_a_checkpoint_that_has_gone_is_named_by_verify(run: Pulled, hub: FakeHub, models: Path, tmp_path: Path) -> None:
    file = write_checkpoint(tmp_path / "mine.ckpt", Parts(Model.open(models / "tiny")).base)
    code, out, _ = run("add", file, "--name", "own", "--prediction", "v")
    assert (code, "is a pickle: it is read once" in out, "v-prediction" in out) == (0, True, True)
    assert "likeness models pull instantid-sdxl --into own" in out
    file.unlink()
    code, out, _ = run("verify")
    assert (code, "mine.ckpt is not there" in out) == (2, True)


def test_a_folder_that_is_not_there_cannot_be_added(run: Pulled, tmp_path: Path) -> None:
    assert "does not exist" in sentence(run("add", tmp_path / "nothing"))


def test_verify_names_a_flipped_bit_and_the_next_pull_mends_it(run: Pulled, hub: FakeHub, pulled: Path) -> None:
    assert run("verify")[0] == 0
    unet = (pulled / "unet" / "diffusion_pytorch_model.safetensors").resolve()
    content = bytearray(unet.read_bytes())
    content[len(content) // 2] ^= 1
    unet.write_bytes(content)
    code, out, _ = run("verify")
    assert code == 2
    assert "has changed" in out
    assert "likeness models pull instantid-sdxl" in out
    hub.asked.clear()
    assert run("pull", "instantid-sdxl", "--accept-licences")[0] == 0
    assert [path.rpartition("/")[2] for path in paths(hub)] == ["diffusion_pytorch_model.fp16.safetensors"]
    assert run("verify")[0] == 0


def test_verify_names_a_model_folder_that_was_changed(run: Pulled, pulled: Path) -> None:
    (pulled / "ip-adapter.bin").unlink()
    (pulled / "ip-adapter.bin").write_bytes(b"mine")
    code, out, _ = run("verify")
    assert (code, "is not the file that was fetched for it" in out) == (2, True)


def test_remove_keeps_what_others_need_and_says_so(run: Pulled, pulled: Path, tmp_path: Path) -> None:
    assert run("pull", "ip-adapter-plus-face-sdxl", "--accept-licences")[0] == 0
    (pulled / "notes.txt").write_text("mine")
    code, out, _ = run("remove", "instantid-sdxl")
    assert code == 0
    assert "unet/diffusion_pytorch_model.fp16.safetensors, also needed by ip-adapter-plus-face-sdxl" in out
    assert "notes.txt" in out
    assert [path.name for path in pulled.iterdir()] == ["notes.txt"]
    blobs = tmp_path / "models" / ".store" / "blobs"
    assert run("verify")[0] == 0
    assert Model.open(tmp_path / "models" / "ip-adapter-plus-face-sdxl").adapters
    assert run("remove", "ip-adapter-plus-face-sdxl", "--unfinished")[0] == 0
    assert list(blobs.iterdir()) == []
    assert "is no model that" in sentence(run("remove", "instantid-sdxl"))
    assert "Nothing was named" in sentence(run("remove"))


def test_a_model_of_the_users_own_is_never_written_over(run: Pulled, hub: FakeHub, tmp_path: Path) -> None:
    own = tmp_path / "models" / "instantid-sdxl"
    own.mkdir(parents=True)
    (own / "model.toml").write_text('id = "mine"\n')
    assert "a model of your own" in sentence(run("pull", "instantid-sdxl", "--accept-licences"))
    assert hub.asked == []


def test_a_server_that_has_not_got_a_file_leaves_no_model_and_keeps_what_came(run: Pulled, hub: FakeHub, tmp_path: Path) -> None:
    place = next(path for path in hub.files if path.endswith("/unet/diffusion_pytorch_model.fp16.safetensors"))
    hub.faults[place].append(Fault(status=404))
    assert "is not there (404" in sentence(run("pull", "instantid-sdxl", "--accept-licences"))
    assert not (tmp_path / "models" / "instantid-sdxl").exists()
    assert run("pull", "instantid-sdxl")[0] == 0


def test_list_says_what_there_is_and_what_is_there(run: Pulled, pulled: Path) -> None:
    lines = {line.split()[0]: line for line in run("list")[1].splitlines() if line}
    assert "ready" in lines["instantid-sdxl"]
    assert "+ " in lines["controlnet-depth-sdxl"]
    assert "to fetch" in lines["faceid-sdxl"]
    out = run("list", "instantid-sdxl")[1]
    assert "identitynet/config.json  there, trusted on first use" in out
    assert "ip-adapter.bin  there, sha256 known" in out


@pytest.mark.parametrize("words", [("list",), ("licences",), ("list", "instantid-sdxl")])
def test_the_shipped_catalogue_is_shown_without_a_store(words: Sequence[str], hub: FakeHub, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", *words]) == 0
    assert "instantid" in capsys.readouterr().out.lower()
    assert hub.asked == []


def test_a_wrong_name_is_answered_with_the_right_one(run: Pulled) -> None:
    assert "Did you mean instantid-sdxl" in sentence(run("pull", "instantid-sdlx"))


def test_somebody_else_at_work_is_a_sentence(run: Pulled, tmp_path: Path) -> None:
    from backend.models.store import Store

    with Store(tmp_path / "models").locked():
        assert "Another `likeness models` works" in sentence(run("pull", "instantid-sdxl", "--accept-licences"))
