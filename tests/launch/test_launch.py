"""The files of ``launch/``: their syntax and fields; SLURM's and ssh's start two processes on this machine."""

import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from stylegen.config_json import to_json
from stylegen.runs.checkpoint import available
from tests.runtime.test_processes import PATIENCE, stats, tiny
from tests.support.paths import ROOT

LAUNCH = ROOT / "launch"
SCRIPTS = ("slurm.sbatch", "tpu_pod.sh", "ssh.sh")

# SLURM's srun for two tasks on one node, as its variables say; each is told apart by SLURM_PROCID.
SRUN = """#!/bin/bash
while [[ "$1" == --* ]]; do echo "srun $1" >>"$SEEN"; shift; done
export SLURM_NTASKS=2 SLURM_STEP_NUM_TASKS=2 SLURM_STEP_NUM_NODES=2 SLURM_STEP_NODELIST=localhost
for task in 0 1; do
    SLURM_PROCID=$task SLURM_LOCALID=0 "$@" &
    pids[$task]=$!
done
trap 'kill -TERM ${pids[1]}' TERM
status=0
for task in 0 1; do
    wait "${pids[$task]}" || wait "${pids[$task]}" || status=$?
done
exit $status
"""
SSH = """#!/bin/bash
while [[ "$1" == -* ]]; do shift 2; done
echo "ssh $1" >>"$SEEN"
shift
exec bash -c "$*"
"""
RECORDED = """#!/bin/bash
echo "$(basename "$0") $*" >>"$SEEN"
"""


@pytest.mark.parametrize("name", SCRIPTS)
def test_scripts_are_bash(name):
    subprocess.run(["bash", "-n", str(LAUNCH / name)], check=True)


def test_help_is_the_head_of_the_file():
    for name in ("ssh.sh", "tpu_pod.sh"):
        done = subprocess.run([str(LAUNCH / name)], capture_output=True, text=True, check=False)
        assert done.returncode == 2 and f"launch/{name}" in done.stderr and "#" not in done.stderr.split("\n")[0]


def test_jobset_starts_as_many_processes_as_it_says():
    yaml = pytest.importorskip("yaml")
    job = yaml.safe_load((LAUNCH / "jobset.yaml").read_text())
    assert (job["apiVersion"], job["kind"]) == ("jobset.x-k8s.io/v1alpha2", "JobSet")
    (hosts,) = job["spec"]["replicatedJobs"]
    spec = hosts["template"]["spec"]
    (container,) = spec["template"]["spec"]["containers"]
    (nodes,) = [entry["value"] for entry in container["env"] if entry["name"] == "NODES"]
    assert int(nodes) == spec["parallelism"] == spec["completions"] and spec["completionMode"] == "Indexed"
    # The name of JobSet's headless service: jobset-replicatedjob-job-pod.jobset
    address = f"{job['metadata']['name']}-{hosts['name']}-0-0.{job['metadata']['name']}"
    assert f"--distributed.coordinator {address}:{container['ports'][0]['containerPort']} " in container["args"][0]
    check_words(container["args"][0])


def test_skypilot_starts_as_many_processes_as_it_says():
    yaml = pytest.importorskip("yaml")
    task = yaml.safe_load((LAUNCH / "skypilot.yaml").read_text())
    assert set(task) <= {"name", "num_nodes", "resources", "envs", "setup", "run"}
    assert set(task["resources"]) <= {"accelerators", "use_spot", "disk_size"}
    check_words(task["run"])


def check_words(text: str) -> None:
    """Every option of ``stylegen train`` in a shell text exists."""
    from stylegen import config_json
    from stylegen.config import Config, option

    known = {option(name, "").strip() for name in config_json.names(Config())} | {"--config"}
    given = re.findall(r"(?<=\s)--[\w.-]+", text.partition("stylegen train")[2])
    assert len(given) >= 5 and set(given) <= known


def environment(tmp_path: Path, **programs: str) -> dict[str, str]:
    """With programs of these names before all others."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name, text in programs.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    own = {
        "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}",
        "SEEN": str(tmp_path / "seen.txt"),
        "HOME": str(tmp_path),
        "TRAIN": f"{shlex.quote(sys.executable)} {shlex.quote(str(ROOT / 'train.py'))}",
        "JAX_PLATFORMS": "cpu",
        "PYTHONPATH": f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}",
    }
    return {name: value for name, value in os.environ.items() if not name.startswith("SLURM")} | own


def experiment(tmp_path: Path, kimg: float) -> tuple[list[str], Path]:
    """(options of train, run directory) of a tiny run."""
    text = to_json(tiny(tmp_path / "run with a space", kimg))
    (tmp_path / "experiment.py").write_text(
        f"from stylegen.config_json import from_json\ndef get_config():\n    return from_json({text!r})"
    )
    folder = tmp_path / "run with a space"
    return ["--config", str(tmp_path / "experiment.py"), "--run.dir", str(folder)], folder


def wait_for_steps(folder: Path, process: subprocess.Popen, count: int) -> None:
    deadline = time.monotonic() + PATIENCE
    while len(stats(folder)) < count:
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.1)


def test_tpu_pod_quotes_what_it_hands_on(tmp_path):
    gcloud = '#!/bin/bash\nprintf "%s\\n" "$@" >"$SEEN"\n'
    script = str(LAUNCH / "tpu_pod.sh")
    command = [script, "pod", "us-central2-b", "train", "--run.dir", "gs://b/a run", "--run.grid", "8", "4"]
    env = environment(tmp_path, gcloud=gcloud)
    subprocess.run(command, env=env, check=True)
    words = (tmp_path / "seen.txt").read_text().splitlines()
    assert words[:8] == ["compute", "tpus", "tpu-vm", "ssh", "pod", "--zone", "us-central2-b", "--worker"]
    assert shlex.split(words[-1])[1:] == command[3:]
    assert subprocess.run([script, "pod", "zone", "halt"], env=env, capture_output=True, check=False).returncode == 2


@pytest.mark.slow
def test_slurm_starts_stops_and_queues_again(tmp_path):
    """Two processes find each other by SLURM's variables; a stopped run is queued again, a finished one is not."""
    options, folder = experiment(tmp_path, kimg=100)
    env = environment(tmp_path, srun=SRUN, scontrol=RECORDED) | {"SLURM_JOB_ID": str(os.getpid())}
    command = ["bash", str(LAUNCH / "slurm.sbatch"), *options]
    with (tmp_path / "output.txt").open("w") as output:
        process = subprocess.Popen(command, env=env, stdout=output, stderr=subprocess.STDOUT, cwd=tmp_path)
        try:
            wait_for_steps(folder, process, 2)
            children = subprocess.run(["pgrep", "-P", str(process.pid)], capture_output=True, text=True, check=True)
            for child in children.stdout.split():  # SLURM's signal goes to the step, and not to the batch shell
                os.kill(int(child), signal.SIGTERM)
            assert process.wait(PATIENCE) == 0
        finally:
            process.kill()
    text, seen = (tmp_path / "output.txt").read_text(), (tmp_path / "seen.txt").read_text()
    assert "Process 0 of 2, by SLURM" in text and "Process 1 of 2, by SLURM" in text
    assert f"scontrol requeue {os.getpid()}" in seen
    assert max(available(folder)) == stats(folder)[-1]["nimg"]

    (tmp_path / "seen.txt").write_text("")
    done = [*command, "--schedule.total-kimg", str(max(available(folder)) / 1000 + 0.016)]
    subprocess.run(done, env=env, check=True, cwd=tmp_path, timeout=PATIENCE)
    assert "Finished" in (folder / "log.txt").read_text() and "requeue" not in (tmp_path / "seen.txt").read_text()


@pytest.mark.slow
def test_ssh_starts_one_process_a_host_and_stops_them_all(tmp_path):
    options, folder = experiment(tmp_path, kimg=100)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    env = environment(tmp_path, ssh=SSH) | {"PORT": str(port)}
    command = [str(LAUNCH / "ssh.sh"), "127.0.0.1,me@127.0.0.1", *options]
    with (tmp_path / "output.txt").open("w") as output:
        process = subprocess.Popen(command, env=env, stdout=output, stderr=subprocess.STDOUT, cwd=tmp_path)
        try:
            wait_for_steps(folder, process, 2)
            process.send_signal(signal.SIGTERM)
            assert process.wait(PATIENCE) == 0, (tmp_path / "output.txt").read_text()
        finally:
            process.kill()
    seen = (tmp_path / "seen.txt").read_text().splitlines()
    assert sorted(seen[:2]) == ["ssh 127.0.0.1", "ssh me@127.0.0.1"], "both at once"
    assert seen[2:] == ["ssh 127.0.0.1"], "one of them is told to stop"
    assert max(available(folder)) == stats(folder)[-1]["nimg"]
    config = json.loads((folder / "config.json").read_text())
    assert config["run"]["dir"] == str(folder)
