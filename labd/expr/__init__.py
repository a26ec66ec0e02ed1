"""Expressions with units: parsed, checked for types and dimensions, compiled to closures over floats."""

from labd.expr.closures import Missing, Values
from labd.expr.compiler import Expression, compile_expression
from labd.expr.errors import ExpressionError, Flaw
from labd.expr.fields import field_type, record_of
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
    "Expression",
    "ExpressionError",
    "Flaw",
    "ListOf",
    "Measure",
    "Missing",
    "Number",
    "Record",
    "Template",
    "Text",
    "Type",
    "Values",
    "accepts",
    "an",
    "compile_expression",
    "compile_template",
    "did_you_mean",
    "dimensioned",
    "field_type",
    "measure",
    "nearest",
    "record_of",
    "show",
]
