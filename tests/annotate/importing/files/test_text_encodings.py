"""Texts in other encodings than UTF-8 are read in theirs, or somebody is asked which it is."""

from __future__ import annotations

import io
import json
from io import BytesIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.urls import reverse

from annotate.importing import Unreadable, import_rows
from annotate.importing.files import opened
from annotate.importing.files.text_encodings import ENCODINGS
from annotate.jobs import import_actions
from annotate.jobs.job_runner import run_job
from annotate.models import Completion

TEXTS = {
    "cp1251": ("Как сварить яйцо?", "Варите его семь минут в воде.", "Не знаю, спросите повара."),
    "koi8_r": ("Как сварить яйцо?", "Варите его семь минут в воде.", "Не знаю, спросите повара."),
    "cp1253": ("Πώς βράζω ένα αυγό;", "Βράστε το επτά λεπτά.", "Δεν ξέρω, ρωτήστε τον μάγειρα."),
    "gb18030": ("怎么煮鸡蛋？", "把鸡蛋放进沸水里煮七分钟。", "我不知道，请问厨师。"),
    "big5": ("怎麼煮雞蛋？", "把雞蛋放進沸水裡煮七分鐘。", "我不知道，請問廚師。"),
    "cp932": ("ゆで卵の作り方は？", "沸騰したお湯で七分間ゆでます。", "料理人に聞いてください。"),
    "euc_jp": ("ゆで卵の作り方は？", "沸騰したお湯で七分間ゆでます。", "料理人に聞いてください。"),
    "cp949": ("달걀을 어떻게 삶나요?", "끓는 물에 칠 분 동안 삶으세요.", "요리사에게 물어보세요."),
    "cp1252": ("Wie koche ich ein Ei für fünf?", "Sieben Minuten, größere länger.", "Weiß nicht."),
}
NAMES = ("prompt", "completion_a", "completion_b")


def rows_of(encoding: str, n: int = 20) -> list[dict[str, Any]]:
    ask, a, b = TEXTS[encoding]
    return [dict(zip(NAMES, (f"{ask} {i}", a, b), strict=True)) for i in range(n)]


def csv_of(encoding: str) -> bytes:
    lines = [NAMES, *(row.values() for row in rows_of(encoding))]
    return "".join("\t".join(cells) + "\n" for cells in lines).encode(encoding)


def jsonl_of(encoding: str) -> bytes:
    rows = (json.dumps(row, ensure_ascii=False) + "\n" for row in rows_of(encoding))
    return "".join(rows).encode(encoding)


@pytest.mark.parametrize("encoding", TEXTS)
@pytest.mark.parametrize("written", [csv_of, jsonl_of])
def test_texts_are_read_in_the_encoding_that_they_say(encoding, written):
    with opened(io.BytesIO(written(encoding))) as source:
        assert [row for _, row in source.rows()] == rows_of(encoding)
        named = ENCODINGS[encoding].partition(" (")[0]
        asked = "probably " if source.encoding_asked else ""
        assert source.format.endswith(f", {asked}{named}")


@pytest.mark.parametrize("encoding", ["cp1250", "cp1254"])
def test_a_chosen_encoding_is_read_whatever_the_text_seems_to_be(encoding):
    text = "prompt;completion_a\nJak ugotować jajko?;Nie wiem, żółć.\n"
    if encoding == "cp1254":
        text = "prompt;completion_a\nYumurta nasıl haşlanır?;Aşçıya sorun.\n"
    with opened(io.BytesIO(text.encode(encoding)), encoding=encoding) as source:
        [(_, row)] = source.rows()
    assert [*row.values()] == text.splitlines()[1].split(";")


UNSURE = csv_of("cp932")


def test_an_encoding_that_is_not_sure_is_a_question_with_a_choice(client, project, zed):
    import_ = import_actions.receive(project, zed, BytesIO(UNSURE), "rows.csv")
    run_job(str(import_.uuid))
    import_.refresh_from_db()
    assert import_actions.stage(import_) == "asking"
    client.force_login(zed)
    address = reverse("import", args=[project.slug, import_.uuid])
    page = client.get(address).content.decode()
    assert "in which encoding the text is" in page and 'value="cp932" selected' in page
    client.post(reverse("import-columns", args=[project.slug, import_.uuid]), {"encoding": "cp932"})
    run_job(str(import_.uuid))
    import_.refresh_from_db()
    assert import_actions.stage(import_) == "ready"
    import_actions.begin(import_)
    run_job(str(import_.uuid))
    assert Completion.objects.filter(text=TEXTS["cp932"][1]).exists()


def test_commands_and_calls_refuse_what_is_not_sure_and_take_a_name(
    project, zed, api_for, tmp_path
):
    with pytest.raises(Unreadable, match=r"probably Shift JIS.*--encoding"):
        import_rows(project, BytesIO(UNSURE))
    file = tmp_path / "rows.csv"
    file.write_bytes(UNSURE)
    with pytest.raises(CommandError, match="--encoding cp932"):
        call_command("import_data", str(file), "--project=desk")
    address = f"/api/v1/projects/{project.slug}/imports/?auto=1&encoding=cp932"
    sent = api_for(zed).post(address, UNSURE, content_type="application/octet-stream").json()
    run_job(sent["id"])
    run_job(sent["id"])
    told = api_for(zed).get(sent["url"]).json()
    assert (told["state"], told["encoding"]) == ("done", "cp932")
    assert Completion.objects.filter(text=TEXTS["cp932"][1]).exists()
    call_command("import_data", str(file), "--project=desk", "--encoding=cp932")
