"""Prompts and replies as a person reads them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.contrib.auth.models import User
from playwright.sync_api import Page, expect

from annotate.models import Pair, Prompt
from tests.browser.accessibility import violations_in_both_schemes
from tests.browser.labelling.screen import PHONE, press, vote

pytestmark = pytest.mark.django_db(transaction=True)
Browse = Callable[..., Page]
MakePairs = Callable[..., list[Pair]]
LABEL = "/projects/desk/label/"


def write(pair: Pair, left: str, right: str) -> None:
    for completion, text in ((pair.completion_a, left), (pair.completion_b, right)):
        completion.text = text
        completion.save()


@pytest.fixture
def near(make_pairs: MakePairs) -> list[Pair]:
    """Three pairs of replies that differ in one word."""
    pairs = make_pairs(3)
    for pair in pairs:
        write(pair, f"**Order** {pair.pk}: it is a cat.", f"**Order** {pair.pk}: it is a dog.")
    return pairs


def test_keys_switch_between_formatted_raw_and_diff_without_a_request(
    browse: Browse, ann: User, near: list[Pair]
) -> None:
    page = browse(ann)
    page.goto(LABEL)
    page.wait_for_load_state("networkidle")
    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    source = page.locator(".raw").first
    formatted = page.locator(".reply .prose").first
    expect(source).to_be_hidden()
    press(page, "r")
    expect(source).to_contain_text("**Order**")
    expect(formatted).to_be_hidden()
    mark = page.locator(".raw :is(ins, del)").first
    line = "element => getComputedStyle(element).textDecorationLine"
    assert mark.evaluate(line) == "none"
    press(page, "d")
    assert mark.evaluate(line) in ("line-through", "underline")
    expect(page.get_by_role("button", name="Diff")).to_have_attribute("aria-pressed", "true")
    press(page, "d")
    expect(source).to_be_hidden()
    expect(formatted).to_be_visible()
    assert requests == []


def test_the_chosen_view_stays_from_pair_to_pair_until_the_person_signs_out(
    browse: Browse, ann: User, near: list[Pair]
) -> None:
    page = browse(ann)
    page.goto(LABEL)
    press(page, "d")
    vote(page, "1")
    expect(page.locator(".raw.diff")).to_have_count(2)
    expect(page.locator(".reply .prose").first).to_be_hidden()
    page.reload()
    expect(page.locator(".raw.diff").first).to_be_visible()
    page.get_by_text("ann", exact=True).click()
    page.get_by_role("button", name="Sign out").click()
    page.wait_for_url("**/accounts/login/**")
    assert page.evaluate("sessionStorage.getItem('pairloop.view')") is None


def test_without_scripts_the_buttons_lead_to_the_views(
    browse: Browse, ann: User, near: list[Pair]
) -> None:
    page = browse(ann, java_script_enabled=False)
    page.goto(LABEL)
    page.locator("button[data-key=d]").click()
    expect(page.locator(".raw.diff").first).to_be_visible()
    page.locator("button[value='1']").click()
    expect(page.locator(".raw.diff").first).to_be_visible()
    page.locator("button[data-key=d]").click()
    expect(page.locator(".raw").first).to_be_hidden()


@pytest.mark.parametrize("width", [1280, 360])
def test_each_view_is_accessible_and_fits(
    browse: Browse, ann: User, make_pairs: MakePairs, width: int
) -> None:
    page = browse(ann, viewport={"width": width, "height": 800})
    write(make_pairs(1)[0], "a  cat\n" + "x" * 500, "a dog\n\n" + "y" * 500)
    for view in ("raw", "diff"):
        page.goto(f"{LABEL}?view={view}")
        assert violations_in_both_schemes(page) == []
        assert page.evaluate("document.documentElement.scrollWidth") <= width


FORMULAS = (
    r"""The roots of $ax^2 + bx + c$ are
$$x = \frac{-b \pm \sqrt{b^2 - 4ac}}{2a}$$
and $$\begin{bmatrix} 1 & 2 \\ 3 & 4 \end{bmatrix}^T = """
    + " + ".join(f"a_{{{n}}}" for n in range(60))
    + r"""$$ Not $\text{<img src=//evil.example/x.png onerror=alert(1)>}$, nor
$\href{javascript:alert(1)}{x}$, for $5 or $6."""
)


def test_formulas_are_laid_out_and_nothing_is_fetched_or_run(
    browse: Browse, ann: User, make_pairs: MakePairs
) -> None:
    write(make_pairs(1)[0], FORMULAS, FORMULAS)
    page = browse(ann)
    hosts: set[str] = set()
    page.on("request", lambda request: hosts.add(request.url.split("/")[2]))
    page.on("dialog", lambda dialog: pytest.fail(dialog.message))
    page.goto(LABEL)
    page.wait_for_load_state("networkidle")
    above, below = (page.locator(f"mfrac > :nth-child({n})").first.bounding_box() for n in (1, 2))
    assert above and below and above["y"] + above["height"] <= below["y"]
    expect(page.locator(".reply .prose").first).to_contain_text("<img src=//evil.example/x.png")
    expect(page.locator(".reply code").first).to_have_text(r"$\href{javascript:alert(1)}{x}$")
    assert page.locator(".reply img, .reply a").count() == 0
    assert len(hosts) == 1
    press(page, "r")
    expect(page.locator(".raw").first).to_contain_text(r"\frac{-b \pm \sqrt{b^2 - 4ac}}{2a}")


def test_arrow_keys_scroll_a_focused_formula_instead_of_voting(
    browse: Browse, ann: User, make_pairs: MakePairs
) -> None:
    write(make_pairs(1)[0], FORMULAS, FORMULAS)
    page = browse(ann)
    page.goto(LABEL)
    wide = page.locator(".formula-displayed[tabindex]").last
    wide.focus()
    press(page, "ArrowRight")
    expect(page.locator("#state")).to_have_text("")
    expect(wide).to_be_visible()
    # A function: an expression would be evaluated again in the page, which its policy forbids.
    page.wait_for_function("() => document.activeElement.scrollLeft > 0")


LONG = "\n\n".join(f"Paragraph {number}" for number in range(90)) + "\n\n[x](https://a.example)"


@pytest.fixture
def long(make_pairs: MakePairs) -> list[Pair]:
    """Two pairs of long replies."""
    pairs = make_pairs(2)
    for pair in pairs:
        write(pair, LONG, LONG)
    return pairs


def test_long_replies_are_folded_together_until_a_key_shows_all(
    browse: Browse, ann: User, long: list[Pair]
) -> None:
    page = browse(ann)
    page.goto(LABEL)
    switch = page.get_by_role("button", name="Show all")
    expect(switch).to_have_count(2)
    folded = page.locator(".replies").bounding_box()
    bar = page.locator("#bar").bounding_box()
    press(page, "e")
    expect(page.locator("[data-folded]")).to_have_count(0)
    whole = page.locator(".replies").bounding_box()
    assert folded and whole and whole["height"] > folded["height"] + 500
    assert page.locator("#bar").bounding_box() == bar
    vote(page, "1")
    expect(page.get_by_role("button", name="Show less")).to_have_count(2)
    press(page, "e")
    expect(page.locator("[data-folded]")).to_have_count(2)


def test_what_is_folded_away_comes_out_when_the_focus_goes_there(
    browse: Browse, ann: User, long: list[Pair]
) -> None:
    page = browse(ann)
    page.goto(LABEL)
    expect(page.locator("[data-folded]")).to_have_count(2)
    page.locator(".reply .prose a").first.focus()
    expect(page.locator("[data-folded]")).to_have_count(0)


def test_short_replies_are_not_folded(browse: Browse, ann: User, near: list[Pair]) -> None:
    page = browse(ann)
    page.goto(LABEL)
    expect(page.locator(".reply").first).to_be_visible()
    press(page, "e")
    expect(page.get_by_role("button", name="Show all")).to_have_count(0)
    expect(page.locator("[data-folded]")).to_have_count(0)


def test_without_scripts_long_replies_are_whole(
    browse: Browse, ann: User, long: list[Pair]
) -> None:
    page = browse(ann, java_script_enabled=False)
    page.goto(LABEL)
    expect(page.get_by_role("button", name="Show all")).to_have_count(0)
    box = page.locator(".reply .prose").first.bounding_box()
    assert box and box["height"] > 3000


@pytest.mark.parametrize("width", [1280, 360])
def test_the_letters_stay_in_sight_over_long_replies(
    browse: Browse, ann: User, long: list[Pair], width: int
) -> None:
    page = browse(ann, viewport={"width": width, "height": 800})
    page.goto(LABEL)
    # On a phone the tabs above the two replies have them.
    letters = page.locator(".reply .letter" if width > 900 else ".reply-tab .letter")
    page.locator(".reply").last.get_by_text("Paragraph 30", exact=True).scroll_into_view_if_needed()
    expect(letters.last).to_be_in_viewport(ratio=1)
    prompt = page.locator(".prompt").bounding_box()
    letter = letters.last.bounding_box()
    assert prompt and letter and letter["y"] >= prompt["y"] + prompt["height"]
    if width > 900:
        expect(letters.first).to_be_in_viewport(ratio=1)


def test_long_replies_on_a_phone_are_swiped_or_tapped_and_stay_where_they_were_left(
    browse: Browse, ann: User, long: list[Pair]
) -> None:
    page = browse(ann, **PHONE)
    page.goto(LABEL)
    first, second = (page.get_by_role("link", name=f"Reply {letter}") for letter in "AB")
    expect(first).to_have_attribute("aria-current", "true")
    page.locator(".reply").first.get_by_text(
        "Paragraph 20", exact=True
    ).scroll_into_view_if_needed()
    read = page.evaluate("scrollY")
    assert read > 300
    box = second.bounding_box()
    assert box
    # A locator's tap would scroll the page first.
    page.touchscreen.tap(box["x"] + 20, box["y"] + 20)
    expect(second).to_have_attribute("aria-current", "true")
    expect(page.locator(".reply").last.get_by_text("Paragraph 0", exact=True)).to_be_in_viewport()
    page.locator(".replies").evaluate("element => element.scrollTo({ left: 0 })")
    expect(first).to_have_attribute("aria-current", "true")
    page.wait_for_function("(read) => Math.abs(scrollY - read) < 2", arg=read)
    press(page, "w")
    expect(second).to_have_attribute("aria-current", "true")
    assert violations_in_both_schemes(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") == 360


SPOKEN = "https://pictures.example/cat.png"
UNWRAPPED = f"""```python
def total(first: int, second: int) -> int:
    return {" + ".join(["first"] * 60)}
```

![A cat]({SPOKEN})"""


@pytest.mark.parametrize("width", [1280, 360])
def test_code_does_not_wrap_and_images_are_named(
    browse: Browse, ann: User, make_pairs: MakePairs, width: int
) -> None:
    write(make_pairs(1)[0], UNWRAPPED, UNWRAPPED)
    page = browse(ann, viewport={"width": width, "height": 800})
    page.goto(LABEL)
    code = page.locator(".reply pre").first
    box = code.locator("code").bounding_box()
    assert box and box["height"] < 70
    assert code.evaluate("block => block.scrollWidth > block.clientWidth")
    expect(page.get_by_text(f"Image not shown: A cat, {SPOKEN}").first).to_be_visible()
    assert violations_in_both_schemes(page) == []


def test_a_prompt_from_the_right_begins_at_the_edge_of_its_card(
    browse: Browse, ann: User, make_pairs: MakePairs
) -> None:
    (pair,) = make_pairs(1)
    Prompt.objects.update(messages=[{"role": "user", "content": "كيف أعيد حقيبة الظهر؟"}])
    write(pair, "مرحبا", "مرحبا")
    page = browse(ann)
    page.goto(LABEL)
    for card in (".prompt", ".reply"):
        outer = page.locator(card).first.bounding_box()
        inner = page.locator(f"{card} .prose > p").first.bounding_box()
        assert outer and inner
        assert outer["x"] + outer["width"] - inner["x"] - inner["width"] < 30


@pytest.mark.parametrize("width", [1280, 360])
def test_the_focus_is_never_hidden_by_what_stays_in_sight(
    browse: Browse, ann: User, make_pairs: MakePairs, width: int
) -> None:
    links = "\n\n".join(f"[link {number}](https://a.example/{number})" for number in range(40))
    write(make_pairs(1)[0], links, links)
    page = browse(ann, viewport={"width": width, "height": 800})
    page.goto(LABEL)
    bar = page.locator("#bar").bounding_box()
    assert bar
    for key, steps in (("Tab", 25), ("Shift+Tab", 20)):
        page.locator(".reply").first.get_by_role("link").nth(0 if key == "Tab" else 30).focus()
        for _ in range(steps):
            page.keyboard.press(key)
            focus = page.locator("a:focus").bounding_box()
            above = page.locator(".reply h2").first.bounding_box()
            assert focus and above
            assert above["y"] + above["height"] <= focus["y"] + 1
            assert focus["y"] + focus["height"] <= bar["y"] + 1


CODE = "Run:\n\n```python\nprint(1)\n```\n\nand\n\n```\nls\n```"


def test_a_button_copies_a_block_of_code_and_keys_still_vote(
    browse: Browse, ann: User, make_pairs: MakePairs
) -> None:
    for pair in make_pairs(2):
        write(pair, CODE, CODE)
    page = browse(ann, permissions=["clipboard-read", "clipboard-write"])
    page.goto(LABEL)
    buttons = page.get_by_role("button", name="Copy", exact=True)
    expect(buttons).to_have_count(4)
    buttons.first.focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("status").get_by_text("Copied")).to_be_attached()
    assert page.evaluate("navigator.clipboard.readText()") == "print(1)\n"
    vote(page, "1")
    expect(buttons).to_have_count(4)


def test_code_is_copied_where_the_page_may_not_use_the_clipboard(
    browse: Browse, ann: User, make_pairs: MakePairs
) -> None:
    write(make_pairs(1)[0], CODE, CODE)
    page = browse(ann)
    page.add_init_script("Object.defineProperty(navigator, 'clipboard', { value: undefined })")
    page.goto(LABEL)
    page.get_by_role("button", name="Copy", exact=True).first.click()
    expect(page.get_by_role("status").get_by_text("Copied")).to_be_attached()
    assert page.evaluate("getSelection().toString()").strip() == "print(1)"


ARABIC = """## شرح الدالة

`print` تطبع النص.

```python
print("مرحبا")  # تحية
```

- `x` أولاً
- ثانياً

A paragraph in English.
"""


def test_each_block_runs_in_its_own_direction_and_code_from_the_left(
    browse: Browse, ann: User, make_pairs: MakePairs
) -> None:
    write(make_pairs(1)[0], ARABIC, ARABIC)
    page = browse(ann)
    page.goto(LABEL)
    reply = page.locator(".reply .prose").first
    direction = "elements => elements.map((each) => getComputedStyle(each).direction)"
    blocks = reply.locator("> *")
    assert blocks.evaluate_all(direction) == ["rtl", "rtl", "ltr", "rtl", "ltr"]
    assert set(reply.locator("code").evaluate_all(direction)) == {"ltr"}
    code = reply.locator("p code").first.bounding_box()
    box = reply.bounding_box()
    assert code and box and code["x"] > box["x"] + box["width"] / 2


@pytest.mark.parametrize("width", [1280, 320])
def test_a_long_pair_with_formulas_code_and_two_directions_is_accessible_and_fits(
    browse: Browse, ann: User, make_pairs: MakePairs, width: int
) -> None:
    page = browse(ann, viewport={"width": width, "height": 800})
    write(make_pairs(1)[0], f"{ARABIC}\n{FORMULAS}\n\n{LONG}", f"{CODE}\n\n{FORMULAS}\n\n{LONG}")
    page.goto(LABEL)
    for folded in (2, 0):
        expect(page.locator("[data-folded]")).to_have_count(folded)
        assert violations_in_both_schemes(page) == []
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        press(page, "e")
