"""Gathers the fragments in changelog.d/ as a new section of CHANGELOG.md: `make changelog VERSION=0.2.0`.

Not towncrier: a fragment here is a list of several bullets about one piece of work, without a number of an issue or a
type in its name; towncrier makes one bullet of each file.
"""

import sys
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).parents[1]


def gather(root: Path, version: str, day: str) -> list[Path]:
    """Writes the section, and returns the fragments that are now in it.

    Raises:
        ValueError: There is no fragment, one is not a list, or the version is in the changelog already.
    """
    changelog, fragments = root / "CHANGELOG.md", sorted((root / "changelog.d").glob("*.md"))
    text = changelog.read_text(encoding="utf-8")
    head, mark, rest = text.partition("\n## ")
    bodies = [fragment.read_text(encoding="utf-8").strip() for fragment in fragments]
    if not fragments:
        raise ValueError("changelog.d/ has no fragment, expected one for each user-visible change")
    if f"\n## {version} " in text:
        raise ValueError(f"CHANGELOG.md: has {version} already, expected a new version")
    for fragment, body in zip(fragments, bodies, strict=True):
        if not body.startswith("- "):
            raise ValueError(f'changelog.d/{fragment.name}: begins with {body[:20]!r}, expected a list: "- ..."')
    section = f"\n## {version} ({day})\n\n" + "\n".join(bodies) + "\n"
    changelog.write_text(f"{head}{section}{mark}{rest}", encoding="utf-8")
    return fragments


def main() -> int:
    if len(sys.argv) != 2:
        print("usage: make changelog VERSION=0.2.0", file=sys.stderr)
        return 2
    try:
        for fragment in gather(ROOT, sys.argv[1], datetime.now(UTC).date().isoformat()):
            fragment.unlink()
    except ValueError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
