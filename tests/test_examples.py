"""examples/: programs that people run as they are."""

import csv
import gzip
import io
import subprocess
import sys
import tarfile
from pathlib import Path

EXAMPLES = Path(__file__).parents[1] / "examples"


def made_pack(folder: Path) -> Path:
    """Two shards: pictures 0 to 5, of which the even ones are free, and clips a to d."""
    folder.mkdir()
    lines = []
    for shard, names in {"one.tar": [f"{i}.webp" for i in range(6)], "two.tar": [f"{c}.mp4" for c in "abcd"]}.items():
        with tarfile.open(folder / shard, "w") as archive:
            for place, name in enumerate(names):
                content = name.encode()
                member = tarfile.TarInfo(name)
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
                lines.append({"file": name, "shard": shard, "free": "no" if place % 2 else "yes"})
    with gzip.open(folder / "index.csv.gz", "wt", newline="") as out:
        writer = csv.DictWriter(out, ["file", "shard", "free"])
        writer.writeheader()
        writer.writerows(lines)
    return folder


def select(pack: Path, out: Path, *options: str) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, str(EXAMPLES / "select_from_pack.py"), str(pack), "-o", str(out), *options]
    return subprocess.run(words, capture_output=True, text=True, timeout=60)


def test_a_selection_keeps_to_its_column_and_keeps_the_same_clips_out(tmp_path: Path) -> None:
    pack = made_pack(tmp_path / "pack")
    free = select(pack, tmp_path / "free", "--where", "free=yes", "--clips-kept-out", "2")
    whole = select(pack, tmp_path / "whole", "--clips-kept-out", "2")
    assert free.returncode == whole.returncode == 0, free.stderr + whole.stderr
    kept_out = (tmp_path / "free" / "kept_out.txt").read_text().split()
    assert len(kept_out) == 2 and kept_out == (tmp_path / "whole" / "kept_out.txt").read_text().split()
    selected = {p.name for p in (tmp_path / "free").iterdir()} - {"kept_out.txt"}
    assert selected == {"0.webp", "2.webp", "4.webp", "a.mp4", "c.mp4"} - set(kept_out)
    assert len(list((tmp_path / "whole").iterdir())) == 6 + 2 + 1
    assert (tmp_path / "free" / "2.webp").read_text() == "2.webp"


def test_an_unknown_column_is_refused_by_name(tmp_path: Path) -> None:
    refused = select(made_pack(tmp_path / "pack"), tmp_path / "out", "--where", "licence=free")
    assert refused.returncode != 0 and "no column 'licence'; it has file, shard, free" in refused.stderr
