"""The command that adds an extra fits the way in which this package was installed."""

import re
import sys
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Any

import pytest

from corea import registry
from corea.errors import ConfigError
from corea.registry import import_extra, install_hint, need_extra

ROOT = Path(__file__).parents[1]


class Installed:
    """Stands for the metadata of the installed package."""

    def __init__(self, origin: str | None) -> None:
        self.origin = origin

    def read_text(self, name: str) -> str | None:
        assert name == "direct_url.json"
        return self.origin


def hint(monkeypatch: pytest.MonkeyPatch, folder: Path, found: Any) -> str:
    """The hint of a package that lies in a folder without a pyproject.toml, with this origin."""

    def distribution(name: str) -> Any:
        if isinstance(found, Exception):
            raise found
        return Installed(found)

    monkeypatch.setattr(registry, "__file__", str(folder / "site-packages" / "corea" / "registry.py"))
    monkeypatch.setattr(registry, "distribution", distribution)
    return install_hint("matplotlib")


def test_in_a_clone_it_is_the_clone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(ROOT)
    assert install_hint("matplotlib.pyplot") == "pip install '.[report]'"
    monkeypatch.chdir(tmp_path)
    assert install_hint("matplotlib") == f"pip install '.[report]' in {ROOT}"
    assert install_hint("no_extra_brings_this") == "pip install no_extra_brings_this"


@pytest.mark.parametrize(
    ("origin", "said"),
    [
        ('{"url": "file:///home/me/corea%20src", "dir_info": {}}', "pip install '.[report]' in /home/me/corea src"),
        (
            '{"url": "file:///tmp/corea-0.1.0-py3-none-any.whl", "archive_info": {}}',
            "pip install 'corea[report] @ file:///tmp/corea-0.1.0-py3-none-any.whl'",
        ),
        (
            '{"url": "https://example.org/corea.git", "vcs_info": {"vcs": "git", "commit_id": "abc"}}',
            "pip install 'corea[report] @ git+https://example.org/corea.git@abc'",
        ),
        (None, "pip install 'corea[report]'"),
        (PackageNotFoundError(), "pip install 'corea[report]'"),
    ],
)
def test_elsewhere_it_is_where_the_package_came_from(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, origin: Any, said: str
) -> None:
    assert hint(monkeypatch, tmp_path, origin) == said


def test_a_module_of_an_extra_is_imported_or_its_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    assert import_extra("a test", "json.decoder").JSONDecoder
    missing = "a test needs scikit-learn, which is not installed; pip install '.[calibrate]'"
    for name in ("sklearn", "sklearn.tree"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ConfigError, match=re.escape(missing)):
        import_extra("a test", "sklearn.tree")
    with pytest.raises(ConfigError, match=re.escape(missing)):
        need_extra("a test", "sklearn.tree")


def test_a_module_that_does_not_load_is_said_to(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "broken_extra.py").write_text("raise ImportError('libx.so: not found')")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ConfigError, match=r"a test needs broken_extra, which does not load \(libx.so: not found\)"):
        import_extra("a test", "broken_extra")
