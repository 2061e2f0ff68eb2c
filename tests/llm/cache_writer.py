"""The process that a test runs several of at once: 100 replies into one cache.

python cache_writer.py CACHE START
"""

import json
import sys
from pathlib import Path

from medeval.llm.disk import Disk, Kept


def main(path: Path, start: int) -> None:
    disk = Disk(path, None)
    for i in range(start, start + 100):
        text = json.dumps({"text": f"reply {i}", "usage": {}})
        disk.keep([Kept(f"key {i}", "identity", "{}", lambda text=text: text)])
    disk.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
