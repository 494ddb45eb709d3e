"""The documentation says what the program does."""

import importlib.util
import re
from pathlib import Path
from typing import Any

from keronyx.cli import Exit

ROOT = Path(__file__).parents[1]


def _generator() -> Any:
    spec = importlib.util.spec_from_file_location("generate_docs", ROOT / "docs" / "generate.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_command_has_an_up_to_date_page() -> None:
    pages = _generator().pages()
    written = {path.name: path.read_text() for path in (ROOT / "docs" / "commands").glob("*.md")}
    assert written == pages, "run make docs"


def test_the_readme_names_every_command_and_option_it_uses() -> None:
    readme = (ROOT / "README.md").read_text()
    pages = _generator().pages()
    for command in pages:
        assert f"keronyx {command.removesuffix('.md')}" in readme
    known = set(re.findall(r"--[a-z][a-z-]+", " ".join(pages.values())))
    used = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", readme))
    assert used <= known | {"--editable", "--constraint"}, used - known


def test_the_readme_states_every_exit_code() -> None:
    readme = (ROOT / "README.md").read_text()
    for code in Exit:
        assert re.search(rf"^\| {code.value} \|", readme, re.MULTILINE), code


def test_the_design_page_names_every_file_of_the_four_folders() -> None:
    design = (ROOT / "docs" / "design.md").read_text()
    for folder in ("export", "runtime", "profiles", "zoo"):
        layout = design[design.index("## Layout") : design.index("Setuptools `package-dir`")]
        for path in (ROOT / folder).glob("*.py"):
            known = path.stem in layout or path.stem == "__init__" or folder == "zoo"
            assert known, f"{folder}/{path.name} is not in docs/design.md"
