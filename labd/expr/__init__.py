"""Expressions with units: parsed, checked for types and dimensions, compiled to closures over floats."""

from labd.expr.closures import Missing, Values
from labd.expr.compiler import Expression, compile_expression
from labd.expr.errors import ExpressionError, Flaw
from labd.expr.fields import field_type, record_of
from labd.expr.intervals import Given, decide, interval, narrowed
from labd.expr.ranges import Choices, Env, Interval, Range
from labd.expr.search import Example, as_values, impossible, possible, within, witness
from labd.expr.show import show
from labd.expr.spelling import did_you_mean, nearest
from labd.expr.template import Template, compile_template
from labd.expr.types import (
    ANYTHING,
    BOOLEAN,
    INTEGER,
    NUMBER,
    TEXT,
    Anything,
    Boolean,
    ListOf,
    Measure,
    Number,
    Record,
    Text,
    Type,
    accepts,
    an,
    dimensioned,
    measure,
)

__all__ = [
    "ANYTHING",
    "BOOLEAN",
    "INTEGER",
    "NUMBER",
    "TEXT",
    "Anything",
    "Boolean",
    "Choices",
    "Env",
    "Example",
    "Expression",
    "ExpressionError",
    "Flaw",
    "Given",
    "Interval",
    "ListOf",
    "Measure",
    "Missing",
    "Number",
    "Range",
    "Record",
    "Template",
    "Text",
    "Type",
    "Values",
    "accepts",
    "an",
    "as_values",
    "compile_expression",
    "compile_template",
    "decide",
    "did_you_mean",
    "dimensioned",
    "field_type",
    "impossible",
    "interval",
    "measure",
    "narrowed",
    "nearest",
    "possible",
    "record_of",
    "show",
    "within",
    "witness",
]
