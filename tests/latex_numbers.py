"""Numbers from the LaTeX that the package prints: enough of its mathematics for kernels' and families' formulas."""

from __future__ import annotations

import re

import numpy as np
from scipy import special

TOKEN = re.compile(r"\\(?:left|right)|\\[,;! ]|\\[A-Za-z]+|\d+(?:\.\d+)?|[A-Za-z]|[-+*/^_(){}=,|]|\s+")
FUNCTIONS = {
    r"\exp": np.exp,
    r"\log": np.log,
    r"\Gamma": special.gamma,
    r"\max": np.maximum,
    r"\min": np.minimum,
}


class Reader:
    """Recursive descent; a product is what stands side by side."""

    def __init__(self, latex, values):
        tokens = TOKEN.findall(latex)
        assert "".join(tokens) == latex, f"not read: {latex}"
        self.tokens = [t for t in tokens if not t.isspace() and t not in (r"\left", r"\right", r"\,")]
        self.values = values

    def peek(self):
        return self.tokens[0] if self.tokens else ""

    def take(self, wanted=None):
        token = self.tokens.pop(0)
        assert wanted in (None, token), f"{wanted} expected, {token} found"
        return token

    def sum(self):
        sign = -1.0 if self.peek() == "-" else 1.0
        if self.peek() in ("+", "-"):
            self.take()
        total = sign * self.product()
        while self.peek() in ("+", "-"):
            total = total + self.product() if self.take() == "+" else total - self.product()
        return total

    def product(self):
        total = self.power()
        while self.peek() and self.peek() not in ("+", "-", ")", "}", ",", "="):
            if self.peek() == "/":
                self.take()
                total = total / self.power()
            else:
                total = total * self.power()
        return total

    def power(self):
        base = self.atom()
        if self.peek() == "^":
            self.take()
            base = np.power(base, self.group())
        return base

    def group(self):
        if self.peek() != "{":
            return self.atom()
        self.take("{")
        found = self.sum()
        self.take("}")
        return found

    def atom(self):
        token = self.take()
        if token == "(":
            found = self.sum()
            self.take(")")
            return found
        if token in FUNCTIONS:
            return FUNCTIONS[token](*self.arguments())
        if token == r"\frac":
            return self.group() / self.group()
        if token == r"\sqrt":
            return np.sqrt(self.group())
        if re.fullmatch(r"\d.*", token):
            return float(token)
        if self.peek() == "_":
            self.take()
            token += "_" + self.subscript()
        return self.values.get(token, {"e": np.e, r"\pi": np.pi}.get(token))

    def subscript(self):
        if self.peek() != "{":
            return self.take()
        found = self.take()
        while not found.endswith("}"):
            found += self.take()
        return found

    def arguments(self):
        if self.peek() != "(":
            return [self.power()]
        self.take("(")
        found = [self.sum()]
        while self.peek() == ",":
            self.take()
            found.append(self.sum())
        self.take(")")
        return found


def value(latex, **values):
    """Value of a formula ``name = expression`` or ``name \\propto expression``, with definitions behind it."""
    main, *definitions = re.split(r", \\quad ", latex)
    held = dict(values)
    for definition in reversed(definitions):
        name, right = definition.split(" = ", 1) if " = " in definition else (None, "")
        if name:
            held[name] = read(right, held)
    right = re.split(r" (?:=|\\propto) ", main, maxsplit=1)[1]
    return read(right, held)


def read(latex, values):
    reader = Reader(latex, values)
    found = reader.sum()
    assert not reader.tokens, f"left over: {reader.tokens}"
    return found


def mutants(latex):
    """The formula with one sign turned or one number raised by one, each in turn."""
    for at in re.finditer(r"(?<!\\)[-+]|\d", latex):
        turned = {"+": "-", "-": "+"}.get(at[0]) or str(int(at[0]) + 1)
        yield latex[: at.start()] + turned + latex[at.end() :]
