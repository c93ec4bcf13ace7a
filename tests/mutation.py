"""Mutants of the code that guards people: small faults, one at a time, and whether the tests notice them.

    python -m tests.mutation [--sample 350] [--seed 1] [--module tasks/lost.py ...] [--shown]

Draws mutants at random from the modules below, and runs for each the tests that execute the function it is in, quickest
first, until one fails. Prints what survived, and the score: the share of mutants that a test noticed. A mutant that
survives is a missing test, or a change that no caller can see: people judge that. Nothing is written to any file.

The tests of a part are collected once; each mutant runs in a process that is forked from there, with the code of one
function exchanged.
"""

import argparse
import ast
import copy
import importlib
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from types import CodeType, FrameType, FunctionType, ModuleType

import pytest

ROOT = Path(__file__).parents[1]
SUITES: dict[str, list[str]] = {
    "tasks/checks": [f"tests/tasks/test_checks{name}.py" for name in ("", "_decisions", "_limits", "_memberships")],
    "tasks/plan": ["tests/tasks/plan", "tests/tasks/test_leaving.py"],
    "tasks/lost.py": ["tests/tasks/test_lost.py", "tests/tasks/test_doubts.py"],
    "tasks/escrow.py": ["tests/tasks/test_escrow.py"],
    "tasks/ledger": ["tests/tasks/ledger"],
}
"""Where mutants are made, and the tests that judge them."""
QUIETLY = ("-q", "--assert=plain", "-p", "no:cacheprovider", "-k", "not postgresql")
"""Words for pytest. The ledger's tests run on SQLite here: the second database takes the same code once more."""
LONGEST_S = 60
"""A mutant whose tests run for longer hangs: that is noticed too."""
UNPLANTED = 71
"""Status of a process that could not put the fault into what is loaded."""


class Verdict(StrEnum):
    """What became of a mutant."""

    NOTICED = "noticed"
    SURVIVED = "survived"
    NOT_EXECUTED = "not executed"
    """No test comes there at all."""
    NOT_TRIED = "not tried"
    """At the top of a module, where everything would have to be loaded anew."""


COMPARED: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
}  # fmt: skip
COUNTED: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.FloorDiv, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Mutant:
    """One small fault."""

    file: str
    number: int
    """The how many-th of the file's."""
    line: int
    what: str
    function: int | None
    """First line of the outermost function it is in; None at the top of the module or of a class."""

    def __str__(self) -> str:
        return f"{self.file}:{self.line}  {self.what}"


# --- making mutants ------------------------------------------------------------------------------------------------


def changes_of(node: ast.AST) -> Iterator[tuple[str, Callable[[], None]]]:
    """Every fault that can be made of one node: what it is called, and how it is made."""
    match node:
        case ast.Compare(ops=ops):
            for at, one in enumerate(ops):
                if (other := COMPARED.get(type(one))) is not None:
                    yield _named(one, other), lambda at=at, other=other: ops.__setitem__(at, other())  # type: ignore[misc]
        case ast.BoolOp(op=op):
            swapped: type[ast.boolop] = ast.Or if isinstance(op, ast.And) else ast.And
            yield _named(op, swapped), lambda: setattr(node, "op", swapped())
        case ast.BinOp(op=op, left=left) if type(op) in COUNTED and not _is_text(left):
            yield _named(op, COUNTED[type(op)]), lambda: setattr(node, "op", COUNTED[type(op)]())
        case ast.AugAssign(op=op) if type(op) in COUNTED:
            yield _named(op, COUNTED[type(op)]), lambda: setattr(node, "op", COUNTED[type(op)]())
        case ast.UnaryOp(op=ast.Not() | ast.Invert()):
            yield "without not", lambda: setattr(node, "op", ast.UAdd() if isinstance(node.op, ast.Invert) else _Yes())
        case ast.Constant(value=bool() as value):
            yield f"{value} -> {not value}", lambda: setattr(node, "value", not value)
        case ast.Constant(value=int() | float() as value):
            yield f"{value} -> {value + 1}", lambda: setattr(node, "value", value + 1)
        case ast.If(test=test):
            yield "never", lambda: setattr(node, "test", ast.copy_location(ast.Constant(False), test))
        case ast.Continue() | ast.Break():
            yield "continue <-> break", lambda: setattr(node, "__class__", _other_jump(node))
        case ast.Return(value=ast.expr() as value) if not isinstance(value, ast.Constant):
            yield "returns None", lambda: setattr(node, "value", ast.copy_location(ast.Constant(None), value))
        case ast.Expr(value=ast.Call() as call):
            yield f"without {ast.unparse(call.func)}()", lambda: setattr(node, "value", _nothing(call))


class _Yes(ast.Not):
    """Not, twice: ``ast.unparse`` never sees it, :class:`_Doubled` takes it away."""


class _Doubled(ast.NodeTransformer):
    def visit_UnaryOp(self, node: ast.UnaryOp) -> ast.AST:
        self.generic_visit(node)
        return node.operand if isinstance(node.op, _Yes) else node


def _other_jump(node: ast.AST) -> type[ast.AST]:
    return ast.Break if isinstance(node, ast.Continue) else ast.Continue


def _nothing(node: ast.expr) -> ast.expr:
    return ast.copy_location(ast.Constant(None), node)


def _is_text(node: ast.expr) -> bool:
    return isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, str))


def _named(one: ast.AST, other: type[ast.AST]) -> str:
    return f"{type(one).__name__} -> {other.__name__}"


def nodes_of(tree: ast.Module) -> Iterator[tuple[ast.AST, int | None]]:
    """What may be mutated, with the first line of the function around it: no annotations, messages or imports."""

    def below(node: ast.AST, function: int | None) -> Iterator[tuple[ast.AST, int | None]]:
        for name, value in ast.iter_fields(node):
            if name in {"annotation", "returns", "decorator_list", "type_params"}:
                continue
            for child in value if isinstance(value, list) else [value]:
                if not isinstance(child, ast.AST) or isinstance(child, ast.JoinedStr | ast.Raise | ast.Assert):
                    continue
                inner = function
                if isinstance(child, ast.FunctionDef) and function is None:
                    inner = min([child.lineno, *(one.lineno for one in child.decorator_list)])
                yield child, inner
                yield from below(child, inner)

    yield from below(tree, None)


def mutants_of(file: str) -> list[Mutant]:
    """All mutants of a module, in the order of its lines."""
    found: list[Mutant] = []
    for node, function in nodes_of(ast.parse((ROOT / file).read_text())):
        for what, _ in changes_of(node):
            found.append(Mutant(file, len(found), getattr(node, "lineno", 0), what, function))
    return found


def mutated(mutant: Mutant) -> CodeType:
    """The module with the fault in it."""
    tree = ast.parse((ROOT / mutant.file).read_text())
    makers = [make for node, _ in nodes_of(tree) for _, make in changes_of(node)]
    makers[mutant.number]()
    whole = ast.fix_missing_locations(_Doubled().visit(tree))
    return compile(copy.deepcopy(whole), str(ROOT / mutant.file), "exec")


# --- judging them --------------------------------------------------------------------------------------------------


def codes_in(code: CodeType) -> Iterator[CodeType]:
    """A code object and all inside it."""
    yield code
    for one in code.co_consts:
        if isinstance(one, CodeType):
            yield from codes_in(one)


def function_at(module: ModuleType, line: int) -> FunctionType | None:
    """The function, or method, of a module that begins at a line."""
    classes = [one for one in vars(module).values() if isinstance(one, type) and one.__module__ == module.__name__]
    for holder in (module, *classes):
        for held in vars(holder).values():
            found = held.fget if isinstance(held, property) else getattr(held, "__func__", held)
            while hasattr(found, "__wrapped__"):
                found = found.__wrapped__
            if not isinstance(found, FunctionType) or found.__module__ != module.__name__:
                continue
            if found.__code__.co_firstlineno == line:
                return found
    return None


def plant(mutant: Mutant) -> bool:
    """Puts the fault into the function that is loaded; False where there is none that could have it."""
    name = mutant.file.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
    function = function_at(importlib.import_module(name), mutant.function) if mutant.function is not None else None
    if function is None:
        return False
    old = function.__code__
    for code in codes_in(mutated(mutant)):
        name, line, free = code.co_name, code.co_firstlineno, code.co_freevars
        if (name, line, free) == (old.co_name, old.co_firstlineno, old.co_freevars):
            function.__code__ = code
            return True
    return False


class Judge:
    """A plugin of pytest that runs the collected tests again and again, each time with another fault in the code."""

    def __init__(self, mutants: Sequence[Mutant], tell: Callable[[Mutant, Verdict], None]) -> None:
        self.mutants = mutants
        self.tell = tell
        self.test = ""
        self.seen: defaultdict[str, set[str]] = defaultdict(set)
        self.took: dict[str, float] = {}
        self.where = f"{ROOT}/tasks/"

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """In the place of pytest's own: the tests as they are, then for each mutant those that execute it."""
        with tempfile.NamedTemporaryFile() as file:
            if in_a_fork(lambda: self._watch(session, Path(file.name)), 1_800) != 0:
                raise pytest.UsageError("the tests fail without any fault")
            held = json.loads(Path(file.name).read_bytes())
        took, seen = held["took"], held["seen"]
        for mutant in self.mutants:
            chosen = set(seen.get(f"{mutant.file}:{mutant.function}", []))
            items = sorted((item for item in session.items if item.nodeid in chosen), key=lambda one: took[one.nodeid])
            if mutant.function is None:
                self.tell(mutant, Verdict.NOT_TRIED)
            elif not items:
                self.tell(mutant, Verdict.NOT_EXECUTED)
            else:
                status = in_a_fork(lambda items=items, mutant=mutant: self._try(items, mutant), LONGEST_S)  # type: ignore[misc]
                verdicts = {0: Verdict.SURVIVED, UNPLANTED: Verdict.NOT_TRIED}
                self.tell(mutant, verdicts.get(70 if status is None else status, Verdict.NOTICED))
        return True

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """The first failure ends the process."""
        if report.failed:
            os._exit(1)

    def _try(self, items: Sequence[pytest.Item], mutant: Mutant) -> int:
        if not plant(mutant):
            return UNPLANTED
        self._run(items)
        return 0

    def _watch(self, session: pytest.Session, file: Path) -> int:
        self._run(session.items, watched=True)
        file.write_text(json.dumps({"took": self.took, "seen": {key: sorted(some) for key, some in self.seen.items()}}))
        return 0

    def _run(self, items: Sequence[pytest.Item], *, watched: bool = False) -> None:
        for item, following in zip(items, [*items[1:], None], strict=True):
            self.test, began = item.nodeid, time.perf_counter()
            sys.setprofile(self._profile if watched else None)
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
            sys.setprofile(None)
            self.took[item.nodeid] = time.perf_counter() - began

    def _profile(self, frame: FrameType, event: str, _: object) -> None:
        code = frame.f_code
        if event == "call" and code.co_filename.startswith(self.where):
            self.seen[f"{code.co_filename.removeprefix(f'{ROOT}/')}:{code.co_firstlineno}"].add(self.test)


def in_a_fork(work: Callable[[], int], limit_s: float) -> int | None:
    """What the work gives, in a process of its own; None where it takes too long."""
    pid = os.fork()
    if pid == 0:
        status = 70
        try:
            os.setsid()
            status = work()
        finally:
            os._exit(status)
    until = time.monotonic() + limit_s
    while time.monotonic() < until:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.01)
    os.killpg(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return None


def files_below(place: str) -> list[str]:
    """Modules of a part."""
    path = ROOT / place
    files = [path] if path.is_file() else sorted(path.glob("*.py"))
    return [str(file.relative_to(ROOT)) for file in files]


def main() -> int:
    """Draws, judges and prints."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--sample", type=int, default=350, help="how many mutants are drawn, over all modules")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--module", action="append", help="only these modules, as tasks/lost.py")
    parser.add_argument("--line", type=int, help="only mutants of this line")
    parser.add_argument("--shown", action="store_true", help="print the mutants that were noticed as well")
    arguments = parser.parse_args()
    os.chdir(ROOT)
    sys.path.insert(0, str(ROOT))
    everything = [(place, mutant) for place in SUITES for file in files_below(place) for mutant in mutants_of(file)]
    if arguments.module:
        everything = [(place, mutant) for place, mutant in everything if mutant.file in arguments.module]
    if arguments.line:
        everything = [(place, mutant) for place, mutant in everything if mutant.line == arguments.line]
    chosen = random.Random(arguments.seed).sample(everything, min(arguments.sample, len(everything)))
    print(f"{len(chosen):,} of {len(everything):,} mutants, seed {arguments.seed}", flush=True)
    found: Counter[tuple[str, Verdict]] = Counter()
    for place, paths in SUITES.items():
        mine = sorted((mutant for where, mutant in chosen if where == place), key=lambda one: (one.file, one.line))

        def tell(mutant: Mutant, verdict: Verdict, place: str = place) -> None:
            found[place, verdict] += 1
            if arguments.shown or verdict in (Verdict.SURVIVED, Verdict.NOT_EXECUTED):
                print(f"{verdict:12}  {mutant}", file=sys.stderr, flush=True)

        if mine:
            with Path(os.devnull).open("w") as quiet, redirect_stdout(quiet):
                pytest.main([*QUIETLY, *paths], plugins=[Judge(mine, tell)])
            print(f"{place}: {_score(Counter({one: found[place, one] for one in Verdict}))}", flush=True)
    print(f"all: {_score(Counter({one: sum(found[place, one] for place in SUITES) for one in Verdict}))}")
    return 0


def _score(found: Counter[Verdict]) -> str:
    tried = found.total() - found[Verdict.NOT_TRIED]
    others = ", ".join(
        f"{count} {verdict}" for verdict, count in found.items() if count and verdict is not Verdict.NOTICED
    )
    share = found[Verdict.NOTICED] / max(1, tried)
    return f"{found[Verdict.NOTICED]} of {tried} noticed, {share:.0%} ({others or 'no other'})"


if __name__ == "__main__":
    sys.exit(main())
