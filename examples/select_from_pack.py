"""Selects training files from a pack of tar shards by a column of its index, and keeps some clips out of it.

    python examples/select_from_pack.py PACK -o FOLDER --where commercial=yes --clips-kept-out 200

PACK holds index.csv.gz (columns file, shard and those asked for) and the shards. The clips kept out are the first by
the sha256 of their names, whatever the columns say, so that every selection keeps out the same ones; their names go
into FOLDER/kept_out.txt.
"""

import argparse
import csv
import gzip
import hashlib
import tarfile
from pathlib import Path

VIDEO_SUFFIXES = (".mp4", ".webm", ".mkv", ".mov")


def read_index(pack: Path) -> list[dict[str, str]]:
    """The lines of the pack's index.csv.gz, by column."""
    with gzip.open(pack / "index.csv.gz", "rt", encoding="utf-8", newline="") as text:
        return list(csv.DictReader(text))


def clips_kept_out(index: list[dict[str, str]], count: int) -> set[str]:
    """The names of the `count` clips whose names have the smallest sha256."""
    clips = [line["file"] for line in index if line["file"].lower().endswith(VIDEO_SUFFIXES)]
    return set(sorted(clips, key=lambda name: hashlib.sha256(name.encode()).hexdigest())[:count])


def select(pack: Path, out: Path, where: dict[str, str], clips_out: int) -> int:
    """Writes the selected files of all shards flat into `out` and returns how many there are."""
    index = read_index(pack)
    unknown = [column for column in where if column not in index[0]]
    if unknown:
        raise SystemExit(f"The index has no column {unknown[0]!r}; it has {', '.join(index[0])}.")
    kept_out = clips_kept_out(index, clips_out)
    wanted = {
        line["file"]
        for line in index
        if line["file"] not in kept_out and all(line[column] == value for column, value in where.items())
    }
    out.mkdir(parents=True, exist_ok=True)
    (out / "kept_out.txt").write_text("".join(f"{name}\n" for name in sorted(kept_out)))
    count = 0
    for shard in sorted({line["shard"] for line in index}):
        with tarfile.open(pack / shard) as archive:
            for member in archive:
                content = archive.extractfile(member) if member.name in wanted else None
                if content is not None:
                    (out / Path(member.name).name).write_bytes(content.read())
                    count += 1
    return count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pack", type=Path)
    parser.add_argument("-o", "--out", type=Path, required=True)
    parser.add_argument("--where", action="append", default=[], metavar="COLUMN=VALUE")
    parser.add_argument("--clips-kept-out", type=int, default=0)
    arguments = parser.parse_args()
    where = dict(condition.partition("=")[::2] for condition in arguments.where)
    count = select(arguments.pack, arguments.out, where, arguments.clips_kept_out)
    print(f"{count} files in {arguments.out}")


if __name__ == "__main__":
    main()
