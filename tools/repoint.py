"""Point every link and badge at another owner: `python tools/repoint.py USER [REPO]`."""

import re
import sys
from configparser import ConfigParser
from pathlib import Path

ROOT = Path(__file__).parent.parent
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def files() -> list[Path]:
    "Everything that may hold a link to the repository."
    notebooks = [p for p in (ROOT / "nbs").rglob("*.ipynb") if ".ipynb_checkpoints" not in p.parts]
    texts = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "CITATION.cff", "mnist_nb/_modidx.py"]
    return [*(ROOT / name for name in texts), *notebooks]


def main():
    if len(sys.argv) not in (2, 3) or not all(NAME.fullmatch(word) for word in sys.argv[1:]):
        sys.exit("usage: python tools/repoint.py USER [REPO], each a name as GitHub allows it")
    path = ROOT / "settings.ini"
    config = ConfigParser()
    config.read(path, encoding="utf-8")
    old_user, old_repo = config["DEFAULT"]["user"], config["DEFAULT"]["repo"]
    user, repo = sys.argv[1], (sys.argv[2:] or [old_repo])[0]
    for file in files():
        text = file.read_text(encoding="utf-8").replace(f"{old_user}/{old_repo}", f"{user}/{repo}")
        text = text.replace(f"{old_user}.github.io/{old_repo}", f"{user}.github.io/{repo}")
        text = text.replace(f"{old_user}.github.io'", f"{user}.github.io'")  # in nbdev's index, on two lines
        text = text.replace(f"'/{old_repo}'", f"'/{repo}'")
        file.write_text(text, encoding="utf-8")
    text = path.read_text(encoding="utf-8")
    text = re.sub(r"^user = .*$", f"user = {user}", text, flags=re.M)
    path.write_text(re.sub(r"^repo = .*$", f"repo = {repo}", text, flags=re.M), encoding="utf-8")
    print(f"every link now points to {user}/{repo}")


if __name__ == "__main__":
    main()
