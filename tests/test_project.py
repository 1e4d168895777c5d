"""The project itself: settings, migrations, deployment checks, documentation, tokens of design."""

from __future__ import annotations

import os
import re
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parent.parent
STYLES = sorted((ROOT / "static/css").glob("*.css"))
SETTINGS = (
    "config/settings.py",
    "config/gunicorn.py",
    "training/rlhf/completions/openai_endpoint.py",
)


def manage(*arguments: str, home: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return python("manage.py", *arguments, home=home, **environment)


def python(*arguments: str, home: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    # The second one belongs to browser tests that share the process.
    dropped = ("SECRET_KEY", "DJANGO_ALLOW_ASYNC_UNSAFE")
    clean = {key: value for key, value in os.environ.items() if key not in dropped}
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env=clean | {"PAIRLOOP_HOME": str(home), "DATABASE_URL": ""} | environment,
        capture_output=True,
        text=True,
        check=False,
    )


def read_settings() -> set[str]:
    """Names of all environment variables that the settings read."""
    code = "".join((ROOT / name).read_text("utf-8") for name in SETTINGS)
    return set(re.findall(r"""env(?:iron\.get|\.\w+)\(\s*['"]([A-Z_]+)['"]""", code))


def test_every_setting_is_in_the_readme_and_every_documented_one_exists() -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    table = set(re.findall(r"^\| `([A-Z_]+)` \|", readme, re.MULTILINE))
    assert table == read_settings()


def test_the_readme_lists_the_stages_of_the_loop_in_order() -> None:
    from training.rlhf.round import STAGES

    readme = (ROOT / "README.md").read_text("utf-8")
    places = [readme.index(f"`{stage.name}`") for stage in STAGES]
    assert places == sorted(places)


def test_the_bundled_font_is_small_licensed_and_asked_for_early() -> None:
    static = ROOT / "static"
    files = sorted((static / "fonts").glob("*.woff2"))
    assert 0 < sum(file.stat().st_size for file in files) <= 45_000
    named = re.findall(r'url\("\.\./fonts/([^"]+)"\)', (static / "css/tokens.css").read_text())
    assert sorted(named) == [file.name for file in files]
    page = (ROOT / "templates/base.html").read_text()
    (early,) = re.findall(r"""rel="preload" href="{% static 'fonts/([^']+)'""", page)
    assert early in named
    assert list((static / "fonts").glob("*.LICENSE.txt"))


def test_files_that_the_documents_link_to_exist() -> None:
    for document in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]:
        for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", document.read_text("utf-8")):
            assert (document.parent / target).exists(), f"{document.name} links to {target}"


def test_the_migrations_match_the_models(tmp_path: Path) -> None:
    done = manage("makemigrations", "--check", "--dry-run", home=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_deployment_check_is_clean_behind_https(tmp_path: Path) -> None:
    done = manage("check", "--deploy", "--fail-level", "WARNING", home=tmp_path, PAIRLOOP_HTTPS="1")
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_secret_key_is_made_once_and_only_its_owner_can_read_it(tmp_path: Path) -> None:
    load = ("-c", "import config.settings")
    assert python(*load, home=tmp_path).returncode == 0
    path = tmp_path / "secret_key"
    first = path.read_text()
    assert python(*load, home=tmp_path).returncode == 0
    assert path.read_text() == first and len(first) >= 50
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_the_requirements_are_fully_pinned() -> None:
    for name in sorted(ROOT.glob("requirements*.txt")):
        for line in name.read_text("utf-8").splitlines():
            if line and not line.startswith(("#", "-r ")):
                assert re.match(r"^[\w.\[\],-]+==[\w.]+(  #.*)?$", line), f"{name.name}: {line}"


def test_every_file_of_requirements_pins_a_package_alike() -> None:
    """Or pip refuses to install two of them together."""
    versions: dict[str, set[str]] = {}
    for file in ROOT.glob("requirements*.txt"):
        for name, version in re.findall(
            r"^([\w.-]+)\S*==(\S+)", file.read_text("utf-8"), re.MULTILINE
        ):
            versions.setdefault(re.sub(r"[-_.]+", "-", name).lower(), set()).add(version)
    assert {name: found for name, found in versions.items() if len(found) > 1} == {}


@pytest.fixture(scope="module")
def compose() -> dict[str, dict[str, dict[str, object]]]:
    return yaml.safe_load((ROOT / "docker-compose.yml").read_text("utf-8"))  # type: ignore[no-any-return]


def test_compose_starts_the_services_of_the_design(
    compose: dict[str, dict[str, dict[str, object]]],
) -> None:
    assert set(compose["services"]) == {"db", "migrate", "web", "worker", "worker-gpu"}


def test_every_command_that_compose_and_docker_run_exists(
    compose: dict[str, dict[str, dict[str, object]]], tmp_path: Path
) -> None:
    known = manage("help", "--commands", home=tmp_path).stdout.split()
    for name, service in compose["services"].items():
        command = service.get("command")
        if isinstance(command, list) and "manage.py" in command:
            assert command[command.index("manage.py") + 1] in known, name


def tokens() -> dict[str, str]:
    css = (ROOT / "static/css/tokens.css").read_text("utf-8")
    return dict(re.findall(r"^\s*(--[\w-]+):\s*([^;]+);", css, re.MULTILINE))


def design() -> str:
    return (ROOT / "docs/design.md").read_text("utf-8")


def test_every_token_is_in_the_document_with_its_value_and_every_documented_one_exists() -> None:
    rows = re.findall(r"^\| `(--[\w-]+)` \| `([^`]+)` \|", design(), re.MULTILINE)
    assert len(rows) > 40
    assert dict(rows) == tokens()


def test_style_sheets_use_no_value_that_nothing_sets() -> None:
    css = "".join(path.read_text("utf-8") for path in STYLES)
    # A script sets the prompt's height, which only the page knows.
    known = set(re.findall(r"(--[\w-]+):", css)) | {"--prompt-height"}
    assert set(re.findall(r"var\((--[\w-]+)", css)) <= known


def test_colours_have_a_name() -> None:
    """Black in a mask is no colour, and a code that cameras read is on white paper."""
    for path in STYLES:
        if path.name == "tokens.css":
            continue
        raw = set(re.findall(r"(?<![\w&])#[0-9a-fA-F]{3,8}\b", path.read_text("utf-8")))
        assert raw <= ({"#fff"} if path.name == "people.css" else {"#000"}), path.name


def test_every_documented_part_is_styled() -> None:
    (table,) = re.findall(r"^\| class \| is \|\n(.*?)\n\n", design(), re.MULTILINE | re.DOTALL)
    css = "".join(path.read_text("utf-8") for path in STYLES)
    named = set(re.findall(r"`\.([\w-]+)`", table))
    assert len(named) > 30
    assert {name for name in named if not re.search(rf"\.{name}\b", css)} == set()
