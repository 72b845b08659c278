"""No file is read in a way that runs what is in it."""

import ast
from pathlib import Path

PROJECT = Path(__file__).parents[2]
# They unpickle, or run what a file says; a model is a SavedModel or safetensors.
RUN_A_FILE = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal", "torch", "h5py"}
READERS = {"load_weights", "load_model_from_file", "read_pickle", "unsafe_load", "full_load"}


def modules():
    return [path for place in ("ml", "plugins", "dags", "scripts") for path in (PROJECT / place).rglob("*.py")]


def imported(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (each.name.partition(".")[0] for each in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module.partition(".")[0]


def calls(tree):
    return [node for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)]


def test_nothing_is_unpickled():
    found = {path.name: set(imported(ast.parse(path.read_text("utf-8")))) & RUN_A_FILE for path in modules()}
    assert {name: names for name, names in found.items() if names} == {}
    names = {call.func.attr for path in modules() for call in calls(ast.parse(path.read_text("utf-8")))}
    assert names & READERS == set()


def test_each_array_is_read_without_pickle():
    loads = [
        call
        for path in modules()
        for call in calls(ast.parse(path.read_text("utf-8")))
        if ast.unparse(call.func) == "np.load"
    ]
    assert len(loads) >= 4
    assert [call.lineno for call in loads if "allow_pickle=False" not in ast.unparse(call)] == []
