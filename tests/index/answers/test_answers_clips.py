"""index/answers/clips.py: parts are cut where they say, and the judge wants the right stretch of the right clip."""

import numpy as np
import pytest
from made_items import ENGINE
from made_library import CLIPS, LIMITS, indexed, library_folder, material

from vicmae.index.answers.ask import Hit, Question, asking
from vicmae.index.answers.clips import COMPILATION, EDITS, SHORTEST, AskedClip, draw_clips, judge_clip
from vicmae.index.answers.material import Material
from vicmae.index.answers.moments import correlation, same_moment
from vicmae.index.answers.report import by_edit, clip_figures
from vicmae.index.collection import Collection
from vicmae.index.paths import file_uri
from vicmae.index.search import tools_of
from vicmae.media.decoding import HERE
from vicmae.media.reader import frame_at, probe

__all__ = ["indexed", "library_folder", "material"]


@pytest.fixture(scope="module")
def drawn(material: Material) -> list[AskedClip]:
    return list(draw_clips(material, 3, None, 0, HERE, LIMITS))


def hit_of(clip: AskedClip, number: int, confidence: float = 0.9, shift: float = 0.0) -> Hit:
    part = clip.parts[number]
    segment = {
        "query_start_seconds": part.query_start_seconds,
        "query_end_seconds": part.query_end_seconds,
        "start_seconds": part.start_seconds + shift,
        "end_seconds": part.end_seconds + shift,
    }
    return {"uri": file_uri(part.path), "confidence": confidence, "segments": [segment]}


def test_three_clips_after_every_edit(drawn: list[AskedClip]) -> None:
    assert [clip.edit for clip in drawn] == [*EDITS] * 3
    for clip in drawn:
        length = clip.parts[-1].query_end_seconds
        assert probe(clip.data).duration_seconds == pytest.approx(length, abs=0.2)
        assert len(clip.parts) == (3 if clip.edit == COMPILATION else 1)
        for part in clip.parts:
            speed = 1.25 if clip.edit == "speed 1.25" else 1.0
            lasts = part.end_seconds - part.start_seconds
            assert lasts == pytest.approx(speed * (part.query_end_seconds - part.query_start_seconds), abs=0.01)
            assert lasts >= SHORTEST - 0.2


def test_a_part_shows_what_its_clip_shows_then(drawn: list[AskedClip]) -> None:
    for clip in drawn:
        if clip.edit in ("as it was", "speed 1.25", COMPILATION):
            for part in clip.parts:
                middle = (part.query_start_seconds + part.query_end_seconds) / 2
                truth = (part.start_seconds + part.end_seconds) / 2
                shown = frame_at(clip.data, middle).data[0]
                near = [frame_at(part.path, truth + off).data[0] for off in (-0.1, 0.0, 0.1)]
                assert max(correlation(shown, picture) for picture in near) > 0.95


def test_the_right_stretches_are_right(drawn: list[AskedClip]) -> None:
    same = same_moment(HERE, LIMITS)
    for clip in drawn:
        hits = [hit_of(clip, number) for number in range(len(clip.parts))]
        for answer in judge_clip(lambda question, hits=hits: hits, clip, same):  # type: ignore[misc]
            assert answer.item and answer.stretch and answer.candidate and answer.sure and not answer.wrong_and_sure


def test_a_shifted_stretch_another_clip_and_no_hit_are_wrong(drawn: list[AskedClip]) -> None:
    same, clip = same_moment(HERE, LIMITS), drawn[0]
    (shifted,) = judge_clip(lambda question: [hit_of(clip, 0, shift=1.5)], clip, same)
    assert shifted.item and not shifted.stretch
    other = {**hit_of(clip, 0), "uri": "file:///other.mp4"}
    (wrong,) = judge_clip(lambda question: [other, hit_of(clip, 0)], clip, same)
    assert not wrong.item and wrong.candidate and wrong.confidence is None and wrong.wrong_and_sure
    (nothing,) = judge_clip(lambda question: [], clip, same)
    assert not nothing.item and not nothing.candidate and not nothing.wrong_and_sure


def test_the_product_finds_parts_of_clips(indexed: Collection, drawn: list[AskedClip]) -> None:
    ask, same = asking(indexed, tools_of(ENGINE)), same_moment(HERE, LIMITS)
    plain = [clip for clip in drawn if clip.edit == "as it was"]
    figures = by_edit([answer for clip in plain for answer in judge_clip(ask, clip, same)], clip_figures)
    assert figures["as it was"]["item"] == figures["all"]["candidates"] == 1


def test_too_few_clips_make_no_compilation(material: Material) -> None:
    drawn = list(draw_clips(material, 2, None, 0, HERE, LIMITS))
    assert [clip.edit for clip in drawn] == [edit for edit in EDITS if edit != COMPILATION] * 2
    assert len(list(draw_clips(material, 100, None, 0, HERE, LIMITS, edits=("mirrored",)))) == CLIPS


def test_the_question_is_asked_once_verified_and_once_by_vectors(drawn: list[AskedClip]) -> None:
    asked: list[bool] = []

    def ask(question: Question) -> list[Hit]:
        asked.append(question.verified)
        return []

    judge_clip(ask, drawn[0], same_moment(HERE, LIMITS))
    assert asked == [True, False] and np.isfinite(len(drawn[0].data))
