"""The shop: its products, their faults, and the sentences its desk may write."""

from __future__ import annotations

from dataclasses import dataclass

PRODUCTS = {
    "kettle": "lid",
    "toaster": "tray",
    "blender": "jug",
    "heater": "plug",
    "speaker": "cable",
    "keyboard": "cable",
    "camera": "strap",
    "printer": "tray",
    "lamp": "bulb",
    "watch": "strap",
    "backpack": "pocket",
    "suitcase": "wheel",
    "umbrella": "handle",
    "raincoat": "hood",
    "helmet": "visor",
    "tent": "pole",
    "scooter": "bell",
    "teapot": "lid",
    "pillow": "cover",
    "chair": "cushion",
}
"""Everything the shop sells, with the part that goes missing."""

COLOURS = ("red", "blue", "green", "black", "white", "yellow", "grey", "pink")
WHENS = ("today", "tomorrow", "this afternoon", "by Friday", "within two days")
AGOS = ("last week", "two weeks ago", "ten days ago", "a month ago", "on Monday")


@dataclass(frozen=True)
class Problem:
    """One kind of complaint: what customers say, how the desk names it, what helps."""

    asks: tuple[str, ...]
    cues: tuple[str, ...]
    """Words of a prompt or a reply that show this problem is meant."""
    topics: tuple[str, ...]
    """The words by which a reply names it; completes 'I am sorry that ...'."""
    steps: tuple[str, ...]
    """Concrete next steps."""


PROBLEMS = {
    "late": Problem(
        asks=(
            "My {p} has not arrived yet.",
            "I ordered a {c} {p} {ago} and it is still not here.",
            "Where is my {p}? I have cleared a shelf for it.",
        ),
        cues=("not arrived", "still not here", "where is my"),
        topics=("your {p} is still not here", "your {p} has not arrived"),
        steps=(
            "I will call the courier and email you the new delivery date {when}.",
            "We will ship a second {p} by express mail {when}.",
        ),
    ),
    "broken": Problem(
        asks=(
            "My new {p} arrived damaged, and it was not me.",
            "The {p} came out of the box in two halves, both damaged.",
            "I opened the parcel and the {c} {p} was broken.",
        ),
        cues=("broken", "damaged"),
        topics=("your {p} arrived broken", "your {p} was damaged"),
        steps=(
            "Please send us a photo and we will ship a new {p} {when}.",
            "We will replace the {p} for free and ship it {when}.",
        ),
    ),
    "fell": Problem(
        asks=(
            "My {p} fell apart at breakfast.",
            "The {p} I bought {ago} is falling apart.",
        ),
        cues=("fell apart", "falling apart"),
        topics=("your {p} fell apart", "your {p} is falling apart"),
        steps=(
            "We will repair the {p} for free if you send it back with the label in your email.",
            "We will replace the {p} for free and ship it {when}.",
        ),
    ),
    "colour": Problem(
        asks=(
            "I ordered a {c} {p} but got a {d} one.",
            "You sent me a {d} {p}. I wanted {c}.",
        ),
        cues=("but got a", "i wanted", "wrong colour", "right colour"),
        topics=("you got the wrong colour", "your {p} has the wrong colour"),
        steps=(
            "We will ship the {c} {p} {when} and you can keep the other one.",
            "Please send it back for free and we will ship the {c} {p} {when}.",
        ),
    ),
    "part": Problem(
        asks=(
            "The {part} of my {p} is missing.",
            "There was no {part} in the box with my {p}.",
        ),
        cues=("is missing", "there was no", "not in the box"),
        topics=("the {part} of your {p} is missing", "the {part} was not in the box"),
        steps=(
            "I will post the {part} to your address {when}.",
            "Please reply with your address and I will post a new {part} {when}.",
        ),
    ),
    "charged": Problem(
        asks=(
            "I was charged twice for my {p}.",
            "Why did you take the money for one {p} two times?",
        ),
        cues=("charged twice", "two times", "paid twice"),
        topics=("you were charged twice for the {p}", "you paid twice for your {p}"),
        steps=(
            "I will refund the second payment {when}.",
            "Please send us the receipt and we will refund the second payment {when}.",
        ),
    ),
    "return": Problem(
        asks=(
            "I want to return my {p}. We do not get along.",
            "How can I send back the {c} {p}? I do not need it.",
        ),
        cues=("to return", "send back the", "not right for you"),
        topics=("you want to return the {p}", "the {p} is not right for you"),
        steps=(
            "Please print the label in your email and take the {p} to any post office.",
            "We will collect the {p} from your door {when} and refund you.",
        ),
    ),
    "refund": Problem(
        asks=(
            "I sent back my {p} {ago} and still have no refund.",
            "The {p} went back to you, but where is the refund?",
        ),
        cues=("no refund", "the refund"),
        topics=("the refund for your {p} is late", "you still have no refund for the {p}"),
        steps=(
            "I will check the return and send the refund to your card {when}.",
            "We will send the refund to your card {when}.",
        ),
    ),
    "address": Problem(
        asks=(
            "I moved house and my {p} does not know. Can it go to a new address?",
            "My {p} is going to the wrong address.",
        ),
        cues=("address",),
        topics=("the {p} is going to the wrong address", "your {p} has the old address"),
        steps=(
            "Please reply with the new address and I will update the order {when}.",
            "I will call the courier and change the address {when}.",
        ),
    ),
    "code": Problem(
        asks=(
            "My discount code does not work for the {p}.",
            "The shop refused my discount code when I ordered the {p}.",
        ),
        cues=("discount code", "the code"),
        topics=("your discount code did not work", "the code failed for the {p}"),
        steps=(
            "I will take ten percent off the {p} and refund the difference {when}.",
            "Please reply with the code and I will add it to your order {when}.",
        ),
    ),
    "cancel": Problem(
        asks=(
            "Please cancel my order for the {c} {p}.",
            "My son ordered nine of the same {p}. Can you cancel eight?",
        ),
        cues=("cancel",),
        topics=("you need to cancel the {p}", "you want to cancel the order"),
        steps=(
            "I will cancel the {p} and refund you {when}.",
            "We will cancel the order {when} and send you an email.",
        ),
    ),
    "manual": Problem(
        asks=(
            "The dog ate the manual of my {p}.",
            "How do I clean my {p}? The manual does not say.",
        ),
        cues=("manual",),
        topics=("the manual of your {p} is not clear", "you lost the manual"),
        steps=(
            "I will email you the manual of the {p} {when}.",
            "Please open our help page, where you can download the manual of the {p}.",
        ),
    ),
}

POLITE_TOPICAL = (
    "I am sorry that {topic}.",
    "Thank you for telling us that {topic}.",
    "Oh no, we are very sorry that {topic}.",
)
POLITE_PLAIN = (
    "Thank you for your message.",
    "I am happy to help.",
    "We are sorry for the trouble.",
)
FLAT_TOPICAL = ("I see that {topic}.", "Noted, {topic}.")
RUDE = (
    "That is not our problem, and it never will be.",
    "We framed your message under complaining.",
    "We asked around, and we really do not care.",
    "You should have been more careful with it.",
    "Nobody else is this difficult before lunch.",
    "Calm down, this is silly.",
    "Do not bother us again, we were having a nice day.",
)
OFF_TOPIC = (
    "Have you seen our new {q}?",
    "The {c} {q} is on sale, and it is a beauty.",
    "Your {q} is a lovely choice.",
    "What a lovely taste in our {q} you have.",
    "People write poems about our {q}.",
)
VAGUE = (
    "These things happen, mostly to other people.",
    "Maybe it will be fine.",
    "It is hard to say, so we would rather not.",
    "Let us hope for the best.",
    "Somebody is surely looking into something.",
    "I cannot help with that before my tea.",
    "I must decline, because it is nearly lunch.",
    "**Note:** all things end, even this one.",
    "**In short:** things are as they are.",
)
RAMBLING = (
    "The weather is lovely here, if you like rain.",
    "My cat has strong opinions about boxes.",
    "Our coffee machine has started to sing.",
    "We had cake for lunch and nobody regrets it.",
    "I once grew a pumpkin as big as a dog.",
)
CLOSINGS = ("Sorry again.", "Thank you for waiting.", "We are here if you need us.")
