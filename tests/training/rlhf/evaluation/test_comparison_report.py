from __future__ import annotations

import re
from html import unescape
from html.parser import HTMLParser
from typing import Any

from markdown_it import MarkdownIt

from training.rlhf.evaluation import comparison_metrics, comparison_report, comparison_table
from training.rlhf.evaluation.comparison_metrics import MeasuredReply
from training.rlhf.evaluation.comparison_table import Resampling

MEAN = (
    "<script>alert(1)</script>\n![x](http://tracker/a.png) &lt; *not* bold | a `b` ~~c~~\n"
    '<img src=x onerror="alert(1)"> # no $heading$ [link](http://tracker) \\< end_of_it\n'
    "1. one\n- two\n===\n\n    x[i] = *y\n---\n+ three\n> four"
)
MODELS = ("base|1", "new <b>2</b>")


def written() -> tuple[dict[str, Any], list[list[MeasuredReply]]]:
    answers = {
        model: [
            MeasuredReply(
                model=model,
                prompt_id="p",
                messages=[{"role": "user", "content": MEAN}],
                tags=("a|b <i>",),
                text=MEAN,
                finished=True,
                fault="",
                numbers={"length": 3.0, "broken": 0.0},
            )
        ]
        for model in MODELS
    }
    table = comparison_table.table(answers, comparison_metrics.metrics([]), Resampling(0))
    table["about"] = {
        "scorers": {"<u>": "runs/a_b_c"},
        "temperature": 0.7,
        "max_new_tokens": 8,
        "resamples": 0,
        "seed": 0,
        "starter": "<s>",
    }
    return table, [list(group) for group in zip(*answers.values(), strict=True)]


class Tags(HTMLParser):
    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.add(tag)


def plain(html: str) -> str:
    return " ".join(unescape(re.sub(r"<[^>]+>", "", html)).split())


def test_nothing_that_a_model_writes_is_markup_in_the_markdown_report() -> None:
    page = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
    html = page.render(comparison_report.markdown(*written()))
    allowed = "h1 h2 p strong blockquote br hr table thead tbody tr th td"
    assert Tags(html).tags <= set(allowed.split())
    assert plain(html).count(" ".join(MEAN.split())) == 3  # the prompt, and both replies
    assert all(f"<th>{name}</th>" in unescape(html) for name in MODELS)


def test_nothing_that_a_model_writes_is_markup_in_the_html_report() -> None:
    html = comparison_report.html(*written())
    assert not Tags(html).tags & {"script", "img", "b2", "i", "u", "s"}
    assert plain(html).count(" ".join(MEAN.split())) == 3


def test_tables_by_tag_hold_the_metrics_that_say_so_and_the_whole_table_holds_all() -> None:
    by_tag = {one.name for one in comparison_metrics.metrics(["rm"], judged=True) if one.by_tag}
    assert {"score_rm", "win_rate_rm", "people_win_rate", "judged_win_rate"} <= by_tag
    report = comparison_report.markdown(*written())
    whole, tagged = report.split("## All prompts")[1].split("## Replies")[0].split("\n## ")
    assert "Length (tokens)" in whole and "Broken replies" in whole
    assert "Length (tokens)" not in tagged and "Broken replies" in tagged
