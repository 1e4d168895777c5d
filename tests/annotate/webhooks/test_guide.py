"""The receiver of docs/guide.md takes what is signed and refuses the rest."""

from __future__ import annotations

import re
import runpy
import threading
from http.server import HTTPServer
from pathlib import Path

import pytest
from django.conf import settings as django_settings
from pytest_django import Settings

from annotate.models import Project, WebhookDelivery
from annotate.webhooks import outbox
from annotate.webhooks.delivery import send_next_webhook
from tests.annotate.webhooks.receiver import hook_of


def receiver_of_the_guide(monkeypatch: pytest.MonkeyPatch, folder: Path) -> HTTPServer:
    """The server that the example starts, at a free port and not serving yet."""
    guide = (Path(django_settings.BASE_DIR) / "docs" / "guide.md").read_text("utf-8")
    (source,) = re.findall(r"```python\n# receiver.py\n(.+?)```", guide, re.DOTALL)
    started: list[HTTPServer] = []
    with monkeypatch.context() as patched:
        patched.setattr(HTTPServer, "serve_forever", lambda server: started.append(server))
        program = folder / "receiver.py"
        program.write_text(source.replace("9000", "0"), "utf-8")
        runpy.run_path(str(program))
    return started[0]


def test_the_receiver_verifies(
    project: Project,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    settings.WEBHOOK_HOSTS = ["127.0.0.1"]
    with receiver_of_the_guide(monkeypatch, tmp_path) as server:
        hook = hook_of(project, f"http://127.0.0.1:{server.server_port}/")
        states = []
        for secret in (hook.secret, "whsec_bm90IHRoZSBzZWNyZXQ="):
            monkeypatch.setenv("WEBHOOK_SECRET", secret)
            outbox.tell_test(hook)
            answering = threading.Thread(target=server.handle_request)
            answering.start()
            assert send_next_webhook()
            answering.join()
            states.append(WebhookDelivery.objects.latest("pk").status)
    assert states == [204, 400]
    assert "webhook.test {'project': 'desk'" in capsys.readouterr().out
