"""vicmae.index.search.query: what is looked for, decoded once, whichever way it is named."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from made_decoders import CountingDecoder
from made_items import ENGINE, new_item, unit_vectors
from made_media import frame_of, picture, write_image, write_video
from made_queries import sure
from PIL import Image

from vicmae.errors import InvalidRequest, MediaTooLarge, NotFound
from vicmae.index.collection import Collection
from vicmae.index.ingest.pipeline import ingest_file
from vicmae.index.library import Library
from vicmae.index.search import Query, Region, SearchRequest, Target, embed_query, search, tools_of
from vicmae.media.limits import MediaLimits
from vicmae.media.preprocess import to_pixels
from vicmae.media.reader import frame_at

TOOLS = tools_of(ENGINE)


@pytest.fixture
def collection(tmp_path: Path) -> Iterator[Collection]:
    with Library(tmp_path / "data") as library:
        yield library.create("c", ENGINE)


@pytest.mark.parametrize("target", [None, "frame", "clip"])
@pytest.mark.parametrize("suffix", [".heic", ".jpg", ".png"])
def test_a_picture_is_decoded_once(collection: Collection, tmp_path: Path, suffix: str, target: Target | None) -> None:
    """For the encoder and for the comparison of pixels; the items that were found are read besides."""
    path = tmp_path / f"query{suffix}"
    picture(1, (640, 480)).save(path)
    decoders = []
    for source in (path, path.read_bytes()):
        counting = CountingDecoder()
        query = embed_query(collection, Query(source=source, target=target), replace(TOOLS, decoder=counting))
        assert query.picture is not None and query.picture_at is not None
        assert query.picture_at(0.0) is query.picture
        decoders.append(counting)
    assert [decoder.decoded for decoder in decoders] == [1, 1]


def test_a_whole_search_decodes_its_picture_once(collection: Collection, tmp_path: Path) -> None:
    """What is compared with it is stored."""
    path = tmp_path / "query.heic"
    picture(1, (640, 480)).save(path)
    assert ingest_file(collection, ENGINE, write_image(tmp_path / "stored.png", 1, (640, 480))).state == "added"
    for target in (None, "frame", "clip"):
        counting = CountingDecoder()
        asked = SearchRequest(Query(source=path, target=target))
        (hit,) = search(collection, asked, replace(TOOLS, decoder=counting)).hits
        assert hit.item.name == "stored.png" and hit.verified and (sure(hit) > 0.5 or target == "clip")
        assert counting.decoded == 1


def test_a_clip_is_decoded_once_also_for_its_moments(collection: Collection, tmp_path: Path) -> None:
    counting = CountingDecoder()
    query = embed_query(
        collection, Query(source=write_video(tmp_path / "v.mp4", seconds=4)), replace(TOOLS, decoder=counting)
    )
    assert counting.decoded == 1 and query.picture is None and query.picture_at is not None
    for second in (1.0, 2.0):
        shown = np.asarray(frame_of(0, second)).astype(int)
        assert np.abs(query.picture_at(second).astype(int) - shown).mean() < 8
    assert counting.decoded == 1


def test_a_region_is_looked_for_as_the_picture_that_it_is(collection: Collection, tmp_path: Path) -> None:
    """The right half of a collage finds its picture; the whole collage is another picture."""
    collage = Image.new("RGB", (960, 360))
    collage.paste(picture(1, (480, 360)), (0, 0))
    collage.paste(picture(2, (480, 360)), (480, 0))
    collage.save(tmp_path / "collage.png")
    for seed in (1, 2, 3):
        ingest_file(collection, ENGINE, write_image(tmp_path / f"{seed}.png", seed, size=(480, 360)))
    found = {}
    for name, region in (("1.png", Region(0, 0, 0.5, 1)), ("2.png", Region(0.5, 0, 1, 1))):
        hits = search(collection, SearchRequest(Query(source=tmp_path / "collage.png", region=region)), TOOLS).hits
        found[name] = (hits[0].item.name, hits[0].score > 0.99, sure(hits[0]) > 0.9)
    assert found == {"1.png": ("1.png", True, True), "2.png": ("2.png", True, True)}
    whole = search(collection, SearchRequest(Query(source=tmp_path / "collage.png")), TOOLS).hits
    assert whole[0].score < 0.95


def test_a_part_holds_only_its_seconds(collection: Collection, tmp_path: Path) -> None:
    video = write_video(tmp_path / "v.mp4")
    part = embed_query(collection, Query(source=video, start_seconds=2.0, end_seconds=4.0), TOOLS)
    assert part.seconds.min() >= 2 and part.seconds.max() < 4 and part.vectors.shape == (4, ENGINE.spec.dim)
    assert part.end_seconds == 4.0 and part.mirrored is not None and part.informative is not None


def test_the_length_that_counts_is_that_of_the_part(collection: Collection, tmp_path: Path) -> None:
    video, short = write_video(tmp_path / "v.mp4"), replace(TOOLS, max_query_seconds=3.0)
    with pytest.raises(MediaTooLarge, match="start_seconds"):
        embed_query(collection, Query(source=video), short)
    part = Query(source=video, start_seconds=1.0, end_seconds=3.0)
    assert len(embed_query(collection, part, short).seconds) == 4
    assert len(embed_query(collection, Query(source=video, start_seconds=4.0), short).seconds) == 4


def test_a_moment_is_the_one_frame_that_is_shown(collection: Collection, tmp_path: Path) -> None:
    video, tools = write_video(tmp_path / "v.mp4"), replace(TOOLS, max_query_seconds=1.0)
    moment = embed_query(collection, Query(source=video, target="frame", start_seconds=3.27), tools)
    assert moment.seconds.tolist() == pytest.approx([3.25], abs=0.01)
    exact = ENGINE.embed(to_pixels(frame_at(video, 3.27, MediaLimits()), ENGINE.spec))
    assert float(moment.vectors[0] @ exact[0]) > 0.999
    with pytest.raises(InvalidRequest, match="beyond the end"):
        embed_query(collection, Query(source=video, target="frame", start_seconds=100.0), tools)


def test_an_item_is_asked_by_its_stored_frames(collection: Collection) -> None:
    vectors = unit_vectors(1, 10)
    item = collection.add(new_item(1, 10, vectors=vectors))
    whole = embed_query(collection, Query(item_id=item.id), TOOLS)
    assert whole.target == "clip" and whole.item_id == item.id and len(whole.vectors) == 10
    part = embed_query(collection, Query(item_id=item.id, start_seconds=1.2, end_seconds=2.6), TOOLS)
    assert part.seconds.tolist() == [1.0, 1.5, 2.0, 2.5] and part.end_seconds == 3.0
    moment = embed_query(collection, Query(item_id=item.id, start_seconds=1.2, target="frame"), TOOLS)
    assert float(moment.as_frame @ vectors[2]) > 0.999 and len(moment.vectors) == 1
    with pytest.raises(NotFound):
        embed_query(collection, Query(item_id="none"), TOOLS)


def test_an_item_is_not_its_own_answer(collection: Collection) -> None:
    for seed in range(3):
        collection.add(new_item(seed))
    asked = collection.items(1)[0][0].id
    hits = search(collection, SearchRequest(Query(item_id=asked))).hits
    assert len(hits) == 2 and asked not in {hit.item.id for hit in hits}


@pytest.mark.parametrize(
    "contradiction",
    [
        {},
        {"item_id": "a", "source": b"x"},
        {"vector": np.ones(4), "target": "clip"},
        {"item_id": "a", "region": Region(0, 0, 0.5, 0.5)},
        {"item_id": "a", "start_seconds": 5.0, "end_seconds": 5.0},
        {"item_id": "a", "end_seconds": 0.0},
    ],
)
def test_what_contradicts_itself_is_refused(contradiction: dict[str, object]) -> None:
    with pytest.raises(InvalidRequest):
        Query(**contradiction)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "sides", [(0.5, 0, 0.5, 1), (0.6, 0, 0.5, 1), (-0.1, 0, 1, 1), (0, 0, 1, 1.1), (0, 0, 0.001, 1)]
)
def test_a_region_lies_in_the_picture_and_has_a_size(sides: tuple[float, float, float, float]) -> None:
    with pytest.raises(InvalidRequest, match="region"):
        Region(*sides)


def test_a_file_needs_an_engine(collection: Collection, tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="engine"):
        search(collection, SearchRequest(Query(source=write_image(tmp_path / "a.png", 1))))


def test_equal_queries_have_one_digest_and_others_have_others(tmp_path: Path) -> None:
    path = write_image(tmp_path / "a.png", 1)
    by_path, by_bytes = Query(source=path), Query(source=path.read_bytes())
    assert by_path.digest() == by_bytes.digest()
    others = [
        Query(source=write_image(tmp_path / "b.png", 2)),
        Query(source=path, target="frame"),
        Query(source=path, region=Region(0, 0, 0.5, 1)),
        Query(source=path, end_seconds=1.0),
        Query(item_id="a"),
        Query(vector=np.ones(4, np.float32)),
    ]
    assert len({query.digest() for query in [by_path, *others]}) == 7
