"""Put files into a server, then ask where a picture was seen.

vicmae serve                                       # in another terminal
python examples/find.py frame.png film.mp4 photo.jpg [--server http://127.0.0.1:8000] [--key vicmae_…]
"""

import argparse
from pathlib import Path

from vicmae.server.client import Client


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("query", type=Path)
    parser.add_argument("files", type=Path, nargs="+")
    parser.add_argument("--server", default="http://127.0.0.1:8000")
    parser.add_argument("--key")
    args = parser.parse_args()
    with Client(args.server, args.key) as vicmae:
        for path in args.files:
            item = vicmae.finished(vicmae.add(path))
            print(f"{item.name}: {item.frames} frames")
        for hit in vicmae.search(args.query, target="frame", limit=3).data:
            sure = "-" if hit.confidence is None else f"{hit.confidence:.0%}"
            print(f"{sure}  {hit.start_seconds:.1f} s  {hit.name}")


if __name__ == "__main__":
    main()
