"""A vote without remarks is read as its form would read it."""

from __future__ import annotations

from urllib.parse import urlencode

from django.http import QueryDict
from hypothesis import given
from hypothesis import strategies as st

from annotate.forms.voting_forms import VoteForm, plain_vote
from annotate.models import Project

ODD = (" 5", "1.0", "٣")
"""Numbers to the form, which nobody's page sends."""
FIELDS = st.fixed_dictionaries(
    {"vote": st.sampled_from(["1", "4", "8", "9", "", " 1"])},
    optional={
        "scale": st.sampled_from(["seven", "binary", "four", "", "none"]),
        "active_ms": st.sampled_from(
            ["2500", "", "-1", "86400001", " 5", "1.0", "٣", "x", "9" * 30]
        ),
        "first_key_ms": st.sampled_from(["900", "0", "", "86400000"]),
        "wall_ms": st.sampled_from(["2147483647", "2147483648", "", "007"]),
        "input": st.sampled_from(["key", "", "nose"]),
        "last": st.just("x"),
        "comment": st.sampled_from(["", "Well."]),
        "reasons": st.sampled_from(["", "Style"]),
    },
)


@given(data=FIELDS, criteria=st.sampled_from([[], ["Tone"]]))
def test_a_vote_read_without_the_form_is_what_the_form_reads(
    data: dict[str, str], criteria: list[str]
) -> None:
    project = Project(criteria=criteria)
    sent = QueryDict(urlencode(data))
    quick, form = plain_vote(sent, project), VoteForm(sent, project=project)
    if quick is not None:
        assert form.is_valid()
        assert quick == (form.submitted, form.caption)
    elif form.is_valid():
        assert (
            criteria
            or {"comment", "reasons"} & data.keys()
            or data.get("active_ms") in (" 5", "1.0", "٣")
        )
