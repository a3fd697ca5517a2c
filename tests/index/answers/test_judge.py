"""index/answers/judge.py and report.py: who knows the truth is right everywhere, who guesses is told so."""

from collections.abc import Callable

import pytest
from made_items import ENGINE
from made_library import LIMITS, indexed, library_folder, material

from vicmae.index.answers.ask import Ask, Hit, Question, asking
from vicmae.index.answers.judge import CANDIDATES, HITS, StillAnswer, judge_stills
from vicmae.index.answers.material import Material
from vicmae.index.answers.moments import same_moment
from vicmae.index.answers.report import by_edit, reliability, still_figures, stranger_figures
from vicmae.index.answers.stills import Still, draw_stills, draw_strangers
from vicmae.index.collection import Collection
from vicmae.index.search import tools_of
from vicmae.media.decoding import HERE

__all__ = ["indexed", "library_folder", "material"]
EDITS = ("as it was", "inset")


def judged(ask: Ask, stills: list[Still], grounds: list[Still]) -> list[StillAnswer]:
    same = same_moment(HERE, LIMITS)
    return [answers["p"] for answers in judge_stills({"p": ask}, stills, grounds, EDITS, same)]


@pytest.fixture
def drawn(material: Material) -> tuple[list[Still], list[Still]]:
    return draw_stills(material, 8, None, 0, HERE, LIMITS), draw_strangers(material, 5, None, 0, HERE, LIMITS)


def oracle(stills: list[Still], confidence: float, shift: float = 0.0) -> Ask:
    """Answers in the order of asking, each question once verified and once not."""
    order = iter([still for _ in EDITS for still in stills for _ in range(2)])

    def ask(question: Question) -> list[Hit]:
        still = next(order)
        uri = still.uri or "file:///somewhere"
        return [{"uri": uri, "name": "n", "start_seconds": still.seconds + shift, "confidence": confidence}]

    return ask


def test_an_oracle_is_right_and_counted_as_sure_as_it_is(drawn: tuple[list[Still], list[Still]]) -> None:
    stills, strangers = drawn
    for confidence, sure in ((0.9, 1.0), (0.5, 1.0), (0.49, 0.0)):
        figures = still_figures(judged(oracle(stills, confidence), stills, strangers))
        assert figures["asked"] == 16 and figures["item"] == figures["moment"] == figures["candidates"] == 1
        assert figures["sure_item"] == figures["sure_moment"] == figures["verified"] == sure
        assert figures["wrong_and_sure"] == 0


def test_the_wrong_second_of_the_right_film_is_no_right_moment(drawn: tuple[list[Still], list[Still]]) -> None:
    stills, strangers = drawn
    frames = [still for still in stills if still.kind == "frame"]
    figures = still_figures(judged(oracle(frames, 0.9, shift=-2.0), frames, strangers))
    assert figures["item"] == 1 and figures["moment"] < 0.3


def test_a_stranger_that_is_surely_found_is_wrong_and_sure(drawn: tuple[list[Still], list[Still]]) -> None:
    _, strangers = drawn
    for confidence, wrong in ((0.8, 1.0), (0.2, 0.0)):
        answers = judged(oracle(strangers, confidence), strangers, strangers)
        assert stranger_figures(answers)["wrong_and_sure"] == wrong
        assert not any(answer.item or answer.moment or answer.candidate for answer in answers)


def test_no_hits_are_no_answer(drawn: tuple[list[Still], list[Still]]) -> None:
    stills, strangers = drawn
    figures = still_figures(judged(lambda question: [], stills, strangers))
    assert figures["item"] == figures["candidates"] == figures["wrong_and_sure"] == 0 and figures["verified"] is None


def test_the_product_finds_what_was_not_changed(
    indexed: Collection, drawn: tuple[list[Still], list[Still]], material: Material
) -> None:
    stills, strangers = drawn
    asked: list[tuple[int, bool]] = []
    product = asking(indexed, tools_of(ENGINE))

    def watched(question: Question) -> list[Hit]:
        asked.append((question.limit, question.verified))
        return product(question)

    answers = judged(watched, stills, strangers)
    assert still_figures([answer for answer in answers if answer.edit == "as it was"])["item"] == 1
    assert set(asked) == {(HITS, True), (CANDIDATES, False)}
    assert all(answer.seconds > 0 for answer in answers)


def answer(edit: str, item: bool, confidence: float | None, moment: bool = False, seconds: float = 1.0) -> StillAnswer:
    return StillAnswer(edit, "n", "photo", "f", item, moment, True, confidence, seconds)


def test_shares_by_hand() -> None:
    answers = [
        answer("crop", True, 0.9, True, 1.0),
        answer("crop", True, 0.3, True, 2.0),
        answer("crop", False, 0.7, False, 3.0),
        answer("meme", False, None, False, 5.0),
    ]
    figures = by_edit(answers, still_figures)
    assert list(figures) == ["crop", "meme", "all"]
    crop = figures["crop"]
    assert (crop["item"], crop["sure_item"], crop["wrong_and_sure"]) == (0.6667, 0.3333, 0.3333)
    assert crop["median_seconds"] == 2 and figures["all"]["asked"] == 4
    told = reliability(answers)
    assert [(each["answers"], each["right"]) for each in told] == [(1, 1.0), (1, 0.0), (1, 1.0)]


@pytest.mark.parametrize("figures", [still_figures, stranger_figures])
def test_of_nothing_there_are_no_shares(figures: Callable[[list[StillAnswer]], dict[str, object]]) -> None:
    told = figures([])
    assert told["asked"] == 0 and told["wrong_and_sure"] is None and told["median_seconds"] is None
