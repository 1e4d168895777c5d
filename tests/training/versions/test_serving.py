"""The promoted policy for other programs, by the commands of docs/operations.md."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from io import StringIO
from pathlib import Path

import pytest
from django.conf import settings as django_settings
from django.core.management import CommandError, call_command

from annotate.models import Project
from tests.training.conftest import environment
from tests.training.rlhf import tiny
from training.models import ModelVersion
from training.rlhf.config import LoraConfig
from training.rlhf.language import lora_adapters, pretrained
from training.versions import promotion

DOCUMENT = Path(django_settings.BASE_DIR) / "docs" / "operations.md"
Run = Callable[[str], subprocess.Popen[str]]


def promoted(*options: str) -> tuple[str, str]:
    out, err = StringIO(), StringIO()
    call_command("promoted", "--project", "desk", *options, stdout=out, stderr=err)
    return out.getvalue(), err.getvalue()


def adapter(home: Path) -> str:
    """A tiny Llama in `home`/starter and an untrained adapter of it; the adapter's folder."""
    base = tiny.llama(home / "starter")
    model = lora_adapters.new_adapter(pretrained.load_causal(base), LoraConfig(r=2), base=base)
    pretrained.save_model(model, pretrained.load_tokenizer(base), home / "adapter")
    return "adapter"


def promote(project: Project, path: str) -> None:
    ModelVersion.objects.filter(project=project).update(state="retired")
    ModelVersion.objects.create(
        project=project, kind="policy", number=1, state="promoted", path=path
    )


def test_it_prints_the_folder_of_the_policy_in_use(project: Project, home: Path) -> None:
    (home / "starter").mkdir()
    promotion.adopt_starter(project, "starter")
    for options in ((), ("--merge",)):
        assert promoted(*options) == (f"{home / 'starter'}\n", "")


def test_a_policy_from_a_hub_is_its_id(project: Project, home: Path) -> None:
    promotion.adopt_starter(project, "someone/tiny-chat")
    assert promoted()[0] == "someone/tiny-chat\n"


def test_what_cannot_be_served_is_said(project: Project, home: Path) -> None:
    with pytest.raises(CommandError, match="has no policy yet"):
        promoted()
    with pytest.raises(CommandError, match="nowhere"):
        call_command("promoted", "--project", "nowhere")


@pytest.fixture
def broken(project: Project, home: Path) -> None:
    """An adapter without weights is in use."""
    (home / "adapter").mkdir()
    (home / "adapter" / "adapter_config.json").write_text("{}")
    promote(project, "adapter")


def test_that_it_is_an_adapter_is_said_beside_the_folder(broken: None, home: Path) -> None:
    out, err = promoted()
    assert out == f"{home / 'adapter'}\n" and "--merge makes one model of it" in err


@pytest.mark.long
def test_an_adapter_that_cannot_be_merged_says_why(broken: None) -> None:
    with pytest.raises(CommandError, match=r"cannot be merged: .*adapter_model.safetensors"):
        promoted("--merge")


@pytest.fixture
def run(home: Path, transactional_db: None) -> Iterator[Run]:
    """run(commands): a shell at the root of the product, on the test's database and home."""
    started: list[subprocess.Popen[str]] = []

    def start(commands: str) -> subprocess.Popen[str]:
        # The commands are those of our own documentation.
        process = subprocess.Popen(
            ["bash", "-ec", commands],
            cwd=django_settings.BASE_DIR,
            env={**os.environ, **environment(home), "HF_HUB_OFFLINE": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        with contextlib.suppress(ProcessLookupError):  # it has ended, and nobody is left of it
            os.killpg(process.pid, signal.SIGKILL)
        print(process.communicate()[0])


def documented(port: int) -> list[str]:
    """The two blocks of the section on serving, for this machine and the test's project."""
    section = DOCUMENT.read_text("utf-8").partition("## Serving")[2].partition("\n## ")[0]
    binaries = str(Path(sys.executable).parent)
    return [
        block.replace(".venv/bin", binaries)
        .replace("support-desk", "desk")
        .replace("8001", str(port))
        for block in re.findall(r"```sh\n(.*?)```", section, re.DOTALL)
    ]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for_server(port: int, process: subprocess.Popen[str], seconds: float = 300.0) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and process.poll() is None:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2).close()
        except (urllib.error.URLError, TimeoutError):
            time.sleep(0.2)
        else:
            return
    pytest.fail("the server did not start")


def test_the_documented_commands_serve_an_adapter_to_other_programs(
    project: Project, home: Path, run: Run
) -> None:
    promote(project, adapter(home))
    port = free_port()
    serve, ask = documented(port)
    wait_for_server(port, run(serve))
    folder = serve.splitlines()[0]
    answer = run(f"{folder}\n{ask}").communicate(timeout=120)[0]
    found = json.loads(answer.strip().splitlines()[-1])
    assert found["choices"][0]["message"]["role"] == "assistant"
    assert 0 < found["usage"]["completion_tokens"] <= 64
    whole = Path(found["model"].removesuffix("@main"))
    assert whole.parent.parent.parent == home / "served"
    assert not (whole / "adapter_config.json").exists()
