"""The house keeps its order: who may import whom, and what may stand nowhere. Read from the sources, nothing is run."""

from __future__ import annotations

import ast
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

# The backend's packages from the lowest to the highest; a package imports only itself and those before it.
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
# Packages that are not imported under pip's name, or that include another one.
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
    "np.load",  # use backend.contract.safe_io and backend.media.image_io, which check a file before reading it
    "cv2.imread",
}


def modules(folder: str) -> list[Path]:
    """Return every Python file below a folder of the project."""
    return sorted((ROOT / folder).rglob("*.py"))


def module_parts(path: Path) -> list[str]:
    """Return the module's name in parts: backend/media/decode.py → ["backend", "media", "decode"]."""
    parts = list(path.relative_to(ROOT).with_suffix("").parts)
    return parts[:-1] if parts[-1] == "__init__" else parts


def imports(path: Path) -> Iterator[str]:
    """Yield the full dotted names that a file imports, at its top or inside a function."""
    module = module_parts(path)
    package = module if path.name == "__init__.py" else module[:-1]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            parents = package[: len(package) - node.level + 1] if node.level else []
            base = [*parents, *(node.module.split(".") if node.module else [])]
            yield from (".".join([*base, name.name]) for name in node.names)


def package_of(name: str) -> str:
    """Return the backend's package of a dotted name, or "" for `backend` itself and names in its __init__."""
    parts = name.split(".")
    return parts[1] if len(parts) > 1 and parts[1] != "__version__" else ""


def used_packages(path: Path) -> set[str]:
    """Return the backend's packages that a file imports from."""
    return {package_of(name) for name in imports(path) if name.split(".")[0] == "backend"} - {""}


def external_packages(path: Path) -> set[str]:
    """Return the top-level packages that a file imports besides the standard library and the project."""
    own = {"backend", "addon", "tools", "benchmarks", "build", ""}
    return {name.split(".")[0] for name in imports(path)} - set(sys.stdlib_module_names) - own


BACKEND, ADDON = modules("backend"), modules("addon")


def relative_path(path: Path) -> str:
    """Return the path from the project's root."""
    return path.relative_to(ROOT).as_posix()


def test_absolute_relative_and_nested_imports_are_found() -> None:
    assert "backend.contract.errors.UserError" in imports(ROOT / "backend/setup/install.py")
    assert "tomllib" in imports(ROOT / "backend/setup/install.py")
    assert "backend.contract.channels.CHANNELS" in imports(ROOT / "backend/contract/performance.py")
    assert external_packages(ROOT / "backend/contract/performance.py") == {"numpy"}


@pytest.mark.parametrize("path", BACKEND, ids=relative_path)
def test_package_imports_only_itself_and_lower_packages(path: Path) -> None:
    package = package_of(".".join(module_parts(path)))
    if not package:
        assert not used_packages(path)
        return
    assert package in PACKAGES, f"{package} is not in PACKAGES, the order of packages"
    allowed = set(PACKAGES[: PACKAGES.index(package) + 1])
    if path.parent.name == "setup" and path.stem in INSTALLER:
        allowed = {"contract", "setup"}
    assert not used_packages(path) - allowed, f"{relative_path(path)} imports a higher package"


@pytest.mark.parametrize("path", [p for p in BACKEND if p.parent.name in TRACKING], ids=relative_path)
def test_tracking_package_imports_only_lower_ones(path: Path) -> None:
    lower = TRACKING[: TRACKING.index(path.parent.name) + 1]
    used = {name.split(".")[2] for name in imports(path) if name.startswith("backend.tracking.")}
    assert used <= set(lower), f"{relative_path(path)} imports a higher package"


@pytest.mark.parametrize(
    "package", [p for p in BACKEND if p.name == "__init__.py" and p.parent.name != "backend"], ids=relative_path
)
def test_package_docstring_states_content_and_allowed_imports(package: Path) -> None:
    text = ast.get_docstring(ast.parse(package.read_text(encoding="utf-8"))) or ""
    assert text.split("\n")[0].endswith(".") and "import" in text


@pytest.mark.parametrize("path", BACKEND, ids=relative_path)
def test_backend_imports_pinned_packages_and_not_blender(path: Path) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    pins = project["dependencies"] + project["optional-dependencies"]["cuda"]
    names = [pin.split("==")[0] for pin in pins]
    assert external_packages(path) <= set().union(*(IMPORT_NAMES.get(name, {name}) for name in names))
    assert not {name.split(".")[0] for name in imports(path)} & (BLENDER | {"addon"})


@pytest.mark.parametrize("path", modules("backend/contract"), ids=relative_path)
def test_contract_imports_at_most_numpy(path: Path) -> None:
    assert external_packages(path) <= {"numpy"}
    assert used_packages(path) <= {"contract"}


@pytest.mark.parametrize("module", STANDARD_ONLY)
def test_lowest_modules_import_only_the_standard_library(module: str) -> None:
    assert external_packages(ROOT / "backend" / f"{module}.py") == set()


@pytest.mark.parametrize("path", ADDON, ids=relative_path)
def test_addon_imports_only_blender_numpy_and_itself(path: Path) -> None:
    assert external_packages(path) <= BLENDER | {"numpy"}
    backend = {name for name in imports(path) if name.startswith("backend")}
    if path.name == "contract.py":
        assert used_packages(path) <= {"contract", "setup"}
        assert {n for n in backend if package_of(n) == "setup"} <= {"backend.setup.install_torch"}
    else:
        assert not backend, "only addon/contract.py may import the backend"


@pytest.mark.parametrize("path", [ROOT / "build.py", *modules("tools")], ids=relative_path)
def test_build_script_imports_only_the_standard_library(path: Path) -> None:
    assert external_packages(path) <= ({"bpy"} if path.name == "make_scene.py" else set())
    assert used_packages(path) <= {"contract", "setup"}


@pytest.mark.parametrize("path", [*BACKEND, *ADDON, ROOT / "build.py", *modules("tools")], ids=relative_path)
def test_no_call_executes_file_contents(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    called = {ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    assert not called & FORBIDDEN_CALLS
    keywords = {(k.arg, ast.unparse(k.value)) for n in ast.walk(tree) if isinstance(n, ast.Call) for k in n.keywords}
    assert not keywords & {("shell", "True"), ("allow_pickle", "True")}
    assert not {"pickle", "shelve", "marshal"} & set(imports(path))


def opens_media_for_reading(path: Path) -> bool:
    """Whether a file calls av.open for reading, or imports that function by name."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("av.open", "av.container.open"):
            modes = [*node.args[1:2], *(k.value for k in node.keywords if k.arg == "mode")]
            if [ast.unparse(mode) for mode in modes] != ["'w'"]:
                return True
    return bool({"av.open", "av.container.open"} & set(imports(path)))


def test_only_decode_opens_media_for_reading() -> None:
    """Only open_media there ensures that file contents cannot redirect what is read."""
    folders = ("backend", "addon", "benchmarks", "docs", "tests", "tools")
    files = [ROOT / "build.py", *(path for folder in folders for path in modules(folder))]
    assert [relative_path(path) for path in files if opens_media_for_reading(path)] == ["backend/media/decode.py"]


@pytest.mark.parametrize("path", [*BACKEND, *ADDON, ROOT / "build.py", *modules("tools")], ids=relative_path)
def test_no_broad_exception_is_ignored(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ExceptHandler):
            is_broad = node.type is None or ast.unparse(node.type) in ("Exception", "BaseException")
            is_ignored = all(isinstance(statement, (ast.Pass, ast.Continue)) for statement in node.body)
            assert not (is_broad and is_ignored), f"{relative_path(path)}:{node.lineno}"


def sources() -> Iterator[Path]:
    """Yield every file of the project, without caches, environments, results and a worktree's .git file."""
    for top in sorted(ROOT.iterdir()):
        if top.name in ("addon", "backend", "benchmarks", "docs", "tests", "tools", ".ci"):
            yield from (p for p in sorted(top.rglob("*")) if p.is_file() and "__pycache__" not in p.parts)
        elif top.is_file() and top.name != ".git" and top.suffix in (".py", ".toml", ".md", ""):
            yield top


def test_sources_have_no_path_of_one_machine() -> None:
    needles = [b"/" + folder + b"/" for folder in (b"work", b"root", b"opt/pypi")] + [
        b":\\Users\\" + b"",
        b"/Users" + b"/",
    ]
    found = [f"{relative_path(p)}: {n.decode()}" for p in sources() for n in needles if n in p.read_bytes()]
    assert not found


def test_doctor_runs_in_a_python_without_packages() -> None:
    """It is what tells the user that packages are missing, so it may not need them."""
    command = [sys.executable, "-S", "-m", "backend", "doctor"]  # -S: no site-packages
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, encoding="utf-8")
    assert "Traceback" not in ended.stderr and "numpy" in ended.stdout, ended.stderr
