"""Vectors of many files, several requests at a time; a busy server is waited for.

python examples/embed_many.py vectors.npz *.jpg [--server http://127.0.0.1:8000] [--key vicmae_…]
"""

import argparse
import asyncio
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vicmae.server.client import AsyncClient

AT_ONCE = 4
IN_ONE = 16


async def embedded(vicmae: AsyncClient, paths: list[Path]) -> NDArray[np.float32]:
    """Files -> (N, D) float32, in order."""
    room = asyncio.Semaphore(AT_ONCE)

    async def one(some: list[Path]) -> NDArray[np.float32]:
        async with room:
            return await vicmae.embed(some)

    parts = [paths[i : i + IN_ONE] for i in range(0, len(paths), IN_ONE)]
    return np.concatenate(await asyncio.gather(*map(one, parts)))


async def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("output", type=Path)
    parser.add_argument("files", type=Path, nargs="+")
    parser.add_argument("--server", default="http://127.0.0.1:8000")
    parser.add_argument("--key")
    args = parser.parse_args()
    async with AsyncClient(args.server, args.key) as vicmae:
        vectors = await embedded(vicmae, args.files)
    np.savez(args.output, uri=[path.absolute().as_uri() for path in args.files], vectors=vectors)
    print(f"{len(vectors)} vectors of {vectors.shape[1]} numbers in {args.output}")


if __name__ == "__main__":
    asyncio.run(main())
