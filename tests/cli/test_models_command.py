"""`likeness models`, from an empty folder to a portrait: the real layout with small stand-ins, from a server on 127.0.0.1."""

from __future__ import annotations

import io
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from model_server import FakeHub, Fault
from pulled_models import find_model_of, sentence

from backend.cli.main import main
from backend.models.bundle import Model

Pulled = Any


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


def test_list_says_who_reads_people_for_what(run: Pulled, pulled: Path) -> None:
    assert "In instantid-sdxl, people are read by antelopev2 for instantid.\n" in run("list")[1]
    assert run("pull", "faceid-sdxl", "--into", "instantid-sdxl", "--accept-licences")[0] == 0
    assert "people are read by antelopev2 for instantid and by buffalo_l for faceid-plusv2.\n" in run("list")[1]
    (pulled / "model.toml").write_text("not at all", encoding="utf-8")
    code, out, _ = run("list")
    assert code == 0
    assert "people are read" not in out


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
