"""The plan of the house, enforced: who may import whom, and where each library lives."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[1]

# Lowest first. A room imports from lower floors only, so never from a neighbour.
FLOORS = (
    {"files"},
    {"types", "seeds", "signature", "hardware", "provenance", "signals", "screen", "schema"},
    {"decoder"},
    {"ranks", "loss", "data", "grader", "reward", "engine", "grades"},
    {"model"},
    {"verifier"},
    {"game"},
    {"schedule", "buffer", "evaluate", "verdicts"},
    {"verdict_intervals"},
    {"measure", "labelled", "pass_at_k"},
    {"player"},
    {"stored", "record"},
    {"checkpoint", "kept"},
    {"tracking", "plots", "sweep", "snapshot", "conversations", "summary"},
    {"run"},
    {"train", "parts"},
    {"profile"},
    {"contradictions", "lengths"},
    {"build"},
    {"plan"},
    {"job"},
    {"launch", "launcher"},
)
GROUND = {"rlcotrain.types", "rlcotrain.seeds", "rlcotrain.signature"}
# Rooms that see less than what lies below them: a room, or one module of it.
SEES_ONLY = {
    "loss": GROUND,
    "data": GROUND,
    "grader": GROUND,
    "reward": GROUND,
    "decoder": set(),  # token ids and tensors
    "engine": {"rlcotrain.types", "rlcotrain.seeds", "rlcotrain.decoder"},  # never text
    "verifier": {*GROUND, "rlcotrain.grader"},
    "game": {*GROUND, "rlcotrain.verifier", "rlcotrain.model.agents", "rlcotrain.data.wording"},
}
# Rooms that grow by adding files: those know their room's shared bases and not each other.
SHARED = {
    "data": {"wording", "dataset", "rows", "boxed", "generated", "pass_rates"},
    "grader": {
        *(
            "answer_tag",
            "marked",
            "single",
            "numerals",
            "passage",
            "stated",
            "latex",
            "minerva_form",
        ),
        *("closed_form", "calculator", "named", "same", "symbols", "units"),
        *("compared", "pool", "symbolic"),
    },
    "game": {"outcome"},
    "verifier": {"judgement"},
}
HOMES = {
    "hydra": {"launch", "build", "launcher"},
    "submitit": {"launcher", "ranks"},
    "mlflow": {"tracking"},
    "vllm": {"engine"},
    "transformers": {"model", "engine", "decoder"},
    "peft": {"model", "engine"},
    "datasets": {"data"},
    "reasoning_gym": {"data", "grader"},
    "math_verify": {"grader"},
    "sympy": {"grader"},
    "latex2sympy2_extended": {"grader"},
    "lm_eval": {"evaluate"},
    "matplotlib": {"plots", "sweep"},
    "pydantic": {"schema"},
    "tqdm": {"screen"},
    "torch": {
        "types",
        "loss",
        "model",
        "engine",
        "decoder",
        "hardware",
        "ranks",
        "stored",
        "profile",
    },
}
# Seconds to import: inside functions only. torch may stand on top, in its own rooms.
HEAVY = {"mlflow", "vllm", "transformers", "peft", "datasets", "math_verify", "sympy", "lm_eval"}
HEAVY |= {"matplotlib", "reasoning_gym", "latex2sympy2_extended"}


class Import(NamedTuple):
    """One name that a module imports; `runs` where importing the module executes it."""

    module: str
    line: int
    target: str
    runs: bool

    def __str__(self) -> str:
        return f"{self.module}:{self.line} imports {self.target}"


def find_modules() -> dict[str, Path]:
    """Dotted name and file of everything that ships."""
    paths = [*ROOT.glob("rlcotrain/**/*.py"), *ROOT.glob("hydra_plugins/*.py"), ROOT / "launch.py"]
    names = [path.relative_to(ROOT).with_suffix("").parts for path in paths]
    return {
        ".".join(parts).removesuffix(".__init__"): path
        for parts, path in zip(names, paths, strict=True)
        if path.is_file()
    }


def room(module: str) -> str:
    """`rlcotrain.model.policy` stands in `model`, a plugin in `launcher`, launch.py in `launch`."""
    parts = module.split(".")
    if parts[0] == "hydra_plugins":
        return "launcher"
    return parts[1] if parts[0] == "rlcotrain" and len(parts) > 1 else parts[0]


def imported(node: ast.AST, runs: bool = True) -> Iterator[tuple[int, list[str], bool]]:
    """Line, dotted names and whether it runs, of every import below a node of the tree."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            yield child.lineno, [alias.name for alias in child.names], runs
        elif isinstance(child, ast.ImportFrom):
            assert child.module and not child.level, f"line {child.lineno}: relative import"
            yield child.lineno, [f"{child.module}.{alias.name}" for alias in child.names], runs
        else:
            guard = isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING"
            later = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) or guard
            yield from imported(child, runs and not later)


MODULES = find_modules()
IMPORTS = [
    Import(module, line, target if target in MODULES else name, runs)
    for module, path in MODULES.items()
    for line, names, runs in imported(ast.parse(path.read_text(encoding="utf-8")))
    for name in names
    for target in [name if name in MODULES else name.rpartition(".")[0]]
]
OURS = [found for found in IMPORTS if found.target in MODULES]


def offenders(found: list[Import]) -> str:
    return "\n".join(map(str, found))


def test_every_module_has_a_floor() -> None:
    known = set[str]().union(*FLOORS) | {"rlcotrain"}
    homeless = sorted(module for module in MODULES if room(module) not in known)
    assert not homeless, f"give these a floor in {Path(__file__).name}: {homeless}"


def test_imports_go_downward_only() -> None:
    floor = {name: height for height, names in enumerate(FLOORS) for name in names}
    upward = [
        found
        for found in OURS
        if room(found.module) != room(found.target) != "rlcotrain"
        and floor[room(found.target)] >= floor[room(found.module)]
    ]
    assert not upward, offenders(upward)


def test_narrow_rooms_see_only_what_they_may() -> None:
    strangers = [
        found
        for found in OURS
        if room(found.module) in SEES_ONLY
        and room(found.module) != room(found.target)
        and not {found.target, found.target.rpartition(".")[0]} & SEES_ONLY[room(found.module)]
    ]
    assert not strangers, offenders(strangers)


def test_only_agents_join_model_and_engine() -> None:
    joined = {f.module for f in OURS if room(f.module) == "model" and room(f.target) == "engine"}
    assert joined <= {"rlcotrain.model.agents"}


@pytest.mark.parametrize("name", SHARED)
def test_siblings_never_import_each_other(name: str) -> None:
    siblings = [
        found
        for found in OURS
        if room(found.module) == room(found.target) == name
        and found.target.rpartition(".")[2] not in SHARED[name]
    ]
    assert not siblings, offenders(siblings)


@pytest.mark.parametrize("library", HOMES)
def test_a_library_has_one_home(library: str) -> None:
    abroad = [
        found
        for found in IMPORTS
        if found.target.split(".")[0] == library and room(found.module) not in HOMES[library]
    ]
    assert not abroad, offenders(abroad)


def test_heavy_libraries_are_imported_inside_functions() -> None:
    early = [found for found in IMPORTS if found.runs and found.target.split(".")[0] in HEAVY]
    assert not early, offenders(early)


@pytest.mark.parametrize("start", [name for name in MODULES if not name.startswith("rlcotrain")])
def test_a_command_starts_without_torch(start: str) -> None:
    reached, waiting = dict[str, str](), [(start, start)]
    while waiting:
        module, road = waiting.pop()
        if module not in reached:
            reached[module] = road
            below = {found.target for found in IMPORTS if found.runs and found.module == module}
            waiting += [(target, f"{road} -> {target}") for target in below]
    heavy = {road for name, road in reached.items() if name.split(".")[0] in HEAVY | {"torch"}}
    assert not heavy, heavy
