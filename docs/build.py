"""The site: `python docs/build.py [FOLDER]` makes it in `docs/site`, English with Chinese below it in `zh/`.

Comes in: `docs/*.md`. Goes out: HTML that needs no other host. Always holds: a broken link, or anything else that Sphinx warns
of, ends it with status 1.
"""

import subprocess
import sys
from pathlib import Path

DOCS = Path(__file__).parent
#: Folder of sources, language, folder of the site.
LANGUAGES = ((DOCS, "en", "."), (DOCS / "zh", "zh_CN", "zh"))


def build(site: Path) -> int:
    """Build both languages into a folder; returns the exit status."""
    for source, language, below in LANGUAGES:
        strict = [sys.executable, "-m", "sphinx", "--quiet", "--fail-on-warning", "--nitpicky", "--builder", "html"]
        settings = ["--conf-dir", DOCS, "--define", f"language={language}", "--doctree-dir", site / ".doctrees" / language]
        done = subprocess.run([*strict, *settings, source, site / below])
        if done.returncode:
            return done.returncode
    return 0


if __name__ == "__main__":
    sys.exit(build(Path(sys.argv[1]) if len(sys.argv) > 1 else DOCS / "site"))
