"""What the code promises about itself: what imports what, what prints, what a wheel holds, what `--help` loads."""

from __future__ import annotations

import ast
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("export", "runtime", "profiles", "zoo")
HEAVY = ("tensorflow", "keras", "tf2onnx", "onnxruntime", "openvino", "ai_edge_litert", "onnx", "scipy", "h5py")
PRINTS = ("cli", "commands", "terminal")
COMMAND_LINE = (*PRINTS, "exit_codes")
ENDS_CHILDREN = ("process.py", "try_load.py")
PACKAGE = [
    *(ROOT / "keronyx").glob("*.py"),
    *(f for p in ("pipeline", "commands") for f in (ROOT / "keronyx" / p).glob("*.py")),
]
FILES = sorted([*(f for folder in FOLDERS for f in (ROOT / folder).rglob("*.py")), *PACKAGE])


def imported(tree: ast.AST, package: str) -> set[str]:
    """Every module imported anywhere in a file, relative imports made absolute, with what is imported from it."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            parents = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            module = ".".join([*parents, *([node.module] if node.module else [])])
            found |= {module, *(f"{module}.{alias.name}" for alias in node.names)}
    return found


def package_of(file: Path) -> str:
    parts = file.relative_to(ROOT).parts[:-1]
    return ".".join(parts if parts[0] == "keronyx" else ("keronyx", *parts))


def parts_used(file: Path) -> set[str]:
    """Folders and modules of keronyx that a file imports from."""
    modules = imported(ast.parse(file.read_text()), package_of(file))
    return {module.split(".")[1] for module in modules if module.startswith("keronyx.")}


def name(file: Path) -> str:
    return str(file.relative_to(ROOT))


def part_of(file: Path) -> str:
    """`pipeline` for keronyx/pipeline/batch.py, `cli` for keronyx/cli.py; the folder's name for others."""
    first, second = file.relative_to(ROOT).parts[:2]
    return second.removesuffix(".py") if first == "keronyx" else first


@pytest.mark.parametrize("file", [f for f in FILES if f.relative_to(ROOT).parts[0] in FOLDERS], ids=name)
def test_folders_never_import_one_another(file):
    own = file.relative_to(ROOT).parts[0]
    used = parts_used(file)
    assert not used & ({*FOLDERS, "pipeline", *COMMAND_LINE} - {own})


@pytest.mark.parametrize("file", sorted(PACKAGE), ids=name)
def test_only_the_pipeline_joins_the_folders(file):
    used = parts_used(file)
    shown = {"profiles", "runtime"}
    allowed = {"pipeline": set(FOLDERS), "commands": shown, "terminal": shown}.get(part_of(file), set())
    assert used & set(FOLDERS) <= allowed


@pytest.mark.parametrize(
    "file", [f for f in sorted(PACKAGE) if part_of(f) not in (*COMMAND_LINE, "__main__")], ids=name
)
def test_nothing_else_knows_the_command_line(file):
    assert not parts_used(file) & set(COMMAND_LINE)


@pytest.mark.parametrize("file", FILES, ids=name)
def test_heavy_libraries_are_imported_inside_functions(file):
    top = ast.Module(
        [n for n in ast.parse(file.read_text()).body if not isinstance(n, ast.FunctionDef | ast.ClassDef)], []
    )
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            top.body = [n for n in top.body if ast.dump(n) != ast.dump(node)]
    assert not {module.partition(".")[0] for module in imported(top, package_of(file))} & set(HEAVY)


@pytest.mark.parametrize(
    "file", [f for f in FILES if part_of(f) not in PRINTS and f.name not in ENDS_CHILDREN], ids=name
)
def test_only_the_command_line_prints_or_exits(file):
    """process.py and try_load.py are exempt from `os._exit` alone: they end child processes, which talk by socket."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            assert called not in ("print", "exit", "quit", "sys.exit", "os._exit", "sys.stdout.write"), node.lineno
        if isinstance(node, ast.Raise) and node.exc is not None:
            assert "SystemExit" not in ast.unparse(node.exc), node.lineno


@pytest.mark.parametrize("file", FILES, ids=name)
def test_no_wall_clock_times_anything(file):
    assert "time.time(" not in file.read_text()


@pytest.mark.parametrize(
    "line", ["--help", "profile --help", "doctor", "report nowhere.json", "profile --runtimes x", "--version"]
)
def test_nothing_heavy_is_imported_by_what_must_be_quick(line, tmp_path):
    """`import tensorflow` alone takes 4 seconds; `--help` is to answer in half of one."""
    code = (
        "import sys, json\nfrom keronyx.cli import main\n"
        f"sys.argv = {['keronyx', *line.split()]!r}\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "print(json.dumps(sorted({m.partition('.')[0] for m in sys.modules})), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    loaded = json.loads(done.stderr.splitlines()[-1])
    assert not set(loaded) & set(HEAVY) and "keronyx" in loaded
    if line == "--help":
        assert "Usage" in done.stdout and not set(loaded) & {"numpy", "pydantic", "jinja2", "psutil", "PIL"}


def test_every_command_and_option_has_help():
    from typer.main import get_command

    from keronyx.cli import app

    commands = get_command(app).commands
    assert set(commands) == {"compare", "doctor", "evaluate", "export", "parity", "profile", "report", "train"}
    for command in commands.values():
        assert command.help and "Exit codes" in command.epilog
        assert all(getattr(parameter, "help", None) for parameter in command.params), command.name


def test_the_launcher_works_from_any_folder(tmp_path):
    (tmp_path / "keronyx.py").write_text("raise SystemExit('shadowed')")
    done = subprocess.run([sys.executable, ROOT / "cli.py", "--version"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.strip()[0].isdigit()
    assert len(ast.parse((ROOT / "cli.py").read_text()).body) == 3


@pytest.mark.slow
def test_a_wheel_holds_keronyx_alone_and_all_of_it(tmp_path):
    for source in ("pyproject.toml", "README.md", "keronyx", *FOLDERS):
        here = ROOT / source
        if here.is_dir():
            shutil.copytree(here, tmp_path / source, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
        elif here.exists():
            shutil.copy(here, tmp_path)
    (tmp_path / "zoo/weights").mkdir(exist_ok=True)
    (tmp_path / "zoo/weights/some-net.npz").touch()
    build = "from setuptools import setup; setup()"
    done = subprocess.run(
        [sys.executable, "-c", build, "-q", "build_py", "--build-lib", "built"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-500:]
    built = tmp_path / "built"
    assert [path.name for path in built.iterdir()] == ["keronyx"]
    held = {str(path.relative_to(built)) for path in built.rglob("*") if path.is_file()}
    expected = {f"{package_of(file).replace('.', '/')}/{file.name}" for file in FILES}
    templates = {f"keronyx/profiles/templates/{path.name}" for path in (ROOT / "profiles/templates").iterdir()}
    weights = {f"keronyx/zoo/weights/{path.name}" for path in (tmp_path / "zoo/weights").iterdir()}
    assert templates and held >= expected | templates | weights | {"keronyx/py.typed"}
