"""Write docs/commands/*.md from the commands' own help: `make docs`. A test checks that they are up to date."""

from pathlib import Path

from typer.main import get_command
from typer.testing import CliRunner

from keronyx.cli import app

FOLDER = Path(__file__).parent / "commands"
WIDTH = 100


def pages() -> dict[str, str]:
    """File name -> Markdown, one page a command."""
    made = {}
    for name in sorted(get_command(app).commands):  # type: ignore[attr-defined]
        shown = CliRunner().invoke(app, [name, "--help"], prog_name="keronyx", terminal_width=WIDTH)
        made[f"{name}.md"] = f"# keronyx {name}\n\n```text\n{shown.output.rstrip()}\n```\n"
    return made


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for file, text in pages().items():
        (FOLDER / file).write_text(text)
