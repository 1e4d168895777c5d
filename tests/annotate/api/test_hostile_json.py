"""Bodies that json.loads lets through and databases choke on, sent to every writing endpoint."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache

import pytest
from django.contrib.auth.models import User
from django.core.cache import caches
from drf_spectacular.generators import SchemaGenerator
from rest_framework.exceptions import ParseError
from rest_framework.test import APIClient

from annotate import queue
from annotate.api.json_parser import parse
from annotate.exporting import freezing
from annotate.models import AiAnnotator, Assignment, Export, Import, Pair, Project
from tests.annotate.webhooks.receiver import hook_of
from training.models import Run

MakePairs = Callable[..., list[Pair]]

BROKEN = {
    "an open brace": b"{",
    "an open list": b"[",
    "a lone comma": b",",
    "a trailing comma": b'{"choice": "left",}',
    "single quotes": b"{'choice': 'left'}",
    "a comment": b'{"choice": "left"} // left',
    "two objects": b'{"choice": "left"} {"choice": "left"}',
    "a bare word": b"left",
    "a list": b'["left"]',
    "a text": b'"left"',
    "a number": b"7",
    "null": b"null",
    "true": b"true",
    "NaN": b'{"strength": NaN}',
    "Infinity": b'{"strength": Infinity}',
    "minus Infinity": b'{"strength": -Infinity}',
    "a float too large": b'{"strength": 1e999}',
    "an int of 19 digits": b'{"strength": 9999999999999999999}',
    "an int of 5000 digits": b'{"strength": ' + b"9" * 5000 + b"}",
    "a duplicate key": b'{"choice": "left", "choice": "right"}',
    "a duplicate key inside": b'{"reasons": [{"a": 1, "a": 2}]}',
    "NUL in a text": b'{"comment": "a\\u0000b"}',
    "NUL in a key": b'{"\\u0000": 1}',
    "a raw NUL": b'{"comment": "a\x00b"}',
    "a lone high surrogate": b'{"comment": "\\ud800"}',
    "a lone low surrogate": b'{"comment": "\\udfff"}',
    "a surrogate in a key": b'{"\\ud800": 1}',
    "swapped surrogates": b'{"comment": "\\udc00\\ud800"}',
    "a surrogate in UTF-8": b'{"comment": "\xed\xa0\x80"}',
    "Latin-1": '{"comment": "é"}'.encode("latin-1"),
    "UTF-16": '{"choice": "left"}'.encode("utf-16"),
    "overlong UTF-8": b'{"comment": "\xc0\xaf"}',
    "a byte order mark": b'\xef\xbb\xbf{"choice": "left"}',
    "a raw newline in a text": b'{"comment": "a\nb"}',
    "a broken escape": b'{"comment": "\\x41"}',
    "50,000 open lists": b"[" * 50_000,
    "50,000 open objects": b'{"a":' * 50_000,
    "33 closed lists": b'{"reasons": ' + b"[" * 33 + b"]" * 33 + b"}",
    "3 MB": b'{"comment": "' + b"x" * 3_000_000 + b'"}',
    "20,000 keys": json.dumps({f"k{i}": i for i in range(20_000)}).encode(),
}
OF_EACH_KIND = ("an open brace", "a list", "NaN", "NUL in a text", "a lone high surrogate",
                "50,000 open lists", "3 MB")  # fmt: skip
NEXT = "/api/v1/projects/{slug}/next/"
VALUES = (None, True, 0, -1, 2**53, 1.5, "", "x", "\u202e", "😀" * 3000, "'; DROP TABLE", [], [[]],
          [None], {}, {"a": {}}, ["x"] * 500, {"$ne": 1})  # fmt: skip


@cache
def writing_endpoints() -> dict[str, list[str]]:
    """Paths that take a JSON body, or none, and the fields of that; uploads have tests of their
    own."""
    schema = SchemaGenerator().get_schema(public=True)
    posts = {path: calls["post"] for path, calls in schema["paths"].items() if "post" in calls}
    json_body = {"content": {"application/json": {}}}
    bodies = {path: post.get("requestBody", json_body)["content"] for path, post in posts.items()}
    fields = {}
    for path, content in sorted(bodies.items()):
        if "application/json" in content:
            name = content["application/json"].get("schema", {}).get("$ref", "").rpartition("/")[2]
            fields[path] = [*schema["components"]["schemas"].get(name, {}).get("properties", {})]
    return fields


@pytest.fixture
def send(
    project: Project, zed: User, make_pairs: MakePairs, api_for: Callable[[User], APIClient]
) -> Callable[[str, bytes], int]:
    """send(path, body): post the raw body as an admin who leases a pair; return the status."""
    make_pairs(1)
    lease = queue.next_pair(project, zed)
    assert lease is not None
    client = api_for(zed)
    client.raise_request_exception = False
    held = {"project": project, "state": "held"}
    job = {
        "imports": Import.objects.create(step="write", **held),
        "completions-runs": Run.objects.create(
            project=project, kind="completions", state="failed", options={"sources": []}
        ),
        "model-checks": Run.objects.create(
            project=project,
            kind="check",
            state="failed",
            options={"sources": [{"folder": "/m"}], "from": "/m", "make": "starter", "kind": ""},
        ),
        "exports": Export.objects.create(version=freezing.freeze(project), **held),
    }

    hook = hook_of(project)
    annotator = AiAnnotator.objects.create(
        project=project,
        name="a",
        kind="chat",
        source={"url": "http://127.0.0.1:9/v1", "model": "m"},
        constitution="Be kind.",
    )

    def post(path: str, body: bytes) -> int:
        # Throttled as one person would be: these are many.
        caches["default"].clear()
        address = path.replace("{slug}", "desk").replace("{token}", str(lease.token))
        address = address.replace("{hook_id}", str(hook.pk))
        address = address.replace("{ai_annotator_id}", str(annotator.pk))
        if "{uuid}" in path:
            address = address.replace("{uuid}", str(job[path.split("/")[5]].uuid))
        response = client.post(address, body, content_type="application/json")
        if response.status_code >= 400:
            assert response.json(), "errors say what is wrong"
        return response.status_code

    return post


def test_every_writing_endpoint_is_covered() -> None:
    found = writing_endpoints()
    assert {path.split("/")[-2] for path in found} >= {"next", "vote", "skip", "undo"}
    assert [path for path, fields in found.items() if "choice" in fields] != []


@pytest.mark.parametrize("path", writing_endpoints())
def test_a_broken_body_is_a_bad_request_and_changes_nothing(
    send: Callable[[str, bytes], int], path: str
) -> None:
    names = BROKEN if path == NEXT else OF_EACH_KIND  # one parser reads the bodies of all calls
    statuses = {name: send(path, BROKEN[name]) for name in names}
    assert statuses.pop("3 MB") == 413
    assert {name: status for name, status in statuses.items() if status != 400} == {}
    assert not Assignment.objects.exclude(state="reserved").exists()


@pytest.mark.parametrize("share", [3, pytest.param(1, marks=pytest.mark.long)])
@pytest.mark.parametrize("path", writing_endpoints())
def test_a_strange_value_in_any_field_never_breaks_the_server(
    send: Callable[[str, bytes], int], path: str, share: int
) -> None:
    for number, field in enumerate([*writing_endpoints()[path], "__proto__"]):
        for value in VALUES[number % share :: share]:
            body = {"choice": "left", field: value} if "/vote/" in path else {field: value}
            status = send(path, json.dumps(body).encode())
            assert status < 500, (path, field, value)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b'{"a": NaN}', "NaN"),
        (b'{"a": 1, "a": 2}', "twice"),
        (b'{"a": "\\u0000"}', "NUL"),
        (b'{"a": "\\ud800"}', "surrogate"),
        (b"[" * 40, "32 levels"),
        (b'{"a": ' + b"1" * 40 + b"}", "digits"),
        (b"\xff", "UTF-8 at byte 0"),
        (b"[1]", "object"),
        (b"{]", "not JSON"),
    ],
)
def test_the_message_says_what_is_wrong(body: bytes, said: str) -> None:
    with pytest.raises(ParseError, match=said):
        parse(body)


def test_ordinary_json_is_read_as_json() -> None:
    value = {
        "text": 'a "quoted [ { text\\',
        "😀": [1, -2, 0.5, True, None],
        "deep": [[[{"a": "b"}]]],
    }
    assert parse(json.dumps(value).encode()) == value
    assert parse(json.dumps(value, ensure_ascii=False).encode()) == value
    assert parse(b'{"pair": "\\ud83d\\ude00"}') == {"pair": "😀"}
    assert parse(b"") == parse(b"  ") == {}


def test_brackets_inside_texts_are_no_depth() -> None:
    for text in ('[{"' * 40, "\\[" * 40, "\\" * 41, '"' + "]" * 40 + '"'):
        assert parse(json.dumps({"comment": text, "reasons": []}).encode()) == {
            "comment": text,
            "reasons": [],
        }
    with pytest.raises(ParseError, match="nested"):
        parse(b'{"comment": "]]]", "a": ' + b"[" * 40)


def test_the_number_of_keys_is_looked_at_before_the_keys() -> None:
    twice = ",".join(f'"k{i}": 1' for i in range(10_000)) + ', "k5": 2'
    with pytest.raises(ParseError, match="more than 10,000 keys"):
        parse(f"{{{twice}}}".encode())
    with pytest.raises(ParseError, match="'k5' is there twice"):
        parse(f"{{{twice.removeprefix(chr(34) + 'k0' + chr(34) + ': 1,')}}}".encode())
