"""benchmarks/gpu_check.py never fails as a whole and never hangs, and each of its steps gives its numbers."""

import argparse
import json
import re
import subprocess
import sys
import time

import pytest

from benchmarks import common, gpu_check, gpu_forms, gpu_runs, gpu_variants, trace, workload
from benchmarks.gpu_runner import Ended, Records, Runner
from benchmarks.gpu_table import read, table, verdict
from stylegen.networks.build import build_networks
from stylegen.runtime import chips, sharding
from stylegen.training.step import StepConfig

# A program as XLA writes it: a convolution, a fusion, and where they come from.
PROGRAM = """HloModule jit_step

FileNames
1 "train_step.py"

FunctionNames
1 "train_step"
2 "update_discriminator"
3 "generate"
4 "blur"

FileLocations
1 {file_name_id=1 function_name_id=1 line=1}
2 {file_name_id=1 function_name_id=2 line=2}
3 {file_name_id=1 function_name_id=3 line=3}
4 {file_name_id=1 function_name_id=4 line=4}

StackFrames
1 {file_location_id=1}
2 {file_location_id=2 parent_frame_id=2}
3 {file_location_id=3 parent_frame_id=3}
4 {file_location_id=4 parent_frame_id=3}

ENTRY %main (a: bf16[4,64,64,32], w: bf16[3,3,32,32]) -> bf16[4,64,64,32] {
  %a = bf16[4,64,64,32]{3,2,1,0} parameter(0)
  %w = bf16[3,3,32,32]{3,2,1,0} parameter(1)
  %cudnn-conv.1 = (bf16[4,64,64,32]{3,2,1,0}, u8[0]{0}) custom-call(%a, %w), window={size=3x3}, custom_call_target="__cudnn$convForward", metadata={op_name="conv" stack_frame_id=3}
  %get-tuple-element.1 = bf16[4,64,64,32]{3,2,1,0} get-tuple-element(%cudnn-conv.1), index=0
  ROOT %loop_fusion.2 = bf16[4,64,64,32]{3,2,1,0} fusion(%get-tuple-element.1), kind=kLoop, calls=%fused, metadata={op_name="add" stack_frame_id=4}
}
"""  # noqa: E501


def run(tmp_path, *arguments: str) -> tuple[str, list[dict]]:
    """What a whole check with toy sizes prints, and its records."""
    command = common.script("gpu_check", "--tiny", "--out", str(tmp_path / "out"), *arguments)
    process = subprocess.run(command, capture_output=True, text=True, cwd=common.ROOT)
    assert process.returncode == 0, process.stderr[-3000:]
    lines = (tmp_path / "out" / "results.jsonl").read_text().splitlines()
    assert "== results" in process.stdout
    return process.stdout, [json.loads(line) for line in lines]


def of(records: list[dict], kind: str) -> list[dict]:
    return [record for record in records if record["kind"] == kind]


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def steps(monkeypatch, *functions, seconds: float = 60.0) -> None:
    fake_steps = [gpu_check.Step(f"step{i}", "z", seconds, 1, f, "") for i, f in enumerate(functions)]
    monkeypatch.setattr(gpu_check, "STEPS", tuple(fake_steps))


# --- the program itself ---------------------------------------------------------------------------------------------


def test_all_steps_are_listed(capsys):
    assert gpu_check.main(["--list"]) == 0
    listed = {line.split()[1]: line.split()[0] for line in capsys.readouterr().out.splitlines()}
    groups = {"environment": "a", "smoke": "a", "reference": "a", "speed256": "b", "speed64": "c", "speed128": "c"}
    groups |= {"micro": "d", "profile": "d", "variants": "d", "sampling": "d", "memory": "e", "resume": "f"}
    assert listed == groups | {"train64": "f", "export": "g", "tests": "h", "growing": "i"}


def test_steps_are_chosen_by_name_and_by_group(tmp_path, capsys):
    selected, unknown = gpu_check.select("tests, a,speed65")
    assert [step.name for step in selected] == ["environment", "smoke", "reference", "tests"] and unknown == ["speed65"]
    assert gpu_check.main(["--steps", "nosuch", "--skip", "neither", "--out", str(tmp_path)]) == 2
    text = capsys.readouterr().out
    assert "no such step: nosuch" in text and "no such step: neither" in text
    (record,) = read(tmp_path / "results.jsonl")
    assert record["unknown"] == ["nosuch", "neither"]


def test_it_needs_the_standard_library_alone():
    code = (
        "import sys; from benchmarks import gpu_check; gpu_check.main(['--list']); "
        "print(sorted({name.partition('.')[0] for name in sys.modules} - set(sys.stdlib_module_names)))"
    )
    process = subprocess.run(python(code), capture_output=True, text=True, cwd=common.ROOT, check=True)
    loaded = set(re.findall(r"'([\w.]+)'", process.stdout.splitlines()[-1]))
    assert "benchmarks" in loaded and not loaded & {"jax", "jaxlib", "numpy", "flax", "stylegen"}


def test_what_fails_becomes_a_record_and_the_next_step_starts(tmp_path, monkeypatch, capsys):
    def raises(check, a):
        raise RuntimeError("a mistake")

    def fails(check, a):
        assert check.run("exits", python("print('a reason'); raise SystemExit(3)"), 20).status == "failed"
        assert check.run("missing", ["no-such-program-anywhere"], 20).status == "failed"
        assert check.run("fine", python("print('{\"n\": 1}')"), 20).result == {"n": 1}

    steps(monkeypatch, raises, fails)
    assert gpu_check.main(["--out", str(tmp_path)]) == 0
    records = read(tmp_path / "results.jsonl")
    assert "a mistake" in of(records, "step")[0]["error"]
    exits, missing, fine = of(records, "command")
    assert exits["code"] == 3 and "a reason" in exits["error"] and "cannot be started" in missing["error"]
    assert fine["status"] == "ok" and "error" not in fine
    text = capsys.readouterr().out.split("== results")[1]
    assert "a mistake" in text and "a reason" in text and "fine" not in text
    assert "a reason" in (tmp_path / "log.txt").read_text()


def test_what_hangs_is_killed_with_its_children(tmp_path, monkeypatch):
    child = tmp_path / "child"
    code = (
        "import signal, subprocess, sys; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
        "p = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)']); "
        f"open({str(child)!r}, 'w').write(str(p.pid)); p.wait()"
    )
    monkeypatch.setattr("benchmarks.gpu_runner.LEAST", 0.1)
    steps(monkeypatch, lambda check, a: check.run("hangs", python(code), 2), lambda check, a: check.record("after"))
    begin = time.monotonic()
    assert gpu_check.main(["--out", str(tmp_path)]) == 0
    assert time.monotonic() - begin < 15
    records = read(tmp_path / "results.jsonl")
    assert of(records, "command")[0]["status"] == "timeout" and of(records, "after")
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline and running(child.read_text()):
        time.sleep(0.05)
    assert not running(child.read_text())


def running(pid: str) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_all_ends_at_the_deadline(tmp_path, monkeypatch):
    steps(monkeypatch, *[lambda check, a: check.run("sleeps", python("import time; time.sleep(60)"), 60)] * 3)
    begin = time.monotonic()
    assert gpu_check.main(["--out", str(tmp_path), "--deadline", "14"]) == 0
    assert time.monotonic() - begin < 14
    records = read(tmp_path / "results.jsonl")
    assert of(records, "command")[0]["status"] == "timeout"
    assert all("left" in record["skipped"] for record in of(records, "step")) and len(of(records, "step")) == 2


def test_a_command_is_stopped_or_killed_when_asked(tmp_path):
    check = Runner(tmp_path, 100)
    check.begin("s", 50)
    code = "import signal, sys, time; signal.signal(signal.SIGTERM, lambda *a: sys.exit(0)); time.sleep(60)"
    assert check.run("stopped", python(code), 30, stop_after=1).status == "ok"
    assert check.run("killed", python("import time; time.sleep(60)"), 30, kill_when=lambda: True).status == "killed"


def test_stopped_from_outside_it_still_prints_the_table(tmp_path):
    begun = tmp_path / "begun"
    sleeps = f"import time; open({str(begun)!r}, 'w'); time.sleep(60)"
    code = (
        "from benchmarks import gpu_check; "
        f"run = lambda check, a: check.run('sleeps', {python(sleeps)!r}, 60); "
        "gpu_check.STEPS = (gpu_check.Step('step', 'z', 60, 1, run, ''),); "
        f"gpu_check.main(['--out', {str(tmp_path)!r}])"
    )
    with subprocess.Popen(python(code), stdout=subprocess.PIPE, text=True, cwd=common.ROOT) as process:
        deadline = time.monotonic() + 30
        while not begun.exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        process.terminate()
        text, _ = process.communicate(timeout=20)
    assert process.returncode == 1 and "stopped by signal 15" in text and "check: command" in text


def test_records_are_short_and_survive(tmp_path, capsys):
    records = Records(tmp_path / "results.jsonl", "s", 100)
    with records.guarded("first", n=1):
        raise ValueError("x" * 5000)
    records.add("second", value=1 / 3, bad=float("nan"), many=[1 / 7], shape=(1, 2))
    assert records.skips("third", 1000, what="w") and not records.skips("third", 1)
    with (tmp_path / "results.jsonl").open("a") as file:
        file.write('{"cut o')
    first, second, third = read(tmp_path / "results.jsonl")
    assert first["n"] == 1 and len(first["error"]) < 1500
    assert second == {"step": "s", "kind": "second", "value": 0.33333, "bad": "nan", "many": [0.14286], "shape": [1, 2]}
    assert third["skipped"] == "no time left"
    lines = table([first, second, third, {"step": "s", "kind": "command", "name": "n"}]).splitlines()
    assert len(lines) == 4 and "0.3333" in lines[1] and max(map(len, lines)) <= 420
    assert lines[-1] == "== 1 not as it should be: s: first"
    assert verdict([second, {"ok": True}]) == "== nothing wrong was found"
    wrong = [{"step": "a", "kind": "reference", "ok": False}, {"step": "f", "kind": "compare", "equal": False}]
    assert verdict(wrong) == "== 2 not as it should be: a: reference; f: compare"
    assert Ended("ok", 'a\n{"n": 1}\n[2]\n{broken').result == {"n": 1} and Ended("ok", "").result == {}


def test_the_other_program_and_the_images_are_found(tmp_path, monkeypatch):
    monkeypatch.setattr(gpu_runs, "TORCH", tmp_path / "torch.py")
    monkeypatch.setattr(gpu_runs, "DATA", tmp_path / "data")
    check = Runner(tmp_path / "out", 100, work=tmp_path / "work")
    assert gpu_runs.other_program(None) is None and gpu_runs.other_program("other -n {batch}") == "other -n {batch}"
    assert (
        gpu_runs.data_options(check, None)
        == gpu_runs.data_options(check, "nowhere")
        == ["--data.source", "toy_bedrooms"]
    )
    (tmp_path / "torch.py").touch()
    assert "{resolution}" in gpu_runs.other_program(None) and str(tmp_path / "torch.py") in gpu_runs.other_program(None)
    prepared = tmp_path / "data" / "rooms"
    prepared.mkdir(parents=True)
    assert gpu_runs.data_options(check, None)[:2] == ["--data.source", "images"]
    (prepared / "prepared.json").write_text('{\n "settings": {\n "origin": "lsun"\n}}')
    assert gpu_runs.data_options(check, None)[:4] == ["--data.source", "lsun", "--data.path", str(prepared)]
    archive = tmp_path / "bedroom_val_lmdb.zip"
    archive.touch()
    assert gpu_runs.data_options(check, str(archive))[:2] == ["--data.source", "lsun"]


# --- the trace ------------------------------------------------------------------------------------------------------


def test_a_trace_is_read_by_the_program():
    """Two steps on a stream: a convolution of 3 ms under cuDNN's own name, a fusion of 1, a copy of 1, 1 of nothing."""
    ms, events = 1e6, []
    for begin in (0, 6):
        events.append(trace.Event("Stream #1", "sm90_xmma_fprop", begin * ms, 3 * ms, "cudnn-conv.1"))
        events.append(trace.Event("Stream #1", "loop_fusion_2", (begin + 3) * ms, ms))
        events.append(trace.Event("Stream #1", "MemcpyD2D", (begin + 4) * ms, ms))
    report = trace.report(events, PROGRAM, 2, chips.GPUS["h100"], 790e12)
    assert report["span_ms"] == pytest.approx(11 / 2) and report["kernels_ms"] == pytest.approx(5)
    assert report["idle"] == pytest.approx(1 / 11) and report["kernels"] == 3
    assert report["convolutions"] == pytest.approx(6 / 11) and report["memory_bound"] == pytest.approx(4 / 11)
    assert report["unknown"] == pytest.approx(1 / 5)
    assert report["by_part"] == {"D: fakes": 3, "D": 1, "?": 1}
    places = {tuple(place[:3]): place[3:] for place in report["places"]}
    image, weight = 2 * 4 * 64 * 64 * 32, 2 * 9 * 32 * 32
    assert places["convolution", "D: fakes", "generate"] == [3, pytest.approx(1e3 * (2 * image + weight) / 3.0e12)]
    assert places["fusion loop", "D", "blur"] == [1, pytest.approx(1e3 * 2 * image / 3.0e12)]
    assert places["copy", "?", "?"] == [1, 0]
    assert report["slowest"][0][:4] == ["cudnn-conv.1", "convolution", "64x32", "generate"]


def test_spans_and_library_kernels():
    assert trace.covered([(0, 2), (1, 3), (5, 6), (5, 5.5)]) == 4
    assert trace.library_kind("sm90_xmma_wgrad_implicit") == "convolution"
    assert trace.library_kind("void cub::Scan<float>(x)") == "library void cub::Scan"
    assert trace.own_chip("NVIDIA H100 80GB HBM3")[0] == "h100" and trace.own_chip("cpu") is None


# --- measurements ---------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_variants_are_other_programs():
    """What is replaced is used: each variant that changes what is traced lowers to a program of its own."""
    a = argparse.Namespace(resolution=8, batch=4, base=64, max=8, alpha=0.5, float32=False, tiny=True)
    programs = {}
    for name, change in gpu_variants.VARIANTS.items():
        if set(change) & {"options", "loss"}:
            continue
        rest = {key: value for key, value in change.items() if key not in ("dtype", "precision")}
        step = object.__new__(workload.Training)
        step.config = gpu_variants.make_config(a, change.get("dtype"), change.get("precision"))
        step.resolution, step.batch, step.mesh = 8, 4, sharding.make_mesh(step.config)
        with gpu_variants.changed(**rest):
            step.static = StepConfig(step.config, build_networks(step.config))
            programs[name] = step._lower().as_text()
    assert len(set(programs.values())) == len(programs) == 12


@pytest.mark.slow
def test_forms_of_an_operation_agree(tmp_path, monkeypatch):
    """Values and gradients of all forms, as far as float32 goes; a wrong form would be fast."""
    kinds = {"up", "down", "from RGB", "styled activation", "blur"}
    monkeypatch.setattr(
        gpu_forms,
        "operations",
        lambda n, tiny, operations=gpu_forms.operations: [o for o in operations(n, tiny) if o.kind in kinds],
    )
    records = Records(tmp_path / "results.jsonl", "micro", 600)
    gpu_forms.micro(argparse.Namespace(tiny=True), records)
    results = read(records.path)
    assert {record["kind"] for record in results} == kinds
    assert all(record["difference"] < 1e-4 and record["ms"] > 0 for record in results)


def fine(records: list[dict], *kinds: str) -> None:
    """Nothing failed or was left out but what asks for an NVIDIA driver, and all kinds are there."""
    bad = [r for r in records if (r.get("error") or r.get("skipped")) and r.get("name") != "nvidia-smi"]
    assert not bad, bad
    assert set(kinds) <= {record["kind"] for record in records}


@pytest.mark.slow
def test_correctness(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    _, records = run(tmp_path, "--steps", "a,export")
    fine(records, "versions", "machine", "imports", "bandwidth", "options", "smoke", "reference", "export")
    assert of(records, "smoke")[0]["good"] == 22 and of(records, "imports")[0]["failed"] == {}
    assert of(records, "reference")[0]["largest"] < 1e-3
    assert of(records, "export")[0]["largest_difference"] <= 1


@pytest.mark.slow
def test_speed_and_memory(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    other = f"""{sys.executable} -c "print('{{\\\"train_img_per_s\\\": 2.0}}')" """
    only = ("--only", "as it is,lazy")
    text, records = run(tmp_path, "--steps", "profile,variants,sampling,e,speed64", *only, "--torch", other)
    fine(records, "program", "step", "trace", "plan", "variant", "sampling", "memory", "largest", "speed", "comparison")
    (report,), variants = of(records, "trace"), of(records, "variant")
    assert report["kernels_ms"] > 0 and report["places"] and {"D", "G"} <= set(report["by_part"])
    assert [record["what"] for record in variants] == ["as it is", "lazy R1, its own step"]
    assert variants[0]["against_first"] == 1 and [record["batch"] for record in of(records, "largest")] == [8]
    (compared,) = of(records, "comparison")
    assert compared["theirs"] == {"train_img_per_s": 2.0} and compared["ratio"]["train_img_per_s"][0] > 0
    assert "D: " in text.split("== results")[1] and (tmp_path / "out" / "step_8.hlo.txt.gz").is_file()


@pytest.mark.slow
def test_runs(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    _, records = run(tmp_path, "--steps", "f,h")
    fine(records, "killed", "equal", "training", "tests")
    assert of(records, "killed")[0]["status"] == "killed" and len(of(records, "killed")[0]["checkpoints"]) >= 2
    assert of(records, "equal")[0]["equal"] and of(records, "equal")[0]["arrays"] > 100
    assert of(records, "training")[0]["ticks"] > 0 and of(records, "training")[0]["saved"]
    assert "passed" in of(records, "tests")[0]["closing"][0]
