from __future__ import annotations

import io

import pytest

from annotate.importing import limits
from annotate.jobs import import_actions, upload_files
from annotate.jobs.import_actions import stage
from annotate.jobs.upload_files import Refusal, WrongOffset
from annotate.models import Import
from tests.annotate.jobs.files import lines, pair, work_off
from tests.conftest import at_once

BODY = lines(*(pair(i) for i in range(50)))


@pytest.fixture
def announced(project, zed) -> Import:
    return import_actions.announce(project, zed, "rows.jsonl", len(BODY))


def test_a_file_sent_in_pieces_is_the_file(announced, project):
    at = 0
    while at < len(BODY):
        at = upload_files.add_piece(announced, at, io.BytesIO(BODY[at : at + 1000]))
    import_actions.complete(announced)
    assert upload_files.sent_path(announced).read_bytes() == BODY
    work_off()
    announced.refresh_from_db()
    assert announced.report["check"]["report"]["added"]["pairs"] == 50


def test_a_piece_at_the_wrong_place_is_told_the_right_one(announced):
    upload_files.add_piece(announced, 0, io.BytesIO(BODY[:100]))
    for wrong in (0, 99, 101):
        with pytest.raises(WrongOffset) as refused:
            upload_files.add_piece(announced, wrong, io.BytesIO(BODY[wrong:]))
        assert refused.value.offset == 100
    assert upload_files.offset(announced) == 100


def test_what_came_before_the_connection_broke_is_kept(announced):
    class Breaking(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            chunk = super().read(min(size or 0, 300))
            if not chunk:
                raise OSError("connection reset")
            return chunk

    with pytest.raises(OSError, match="reset"):
        upload_files.add_piece(announced, 0, Breaking(BODY[:900]))
    at = upload_files.offset(announced)
    assert at == 900
    upload_files.add_piece(announced, at, io.BytesIO(BODY[at:]))
    assert upload_files.sent_path(announced).read_bytes() == BODY


def test_more_bytes_than_announced_are_refused(announced):
    with pytest.raises(Refusal, match="longer"):
        upload_files.add_piece(announced, 0, io.BytesIO(BODY + b"more"))
    assert upload_files.offset(announced) <= len(BODY)


def test_half_a_file_is_not_checked(announced):
    upload_files.add_piece(announced, 0, io.BytesIO(BODY[:100]))
    with pytest.raises(Refusal, match="100 of"):
        import_actions.complete(announced)
    assert stage(announced) == "uploading"


def test_a_file_is_too_large_for_the_product_or_for_the_disk(project, zed, settings):
    with pytest.raises(Refusal, match="bytes is expected"):
        import_actions.announce(project, zed, "x", limits.MAX_FILE + 1)
    with pytest.raises(Refusal, match="bytes is expected"):
        import_actions.announce(project, zed, "x", 0)
    settings.MIN_FREE_GB = 1e9
    with pytest.raises(Refusal, match="room"):
        import_actions.announce(project, zed, "x", 10)


def test_uploads_that_nobody_goes_on_with_do_not_pile_up(project, zed):
    for _ in range(import_actions.MOST_UNFINISHED):
        import_actions.announce(project, zed, "x", 10)
    with pytest.raises(Refusal, match="50 imports wait"):
        import_actions.announce(project, zed, "x", 10)


@pytest.mark.django_db(transaction=True)
def test_two_tabs_that_send_the_same_piece_leave_it_once(announced):
    pieces = [lambda: upload_files.add_piece(announced, 0, io.BytesIO(BODY))] * 4
    ends = at_once(*pieces)
    assert [end for end in ends if end == len(BODY)] == [len(BODY)]
    assert all(isinstance(end, WrongOffset) for end in ends if end != len(BODY))
    assert upload_files.sent_path(announced).read_bytes() == BODY
