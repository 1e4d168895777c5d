"""The API's reference page, rendered from the OpenAPI schema without a line of JavaScript."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import path
from django.views.decorators.http import require_safe
from drf_spectacular.generators import SchemaGenerator

Schema = dict[str, Any]


@login_not_required
@require_safe
def docs(request: HttpRequest) -> HttpResponse:
    return render(request, "api/docs.html", {"groups": _groups()})


@cache
def _groups() -> list[dict[str, Any]]:
    """Operations by what they are about; the schema never changes at run time."""
    # drf-spectacular leaves both untyped.
    generator = SchemaGenerator()  # type: ignore[no-untyped-call]
    schema: Schema = generator.get_schema(public=True)  # type: ignore[no-untyped-call]
    operations = [
        _operation(schema, path, method, details)
        for path, methods in schema["paths"].items()
        for method, details in methods.items()
    ]
    groups: dict[str, list[Schema]] = {}
    for operation in operations:
        groups.setdefault(operation["group"], []).append(operation)
    return [{"name": name, "operations": group} for name, group in sorted(groups.items())]


def _operation(schema: Schema, path: str, method: str, details: Schema) -> dict[str, Any]:
    body = details.get("requestBody", {}).get("content", {})
    responses = sorted(details["responses"].items())
    return {
        "group": (details.get("tags") or ["other"])[0],
        "id": details["operationId"],
        "method": method.upper(),
        "path": path,
        "description": details.get("description", ""),
        "parameters": [_parameter(one) for one in details.get("parameters", [])],
        "body": list(_fields(schema, _schema_of(body))),
        "responses": [_response(schema, *one) for one in responses if one[0] < "4"],
        "errors": [_error(schema, *one) for one in responses if one[0] >= "4"],
    }


def _parameter(one: Schema) -> dict[str, Any]:
    return {
        "name": one["name"],
        "where": one["in"],
        "required": one.get("required", False),
        "type": _type(one.get("schema", {})),
        "description": _without_choices(one.get("description", "")),
    }


def _response(schema: Schema, code: str, one: Schema) -> dict[str, Any]:
    fields = list(_fields(schema, _schema_of(one.get("content", {}))))
    return {"code": code, "description": one.get("description", ""), "fields": fields}


def _error(schema: Schema, code: str, one: Schema) -> dict[str, Any]:
    """An error with the fields that it has beside those of every error."""
    described = _response(schema, code, one)
    every = _resolved(schema, {"$ref": "#/components/schemas/ErrorBody"})["properties"]
    more = [field for field in described["fields"] if field["name"].partition(".")[0] not in every]
    return {**described, "fields": more}


def _schema_of(content: Schema) -> Schema:
    return next(iter(content.values())).get("schema", {}) if content else {}


def _fields(schema: Schema, schema_part: Schema, prefix: str = "") -> Iterator[dict[str, Any]]:
    """One row per field, nested objects and list items in place with a dotted name."""
    schema_part = _resolved(schema, schema_part)
    if schema_part.get("type") == "array":
        yield from _fields(schema, schema_part["items"], prefix or "[].")
        return
    required = schema_part.get("required", [])
    for name, field in schema_part.get("properties", {}).items():
        inner = _resolved(schema, field)
        yield {
            "name": prefix + name,
            "type": _type(inner),
            "required": name in required,
            "description": _without_choices(inner.get("description", "")),
        }
        many = inner.get("type") == "array"
        nested = _resolved(schema, inner["items"]) if many else inner
        if nested.get("properties"):
            yield from _fields(schema, nested, f"{prefix}{name}{'[]' if many else ''}.")


def _without_choices(description: str) -> str:
    """The generator appends a list of the choices, which the type already names."""
    return description.split("* `")[0].strip()


def _resolved(schema: Schema, schema_part: Schema) -> Schema:
    for part in (schema_part, *schema_part.get("allOf", []), *schema_part.get("oneOf", [])):
        if "$ref" in part:
            name = part["$ref"].rsplit("/", 1)[-1]
            rest = {key: value for key, value in schema_part.items() if key != "$ref"}
            return {**schema["components"]["schemas"][name], **rest}
    return schema_part


def _type(schema_part: Schema) -> str:
    if "enum" in schema_part:
        return ", ".join(str(value) for value in schema_part["enum"])
    kind = schema_part.get("type", "object")
    if isinstance(kind, list):
        kind = " or ".join(kind)
    if kind == "array":
        return f"list of {_type(schema_part.get('items', {}))}"
    return f"{kind} ({schema_part['format']})" if "format" in schema_part else str(kind)


urlpatterns = [path("api/v1/docs/", docs, name="api-docs")]
