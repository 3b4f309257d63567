"""The house keeps its order: who may import whom, and what may stand nowhere. Read from the sources, nothing is run."""

from __future__ import annotations

import ast
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

# The backend's packages from the lowest to the highest. A package imports only itself and those before it.
PACKAGES = (
    "contract", "setup", "media", "compute", "rasterizer", "tracking", "matting", "dataset", "portrait", "speech",
    "training", "rendering", "evaluation", "report", "synthetic", "pipeline", "cli", "__main__",
)  # fmt: skip
# The packages inside `tracking`, in the same order; `tracking`'s own modules stand above them.
TRACKING = ("detection", "pose", "face")
INSTALLER = (
    "install_torch",
    "install_pip",
    "environment",
    "install",
)  # runs before anything is installed: imports `contract` only
STANDARD_ONLY = (
    "contract/protocol", "contract/errors", "contract/atomic_write", "contract/channels", "contract/progress",
    "setup/process_lock", *(f"setup/{name}" for name in INSTALLER),
)  # fmt: skip
BLENDER = {
    "bpy", "bpy_extras", "bpy_types", "bl_operators", "bl_ui", "bl_math", "bmesh", "mathutils", "gpu", "gpu_extras",
    "blf", "imbuf", "aud", "idprop", "rna_keymap_ui", "addon_utils",
}  # fmt: skip
# Where a package is not imported under the name that pip knows, or brings another one that is used with it.
IMPORT_NAMES = {"opencv-python": {"cv2"}, "opencv-contrib-python": {"cv2"}, "numba": {"numba", "llvmlite"}}
FORBIDDEN_CALLS = {
    "eval",
    "exec",
    "os.system",
    "os.popen",
    "torch.load",
    "pickle.load",
    "pickle.loads",
    "numpy.load_pickle",
    "np.load",  # backend.contract.safe_io and backend.media.image_io measure a file before they read it
    "cv2.imread",
}


def modules(folder: str) -> list[Path]:
    """Every Python file below a folder of the project."""
    return sorted((ROOT / folder).rglob("*.py"))


def dotted(path: Path) -> list[str]:
    """The module's name in parts: backend/media/decode.py → ["backend", "video", "decode"]."""
    parts = list(path.relative_to(ROOT).with_suffix("").parts)
    return parts[:-1] if parts[-1] == "__init__" else parts


def imports(path: Path) -> Iterator[str]:
    """The full dotted names that a file imports, at its top or inside a function; relative ones resolved."""
    module = dotted(path)
    package = module if path.name == "__init__.py" else module[:-1]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            base = [*above, *(node.module.split(".") if node.module else [])]
            yield from (".".join([*base, name.name]) for name in node.names)


def package_of(name: str) -> str:
    """The backend's package that a dotted name belongs to; "" for `backend` itself and what its __init__ holds."""
    parts = name.split(".")
    return parts[1] if len(parts) > 1 and parts[1] != "__version__" else ""


def used_packages(path: Path) -> set[str]:
    """The backend's packages that a file imports from."""
    return {package_of(name) for name in imports(path) if name.split(".")[0] == "backend"} - {""}


def outside(path: Path) -> set[str]:
    """The top-level packages that a file imports, other than the standard library and the project's own."""
    own = {"backend", "addon", "tools", "benchmarks", "build", ""}
    return {name.split(".")[0] for name in imports(path)} - set(sys.stdlib_module_names) - own


BACKEND, ADDON = modules("backend"), modules("addon")


def named(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def test_imports_are_seen() -> None:
    """The reader of imports itself: an absolute one, a relative one, one inside a function."""
    assert "backend.contract.errors.UserError" in imports(ROOT / "backend/setup/install.py")
    assert "tomllib" in imports(ROOT / "backend/setup/install.py")
    assert "backend.contract.channels.CHANNELS" in imports(ROOT / "backend/contract/performance.py")
    assert outside(ROOT / "backend/contract/performance.py") == {"numpy"}


@pytest.mark.parametrize("path", BACKEND, ids=named)
def test_a_package_imports_only_itself_and_lower_packages(path: Path) -> None:
    package = package_of(".".join(dotted(path)))
    if not package:
        assert not used_packages(path)
        return
    assert package in PACKAGES, f"{package} has no place in the order: add it to PACKAGES"
    allowed = set(PACKAGES[: PACKAGES.index(package) + 1])
    if path.parent.name == "setup" and path.stem in INSTALLER:
        allowed = {"contract", "setup"}
    assert not used_packages(path) - allowed, f"{named(path)} stands lower than what it imports"


@pytest.mark.parametrize("path", [p for p in BACKEND if p.parent.name in TRACKING], ids=named)
def test_a_package_of_tracking_imports_only_lower_ones(path: Path) -> None:
    lower = TRACKING[: TRACKING.index(path.parent.name) + 1]
    used = {name.split(".")[2] for name in imports(path) if name.startswith("backend.tracking.")}
    assert used <= set(lower), f"{named(path)} stands lower than what it imports"


@pytest.mark.parametrize(
    "package", [p for p in BACKEND if p.name == "__init__.py" and p.parent.name != "backend"], ids=named
)
def test_every_package_says_what_lives_there_and_what_it_may_import(package: Path) -> None:
    text = ast.get_docstring(ast.parse(package.read_text(encoding="utf-8"))) or ""
    assert text.split("\n")[0].endswith(".") and "import" in text


@pytest.mark.parametrize("path", BACKEND, ids=named)
def test_the_backend_imports_what_is_pinned_and_no_blender(path: Path) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    pins = project["dependencies"] + project["optional-dependencies"]["cuda"]
    names = [pin.split("==")[0] for pin in pins]
    assert outside(path) <= set().union(*(IMPORT_NAMES.get(name, {name}) for name in names))
    assert not {name.split(".")[0] for name in imports(path)} & (BLENDER | {"addon"})


@pytest.mark.parametrize("path", modules("backend/contract"), ids=named)
def test_the_contract_needs_numpy_at_most(path: Path) -> None:
    assert outside(path) <= {"numpy"}
    assert used_packages(path) <= {"contract"}


@pytest.mark.parametrize("module", STANDARD_ONLY)
def test_the_lowest_modules_need_the_standard_library_only(module: str) -> None:
    assert outside(ROOT / "backend" / f"{module}.py") == set()


@pytest.mark.parametrize("path", ADDON, ids=named)
def test_the_addon_imports_blender_numpy_and_itself(path: Path) -> None:
    assert outside(path) <= BLENDER | {"numpy"}
    backend = {name for name in imports(path) if name.startswith("backend")}
    if path.name == "contract.py":
        assert used_packages(path) <= {"contract", "setup"}
        assert {n for n in backend if package_of(n) == "setup"} <= {"backend.setup.install_torch"}
    else:
        assert not backend, "the add-on knows the backend only through addon/contract.py"


@pytest.mark.parametrize("path", [ROOT / "build.py", *modules("tools")], ids=named)
def test_the_entry_needs_the_standard_library_only(path: Path) -> None:
    assert outside(path) <= ({"bpy"} if path.name == "make_scene.py" else set())
    assert used_packages(path) <= {"contract", "setup"}


@pytest.mark.parametrize("path", [*BACKEND, *ADDON, ROOT / "build.py", *modules("tools")], ids=named)
def test_no_call_that_runs_what_a_file_says(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    called = {ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    assert not called & FORBIDDEN_CALLS
    keywords = {(k.arg, ast.unparse(k.value)) for n in ast.walk(tree) if isinstance(n, ast.Call) for k in n.keywords}
    assert not keywords & {("shell", "True"), ("allow_pickle", "True")}
    assert not {"pickle", "shelve", "marshal"} & set(imports(path))


def opens_media_for_reading(path: Path) -> bool:
    """Whether a file calls av.open other than for writing, or imports that function under another name."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("av.open", "av.container.open"):
            modes = [*node.args[1:2], *(k.value for k in node.keywords if k.arg == "mode")]
            if [ast.unparse(mode) for mode in modes] != ["'w'"]:
                return True
    return bool({"av.open", "av.container.open"} & set(imports(path)))


def test_media_is_opened_for_reading_by_one_function_only() -> None:
    """open_media keeps labels, names and play lists from deciding what is read; no other place may forget to."""
    folders = ("backend", "addon", "benchmarks", "docs", "tests", "tools")
    files = [ROOT / "build.py", *(path for folder in folders for path in modules(folder))]
    assert [named(path) for path in files if opens_media_for_reading(path)] == ["backend/media/decode.py"]


@pytest.mark.parametrize("path", [*BACKEND, *ADDON, ROOT / "build.py", *modules("tools")], ids=named)
def test_no_error_is_swallowed_unseen(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ExceptHandler):
            broad = node.type is None or ast.unparse(node.type) in ("Exception", "BaseException")
            idle = all(isinstance(statement, (ast.Pass, ast.Continue)) for statement in node.body)
            assert not (broad and idle), f"{named(path)}:{node.lineno}"


def sources() -> Iterator[Path]:
    """Every file that belongs to the project: caches, environments, results and a worktree's .git file left out."""
    for top in sorted(ROOT.iterdir()):
        if top.name in ("addon", "backend", "benchmarks", "docs", "tests", "tools", ".ci"):
            yield from (p for p in sorted(top.rglob("*")) if p.is_file() and "__pycache__" not in p.parts)
        elif top.is_file() and top.name != ".git" and top.suffix in (".py", ".toml", ".md", ""):
            yield top


def test_no_path_of_one_machine_stands_in_the_sources() -> None:
    needles = [b"/" + folder + b"/" for folder in (b"work", b"root", b"opt/pypi")] + [
        b":\\Users\\" + b"",
        b"/Users" + b"/",
    ]
    found = [f"{named(p)}: {n.decode()}" for p in sources() for n in needles if n in p.read_bytes()]
    assert not found
