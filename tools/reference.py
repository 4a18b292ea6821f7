"""The reference: what is public in a module of the package, with its docments, read from the source alone."""

import ast
from pathlib import Path

ROOT = Path(__file__).parent.parent
LINE = 75  # letters of a value
FENCES = {"class": "`````", "function": "`````", "method": "````", "property": "````"}


def parameters(node: ast.FunctionDef | ast.ClassDef) -> tuple[str, list]:
    "As they are written, and each of them; those of a class are what `__init__` takes, or its fields."
    if isinstance(node, ast.ClassDef):
        made = [part for part in node.body if getattr(part, "name", "") == "__init__"]
        fields = [part for part in node.body if isinstance(part, ast.AnnAssign)]
        return parameters(made[0]) if made else (", ".join(map(ast.unparse, fields)), fields)
    taken = [part for part in ast.walk(node.args) if isinstance(part, ast.arg)]
    return ast.unparse(node.args).removeprefix("self").removeprefix(", "), taken


def written(annotation: ast.expr) -> str:
    "A type, without the quotes of one that is not known yet."
    return annotation.value if isinstance(annotation, ast.Constant) else ast.unparse(annotation)


def shortened(value: ast.expr) -> str:
    "A constant's value, or as much of it as a line takes."
    whole = ast.unparse(value)
    if len(whole) > LINE and isinstance(value, ast.Dict) and None not in value.keys:
        whole = f"{{{', '.join(f'{ast.unparse(key)}: …' for key in value.keys)}}}"
    return whole if len(whole) <= LINE else "…"


def kind_of(node: ast.stmt, within: bool) -> str:
    "As Sphinx calls it."
    if isinstance(node, ast.ClassDef):
        return "class"
    if any(ast.unparse(decorator) == "property" for decorator in node.decorator_list):
        return "property"
    return "method" if within else "function"


class Module:
    "A module of the package, as its source says it."

    def __init__(self, name: str):
        text = (ROOT / name.replace(".", "/")).with_suffix(".py").read_text(encoding="utf-8")
        self.name, self.lines, self.defined = name, text.splitlines(), {}
        for node in ast.parse(text).body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                self.defined[node.name] = node
            elif isinstance(node, ast.Assign):
                names = [part.id for part in ast.walk(node.targets[0]) if isinstance(part, ast.Name)]
                self.defined |= dict.fromkeys(names, node)

    def comment(self, line: int) -> str:
        "What stands at the end of a line."
        return self.lines[line - 1].partition("  # ")[2]

    def constant(self, name: str, node: ast.Assign) -> str:
        value = shortened(node.value)
        return f"```{{py:data}} {name}\n:value: {value}\n\n{self.comment(node.lineno)}\n```\n\n"

    def fields(self, taken: list, returns: ast.expr | None) -> list[str]:
        "What the comments say of each parameter, and of what comes back."
        lines = {part.end_lineno: f"param {getattr(part, 'arg', None) or part.target.id}" for part in taken}
        if returns:
            lines[returns.end_lineno] = "returns"
        return [f":{what}: {self.comment(line)}" for line, what in lines.items() if self.comment(line)]

    def thing(self, node: ast.FunctionDef | ast.ClassDef, within: bool = False) -> str:
        "A function, or a class with its public methods, each with a list of its parameters."
        kind, (words, taken), returns = (
            kind_of(node, within),
            parameters(node),
            getattr(node, "returns", None),
        )
        signature = node.name
        if kind != "property":
            signature += f"({words})" + (f" -> {written(returns)}" if returns else "")
        methods = [part for part in node.body if kind == "class" and isinstance(part, ast.FunctionDef)]
        parts = [self.thing(method, True) for method in methods if not method.name.startswith("_")]
        text = "\n".join([ast.get_docstring(node) or "", "", *self.fields(taken, returns), "", *parts])
        return f"{FENCES[kind]}{{py:{kind}}} {signature}\n\n{text}\n{FENCES[kind]}\n\n"

    def page(self) -> str:
        "A directive of Sphinx for each public name, in the order of the source."
        text = f"```{{py:currentmodule}} {self.name}\n```\n\n"
        for name in ast.literal_eval(self.defined["__all__"].value):
            node = self.defined[name]
            text += self.constant(name, node) if isinstance(node, ast.Assign) else self.thing(node)
        return text
