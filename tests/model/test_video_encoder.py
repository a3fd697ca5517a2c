"""vicmae.model.video: an encoder of pictures made into one of clips."""

import pytest
import torch
from made_runs import NANO, nano_encoder

from vicmae.model.encoder import Encoder
from vicmae.model.video import VideoEncoder, inflate, sincos_times


def clips(count: int = 2, frames: int = 4, seed: int = 0) -> torch.Tensor:
    """(count, frames, 3, 32, 32), each frame different."""
    return torch.randn(count, frames, 3, 32, 32, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("frames, tube", [(4, 2), (6, 3), (1, 1), (16, 2)])
def test_a_clip_that_stands_still_has_the_embedding_of_its_picture(frames: int, tube: int) -> None:
    encoder = nano_encoder()
    pictures = clips(frames=1)
    with torch.inference_mode():
        still = inflate(encoder, frames, tube).pooled(pictures.expand(-1, frames, -1, -1, -1))
        torch.testing.assert_close(still, encoder.pooled(pictures[:, 0]), rtol=1e-5, atol=1e-5)


def test_tokens_of_each_slot_are_those_of_the_picture_when_nothing_moves() -> None:
    encoder = nano_encoder()
    picture = clips(1, 1)
    with torch.inference_mode():
        tokens = inflate(encoder, 4, 2)(picture.expand(-1, 4, -1, -1, -1))
        assert tokens.shape == (1, 2, 1 + encoder.spec.tokens, NANO.dim)
        torch.testing.assert_close(tokens[0, 1], encoder(picture[:, 0])[0], rtol=1e-5, atol=1e-5)


def test_only_a_table_of_times_tells_the_order_of_slots() -> None:
    moving = clips(1, 4)
    swapped = moving[:, [2, 3, 0, 1]]
    with torch.inference_mode():
        blind = inflate(nano_encoder(), 4, 2)
        torch.testing.assert_close(blind.pooled(moving), blind.pooled(swapped), rtol=1e-5, atol=1e-5)
        timed = inflate(nano_encoder(), 4, 2, times="sincos")
        assert (timed.pooled(moving) - timed.pooled(swapped)).abs().max() > 1e-3


def test_times_and_class_token_are_trained_and_positions_are_not() -> None:
    video = inflate(nano_encoder(), 4, 2).train()
    video.pooled(clips()).square().sum().backward()  # type: ignore[no-untyped-call]
    slopes = {name: p.grad for name, p in video.named_parameters() if p.grad is not None}
    assert "pos_embed" not in slopes
    for name in ("temporal_embed", "cls_token", "patch_embed.proj.weight"):
        assert slopes[name].abs().max() > 0, name


def test_a_row_of_times_for_each_slot() -> None:
    table = sincos_times(8, 3)
    assert table.shape == (1, 3, 1, 8)
    assert table[0, 0, 0].tolist() == [0, 0, 0, 0, 1, 1, 1, 1]
    assert len({tuple(row.tolist()) for row in table[0, :, 0]}) == 3


def test_pixels_are_normalised_as_for_pictures() -> None:
    encoder = nano_encoder()
    pixels = torch.randint(0, 256, (2, 4, 32, 32, 3), dtype=torch.uint8)
    of_clips = inflate(encoder, 4, 2).normalise(pixels)
    torch.testing.assert_close(of_clips.flatten(0, 1), encoder.normalise(pixels.flatten(0, 1)))


def test_frames_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="frames is 5, tube is 2"):
        VideoEncoder(NANO, NANO.input_spec(32), frames=5)
    with pytest.raises(ValueError, match="clips have 6 frames; this encoder takes 4"):
        inflate(nano_encoder(), 4)(clips(frames=6))


def test_drop_path_changes_training_only_and_no_name() -> None:
    plain = nano_encoder()
    dropping = Encoder(NANO, plain.spec, drop_path=0.9)
    dropping.load_state_dict(plain.state_dict())
    pictures = clips(8, 1)[:, 0]
    with torch.inference_mode():
        torch.testing.assert_close(dropping.eval()(pictures), plain(pictures))
        assert not torch.equal(dropping.train()(pictures), plain(pictures))
    video = inflate(plain, 4, 2, drop_path=0.9)
    assert video.state_dict().keys() == plain.state_dict().keys() | {"temporal_embed"}
