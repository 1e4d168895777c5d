"""The bodies of the import calls, checked on the way in and described on the way out."""

from __future__ import annotations

from typing import Any

from django.urls import reverse
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from annotate.api.serializers import KnownFieldsOnly, StrictCharField, StrictIntegerField
from annotate.importing.files.text_encodings import ENCODINGS
from annotate.importing.limits import MAX_FILE, MAX_PIECE
from annotate.jobs import import_job, upload_files
from annotate.jobs.import_actions import JUDGED, STAGES, stage, standstill
from annotate.models import Import, Project


class ProblemBody(serializers.Serializer[Any]):
    file = serializers.CharField(
        allow_blank=True, help_text="The member of an archive, or the split."
    )
    line = serializers.IntegerField()
    field = serializers.CharField(allow_blank=True)
    reason = serializers.CharField()
    unit = serializers.CharField(help_text="The sort of thing that `line` counts: line or row.")
    value = serializers.CharField(allow_blank=True, help_text="The field's value, cut.")


class ReportBody(serializers.Serializer[Any]):
    """Rows and what became of them. Problems are listed up to the first 1,000 of each kind."""

    written = serializers.BooleanField()
    rows = serializers.IntegerField()
    accepted = serializers.IntegerField()
    refused = serializers.IntegerField()
    warnings = serializers.IntegerField()
    added = serializers.DictField(child=serializers.IntegerField())
    known = serializers.DictField(
        child=serializers.IntegerField(),
        help_text="Of what was in the project: comparisons merged, votes that are duplicates or "
        "revised, values not replaced. alike: unjudged comparisons of equal texts, left out.",
    )
    problems = ProblemBody(many=True, help_text="Refused rows.")
    warned = ProblemBody(many=True, help_text="Warnings about rows that are imported.")


class ImportOptions(KnownFieldsOnly):
    judged = serializers.ChoiceField(
        choices=list(JUDGED.items()),
        required=False,
        help_text="Pairs that are judged already: use as labels, or ask our people as well.",
    )
    strict = serializers.BooleanField(
        required=False, help_text="Import nothing if any row is refused."
    )
    pairs_by = StrictCharField(
        required=False,
        max_length=80,
        allow_blank=True,
        help_text="Rating by which replies to one prompt are compared; empty: they are not.",
    )
    encoding = serializers.ChoiceField(
        choices=list(ENCODINGS.items()),
        required=False,
        allow_blank=True,
        help_text="Of a text that is not UTF-8; empty: as it is found out.",
    )


class QueryOptions(ImportOptions):
    auto = serializers.BooleanField(
        default=False, help_text="Start at once when nothing has to be asked."
    )


PARTS_OF_DATASET = ("config", "split", "revision")


class NewImport(QueryOptions):
    """A file that was sent in pieces, one that lies on the server, or a dataset by its name."""

    upload = serializers.UUIDField(required=False)
    server_file = StrictCharField(
        required=False, max_length=1000, help_text="Below PAIRLOOP_IMPORT_ROOTS."
    )

    dataset = StrictCharField(
        required=False, max_length=300, help_text="OWNER/NAME on the Hugging Face hub."
    )
    config = StrictCharField(required=False, max_length=100, help_text="Of the dataset.")
    split = StrictCharField(required=False, max_length=100, help_text="Of the dataset.")
    revision = StrictCharField(required=False, max_length=100, help_text="Of the dataset.")

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if len(attrs.keys() & {"upload", "server_file", "dataset"}) != 1:
            raise serializers.ValidationError("Give one of upload, server_file and dataset.")
        if "dataset" not in attrs and attrs.keys() & {*PARTS_OF_DATASET}:
            raise serializers.ValidationError("A config, split or revision is a dataset's.")
        return attrs


class AnswerBody(KnownFieldsOnly):
    """The answer to a question: whether the column is the field."""

    column = StrictCharField(max_length=1000)
    field = StrictCharField(max_length=100)
    yes = serializers.BooleanField()


COLUMN = StrictCharField(max_length=1000, allow_blank=True)
MOST_COLUMNS = 100


@extend_schema_field(
    {
        "oneOf": [
            {"type": "string", "maxLength": 1000},
            {
                "type": "array",
                "items": {"type": "string", "maxLength": 1000},
                "maxItems": MOST_COLUMNS,
            },
        ]
    }
)
class ColumnOrColumns(serializers.Field[Any, Any, Any, Any]):
    """A column, or several, of which each row has one."""

    def to_internal_value(self, data: Any) -> str | list[str]:
        if not isinstance(data, list):
            return str(COLUMN.run_validation(data))
        if len(data) > MOST_COLUMNS:
            raise serializers.ValidationError(f"At most {MOST_COLUMNS} columns are one field.")
        return [str(COLUMN.run_validation(one)) for one in data]

    def to_representation(self, value: Any) -> Any:
        return value


class ImportChange(ImportOptions):
    """Changes in how a checked file is read. What is left out stays as it is."""

    mapping = serializers.DictField(
        child=ColumnOrColumns(),
        required=False,
        help_text="Field of a row -> column, or columns of which each row has one, or an empty "
        "text where no column is the field. What is left out is recognised by the file. The file "
        "is checked again.",
    )
    answers = AnswerBody(many=True, required=False)


class NewUpload(KnownFieldsOnly):
    name = StrictCharField(max_length=1000)
    size = StrictIntegerField(
        min_value=1,
        max_value=MAX_FILE,
        error_messages={"min_value": "The file is empty."},
    )
    modified = StrictIntegerField(
        required=False,
        min_value=0,
        max_value=2**53,
        help_text="Tells files of one name and size apart when sending goes on later.",
    )


class UploadBody(serializers.Serializer[Any]):
    upload = serializers.UUIDField()
    url = serializers.CharField(help_text="PATCH the next piece to it.")
    name = serializers.CharField()
    size = serializers.IntegerField()
    offset = serializers.IntegerField(help_text="Bytes that have arrived: where to go on.")
    most = serializers.IntegerField(help_text="Bytes of the longest piece.")


class FieldBody(serializers.Serializer[Any]):
    name = serializers.CharField()
    help = serializers.CharField()


class QuestionBody(serializers.Serializer[Any]):
    column = serializers.CharField()
    field = serializers.CharField()
    why = serializers.CharField()


class ColumnBody(serializers.Serializer[Any]):
    name = serializers.CharField()
    use = serializers.CharField()
    rows = serializers.IntegerField(help_text="That have it.")
    example = serializers.CharField(allow_blank=True)


class ImportSummary(serializers.Serializer[Any]):
    """One import in the list."""

    id = serializers.UUIDField()
    url = serializers.CharField()
    name = serializers.CharField()
    size = serializers.IntegerField()
    state = serializers.ChoiceField(choices=STAGES)
    done = serializers.IntegerField(help_text="Rows worked through.")
    share = serializers.FloatField(help_text="Of the file, 0 to 1.")
    error = serializers.CharField(allow_blank=True, help_text="Why it failed, in words.")
    note = serializers.CharField(allow_blank=True, help_text="Why nothing happens to it.")
    created_at = serializers.DateTimeField()
    finished_at = serializers.DateTimeField(allow_null=True)
    undone_at = serializers.DateTimeField(allow_null=True)


class ImportBody(ImportSummary):
    """An import: `state` says whose turn it is. asking and ready wait for you."""

    format = serializers.CharField(allow_blank=True)
    shape = serializers.CharField(allow_blank=True)
    mapping = serializers.DictField(
        child=ColumnOrColumns(), help_text="Field -> column or columns, as chosen or recognised."
    )
    judged = serializers.ChoiceField(choices=list(JUDGED.items()))
    strict = serializers.BooleanField()
    pairs_by = serializers.CharField(allow_blank=True)
    ratings = serializers.ListField(
        child=serializers.CharField(), help_text="Of replies, which can be compared by them."
    )
    encoding = serializers.CharField(
        allow_blank=True, help_text="The text was read in, where it is not UTF-8."
    )
    obstacle = serializers.CharField(allow_blank=True, help_text="Why it cannot start yet.")
    fields = FieldBody(many=True, help_text="That columns can be mapped to.")  # type: ignore[assignment]
    columns = ColumnBody(many=True)
    left_out = serializers.ListField(
        child=serializers.CharField(), help_text="Members of an archive that hold no rows."
    )
    questions = QuestionBody(many=True, help_text="To be answered before it starts.")
    checked = ReportBody(allow_null=True, help_text="What an import would add.")
    report = ReportBody(allow_null=True, help_text="What it added.")


def upload_body(project: Project, import_: Import) -> dict[str, Any]:
    """The body that `UploadBody` describes."""
    return {
        "upload": str(import_.uuid),
        "url": reverse("api-upload", args=[project.slug, import_.uuid]),
        "name": import_.file_name,
        "size": import_.size,
        "offset": upload_files.offset(import_),
        "most": MAX_PIECE,
    }


def import_summary(project: Project, import_: Import) -> dict[str, Any]:
    """The body that `ImportSummary` describes."""
    return {
        "id": str(import_.uuid),
        "url": reverse("api-import-one", args=[project.slug, import_.uuid]),
        "name": import_.file_name,
        "size": import_.size,
        "state": stage(import_),
        "done": import_.done,
        "share": import_.share,
        "error": import_.error,
        "note": standstill(import_),
        "created_at": import_.created_at,
        "finished_at": import_.finished_at,
        "undone_at": import_.undone_at,
    }


def import_body(project: Project, import_: Import) -> dict[str, Any]:
    """The body that `ImportBody` describes."""
    check = import_.report.get("check") or {}
    return import_summary(project, import_) | {
        "format": import_.format,
        "shape": import_.shape,
        "mapping": check.get("mapping", {}) | import_.mapping,
        "judged": import_job.judged(import_),
        "strict": bool(import_.options.get("strict")),
        "pairs_by": import_.options.get("pairs_by", ""),
        "encoding": import_.options.get("encoding") or check.get("encoding", ""),
        "ratings": check.get("ratings", []),
        "obstacle": import_job.obstacle(import_) if check and not import_.finished else "",
        "fields": check.get("fields", []),
        "columns": check.get("columns", []),
        "left_out": check.get("left_out", []),
        "questions": import_job.open_questions(import_),
        "checked": check.get("report"),
        "report": import_.report.get("written"),
    }
