"""What is read of source files: every function and class, in the order in which a walk over the tree meets them."""

from __future__ import annotations

import ast
from pathlib import Path

from rr_export.demo.docstrings import documented, source_files

CODE = '''
class A:
    """Of A.

        Indented.
    """
    def one(self): "Of one."
    if True:
        def two(self): pass
    else:
        class B: "Of B."
try:
    def three():
        with open(x) as f:
            def four(): "Of four."
except E:
    def five(): "Of five."
else:
    for _ in ():
        def six(): "Of six."
finally:
    while False:
        def seven(): "Of seven."
match x:
    case 1:
        def eight(): "Of eight."
nine = lambda: (x if y else z)
'''


def test_everything_that_is_defined_is_found_in_order(tmp_path: Path) -> None:
    file = tmp_path / "code.py"
    file.write_text(CODE)
    found = documented(file)
    walked = [node.name for node in ast.walk(ast.parse(CODE)) if isinstance(node, ast.FunctionDef | ast.ClassDef)]
    assert [item.name for item in found] == walked and len(walked) == 10
    said = {item.name: item.docstring for item in found}
    assert said["A"] == "Of A.\n\nIndented." and said["two"] == "" and said["four"] == "Of four."


def test_what_is_no_python_has_nothing(tmp_path: Path) -> None:
    for name, content in (("template.py", b"def {{ name }}"), ("latin.py", b'"\xe9"'), ("null.py", b"\0")):
        (tmp_path / name).write_bytes(content)
        assert documented(tmp_path / name) == []


def test_files_of_a_package_are_sorted_and_a_missing_one_has_none() -> None:
    files = source_files("rr_runtime")
    assert files == sorted(files) and any(file.name == "session.py" for file in files)
    assert source_files("no_such_package") == []
