r"""LaTeX in a text is shown as formulas; whatever cannot be is shown as it was written."""

from __future__ import annotations

import re
from html import unescape

import pytest
from hypothesis import given
from hypothesis import strategies as st

from annotate.text.formulas import MAX_CHARACTERS_PER_TEXT
from annotate.text.markdown import render
from annotate.text.mathml import MAX_CHARACTERS
from tests.annotate.text.test_markdown import active

PARTS = [*"ab1{}[]()_^&$|<'\"` \n%#", "\\\\", r"\frac", r"\text{", r"\left(", r"\begin{matrix}"]
LATEX = st.lists(st.sampled_from(PARTS), max_size=20).map("".join)


def sources(text: str) -> list[str]:
    """The LaTeX of every formula that is typeset."""
    return [unescape(found) for found in re.findall('alttext="(.*?)"', render(text), re.DOTALL)]


def shown(latex: str) -> str:
    """The formula's elements and text, without its source."""
    html = render(f"$${latex}$$")
    found = re.search("<math[^>]*>(.*)</math>", html)
    assert found, html
    return found[1]


@pytest.mark.parametrize(
    "text",
    [
        *("$x$", "a $x$ b", "($x$)", "$x$, 5", r"\(x\)", r"a \( x \) b", "$x$ is 5"),
        *("$$x$$", "a $$x$$ b", "$$\nx\n$$", r"\[x\]", "a\n\\[\nx\n\\]\nb", r"a \[x\] b"),
        *("> $$\n> x\n> $$", "- a\n  $$\n  x\n  $$", "| $x$ |\n|---|", "# $x$", "**$x$**"),
        *("- a\n$$\nx\n$$", "1. \\[\n   x\n   \\]"),
    ],
)
def test_the_four_delimiters_mark_formulas(text: str) -> None:
    assert sources(text) == ["x"]


@pytest.mark.parametrize(
    "text",
    [
        *("costs $5 and $10", "$5-$10", "$ x $", "$x $", "$ x$", "US$5", "$x$5", "$$", "$$ $$"),
        *(r"\$x\$", r"$x\$", "`$x$`", "``$x$``", "```\n$x$\n```", "    $$x$$", "$5 in `a$`"),
        *("$a\n\nb$", "$$a\n\nb$$", r"\[a", "> $$\n> x\n\nb $$", "```\n$$\nx\n$$\n```"),
        r"\\(x\\)",
    ],
)
def test_money_code_and_escapes_are_no_formulas(text: str) -> None:
    assert "<math" not in render(text)
    assert 'class="latex"' not in render(text)


def test_lines_within_a_formula_are_no_markdown() -> None:
    text = "$$\na\n=\nb\n- c\n> d * e * f\n$$"
    assert sources(text) == ["a\n=\nb\n- c\n> d * e * f"]
    assert sources("> \\[\n> a\n> - b\n> \\]") == ["a\n- b"]


def test_dollars_and_brackets_stand_by_themselves_or_in_a_line() -> None:
    assert 'display="inline"' in render("$x$") + render(r"\(x\)")
    for text in ("$$x$$", "a $$x$$ b", r"\[x\]"):
        assert 'display="block"' in render(text)


@pytest.mark.parametrize(
    "latex",
    [
        *(r"\foo{x}", r"\begin{foo}a\end{foo}", r"\frac{1}", "{", "x_", "a_b_c", r"\left( a"),
        *(r"\def\a{b}\a", r"\newcommand{\a}{b}", r"\href{https://a.example}{x}", r"\class{a}{x}"),
        *(r"\unicode{x202e}", r"\text{&#x202e;}", r"\style{color:red}{x}", r"\rule{9em}{9em}"),
        *("a & b", r"a \\ b", r"\begin{matrix}a", "{" * 900 + "}" * 900, "x^{" * 300 + "}" * 300),
    ],
)
def test_what_is_not_understood_in_full_is_shown_as_written(latex: str) -> None:
    html = render(f"$${latex}$$")
    assert "<math" not in html
    assert f"$${latex}$$" in unescape(re.sub("<[^>]*>", "", html))


@pytest.mark.parametrize(
    ("latex", "part"),
    [
        (r"\frac{1}{2}", "<mfrac>"),
        (r"\boxed{42}", '<mrow class="box">'),
        (r"\begin{pmatrix}1\\2\end{pmatrix}^T", "</mtable><mo>)</mo></mrow><mi>T</mi></msup>"),
        (r"\begin{aligned}a&=b\\&=c\end{aligned}", '<mtd columnalign="right"></mtd>'),
        (r"\begin{gather}a\\b\end{gather}", "</mtr><mtr>"),
        (r"\lim_{x\to 0} x", '<munder><mo movablelimits="true"'),
        (r"\bigcup_i A_i", '<munder><mo movablelimits="true">⋃'),
        (r"\arg\max_x", ">arg</mo>"),
        (r"a\sin x", '<mo lspace="0.167em" rspace="0.167em">sin</mo>'),
        (r"a\log_2(x)", '<msub><mo lspace="0.167em" rspace="0em">log</mo>'),
        (r"x_{\text{max}} \text{max}_i", "<mtext>max</mtext><mi>i</mi></msub>"),
        (r"\sin(x)", '<mo lspace="0em" rspace="0em">sin</mo>'),
        (r"\mathrm{d}x", '<mi mathvariant="normal">d</mi>'),
        (r"x\sim y \pm z", "<mo>∼</mo><mi>y</mi><mo>±</mo>"),
        (r"\hat x", '<mover accent="true">'),
        ("50%", "<mi>%</mi>"),
        (r"\text{a < b}", "<mtext>a&nbsp;&lt;&nbsp;b</mtext>"),
        (
            r"a\hspace{1em}b\hspace{99em}c",
            '<mspace width="1em"></mspace><mi>b</mi><mspace></mspace>',
        ),
        (r"\color{red}x", "<mstyle><mi>x</mi></mstyle>"),
        (r"a = b \nonumber \label{eq:a}", "<mi>a</mi><mo>=</mo><mi>b</mi></mrow>"),
    ],
)
def test_formulas_are_laid_out_as_tex_does(latex: str, part: str) -> None:
    assert part in shown(latex)


@given(LATEX)
def test_any_latex_becomes_harmless(latex: str) -> None:
    for text in (f"${latex}$", f"$$\n{latex}\n$$", rf"\({latex}\)", rf"\[{latex}\]"):
        assert active(render(text)) == []


def test_only_so_much_is_typeset() -> None:
    assert "<math" not in render(f"${'a' * MAX_CHARACTERS}b$")
    formulas = render("$abcdefgh$ " * MAX_CHARACTERS_PER_TEXT)
    assert formulas.count("<math") == MAX_CHARACTERS_PER_TEXT // len("$abcdefgh$")
    assert '<code dir="ltr"><span class="latex">$abcdefgh$</span></code>' in formulas


@pytest.mark.parametrize(
    "text",
    [
        *("\\[\n" * 30_000, "\\(" * 45_000, "$a " * 30_000, "$$" * 45_000, "$\\" * 45_000),
        *("\\[\\\\]" * 18_000, "$a$1" * 20_000, "$$a $ " * 16_000, "> \\[\n" * 18_000),
        *("$" + "&" * 1_900 + "$" * 40, ("$" + "'" * 1_900 + "$ ") * 40, "$" + "{" * 1_998 + "$"),
        *("$\\text{" * 12_000, ("$" + "\\verb|" * 300 + "$ ") * 40, "- \\[\n" * 18_000),
    ],
)
def test_pathological_formulas_are_rendered(text: str) -> None:
    assert active(render(text)) == []


def test_a_long_formula_can_be_reached_by_keyboard() -> None:
    assert 'tabindex="0"' in render("$" + "+".join("abcdefghi") + "$")
    assert "tabindex" not in render("$a+b$")
