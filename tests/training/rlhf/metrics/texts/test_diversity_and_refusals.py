from __future__ import annotations

import pytest

from training.rlhf.metrics.texts import diversity_and_refusals


def test_distinct_counts_different_ngrams_over_all_texts() -> None:
    # "a b a" and "a b": words a b a a b (2 of 5), pairs ab ba ab (2 of 3)
    assert diversity_and_refusals.distinct(["a b a", "A b"], 1) == pytest.approx(2 / 5)
    assert diversity_and_refusals.distinct(["a b a", "A b"], 2) == pytest.approx(2 / 3)


def test_distinct_of_nothing_is_zero() -> None:
    assert diversity_and_refusals.distinct(["", "one"], 2) == 0.0


def test_repetition_is_the_share_of_repeated_runs_of_three_words() -> None:
    assert diversity_and_refusals.repetition("we will ship it today") == 0.0
    # runs: abc bcd cda dab abc bcd -> 4 different of 6
    assert diversity_and_refusals.repetition("a b c d a b c d") == pytest.approx(1 - 4 / 6)


@pytest.mark.parametrize(
    "text",
    [
        "I'm sorry, but I can't help with that.",
        "I cannot assist you with this request.",
        "As an AI language model, I have no opinion.",
        "I\u2019m not able to provide that.",
        "It is not appropriate to joke about this.",
        "Thank you for asking. I must decline.",
        "I can't advise on that.",
        "I\u2019m not allowed to share that kind of information.",
        "No, I don't feel comfortable with that.",
    ],
)
def test_a_refusal_is_known_by_how_it_begins(text: str) -> None:
    assert diversity_and_refusals.refused(text)


def test_refusals_in_another_language_are_known_by_the_phrases_that_are_given() -> None:
    phrases = ["je ne peux pas", "n'est pas possible (encore)"]
    told = "D\u00e9sol\u00e9, mais Je ne  peux\npas vous aider."
    assert not diversity_and_refusals.refused(told)
    assert diversity_and_refusals.refused(told, phrases)
    assert diversity_and_refusals.refused("Ce n\u2019est pas possible (encore).", phrases)
    assert not diversity_and_refusals.refused("Bonjour, votre colis arrive.", phrases)


@pytest.mark.parametrize(
    "text",
    [
        "I am sorry that your parcel is late. I will check it today.",
        "I'm so sorry, but I will send a new one at once.",
        "I can help you with that.",
        "I won't share your number with anyone.",
        "I'm not going to lie, this is hard.",
        "I can't help but smile at this question.",
        "You cannot answer this call from abroad.",
        "Here is the story you asked for. " * 8 + "I cannot help you, said the witch.",
    ],
)
def test_an_apology_or_a_quotation_is_no_refusal(text: str) -> None:
    assert not diversity_and_refusals.refused(text)
