"""A CLIP of made weights for `infinity-emb`, its vision tower a ViT of the size asked for. Knows nothing of vicmae.

    PEER_PYTHON benchmarks/helpers/peer_clip.py FOLDER '{"size": 224, "patch": 16, "dim": 384, "depth": 12, "heads": 6}'

Runs in the peer's own environment (transformers); benchmarks/server.py --peer-python calls it.
"""

import json
import sys
from pathlib import Path

from transformers import (  # type: ignore[import-not-found]
    CLIPConfig,
    CLIPImageProcessor,
    CLIPModel,
    CLIPProcessor,
    CLIPTextConfig,
    CLIPTokenizer,
    CLIPVisionConfig,
)

WORDS = ["<|startoftext|>", "<|endoftext|>", "a", "a</w>"]  # never asked for any: pictures only


def main(folder: Path, size: int, patch: int, dim: int, depth: int, heads: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps({word: number for number, word in enumerate(WORDS)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    seen = CLIPVisionConfig(
        hidden_size=dim,
        intermediate_size=4 * dim,
        num_hidden_layers=depth,
        num_attention_heads=heads,
        image_size=size,
        patch_size=patch,
    )
    said = CLIPTextConfig(
        vocab_size=len(WORDS),
        hidden_size=32,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=1,
        max_position_embeddings=77,
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=1,
    )
    config = CLIPConfig(said.to_dict(), seen.to_dict(), projection_dim=dim, architectures=["CLIPModel"])
    CLIPModel(config).save_pretrained(folder)
    pictures = CLIPImageProcessor(size={"shortest_edge": size}, crop_size={"height": size, "width": size})
    words = CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"), model_max_length=77)
    CLIPProcessor(pictures, words).save_pretrained(folder)


if __name__ == "__main__":
    main(Path(sys.argv[1]), **json.loads(sys.argv[2]))
