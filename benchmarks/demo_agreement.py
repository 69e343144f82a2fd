"""Do neighbours on the demonstration archive share the side and severity of their lesions? Its makers know the truth.

python -m benchmarks.demo_agreement [FOLDER of `make demo`]
"""

import sys
from pathlib import Path

from search.__main__ import main as search_main


def main(folder: Path) -> None:
    arguments = ["evaluate", "--index", str(folder / "index"), "-k", "5", "--where", "view in ('AP', 'PA')"]
    for target in ("side", "severity", "died", "itu_admission"):
        arguments += ["--target", target]
    arguments += ["--labels", str(folder / "archive" / "truth.csv"), "--label-key", "sop_uid"]
    search_main(arguments)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path("build/demo"))
