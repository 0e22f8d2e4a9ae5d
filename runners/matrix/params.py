"""What a matrix job may ask for, and the settings of its queue."""

import math
from collections.abc import Callable
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    ValidationInfo,
    WithJsonSchema,
    WrapValidator,
    field_validator,
)

from hpcq_runners.fields import Blob, wrong

INT64_MAX = 2**63 - 1
TWO_OPERANDS = ("matmul", "solve")
SCALARS = ("square_sum", "cube_sum")
OPERATIONS = (*TWO_OPERANDS, "eigvals", "svd", "det", *SCALARS)
RESULT_NAME = "result.npy"


class MatrixSettings(BaseModel):
    """A matrix queue's own keys in the config."""

    model_config = ConfigDict(extra="forbid")

    max_size: int = Field(10_000, ge=1, description="The longest side of a matrix; a job that asks for more is failed")
    modules: tuple[str, ...] = Field((), description="Modules whose functions may be named as an operation")


def _known_operation(value: Any) -> Any:
    if value not in OPERATIONS:
        raise wrong(f"expected one of {', '.join(OPERATIONS)}, or `module:function` of the queue's `modules`")
    return value


def _integral(value: Any) -> Any:
    """JSON Schema calls 512.0 an integer."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _number(value: Any) -> int | float:
    if type(value) is float and math.isfinite(value):
        return value
    if type(value) is int and -INT64_MAX <= value <= INT64_MAX:
        return value
    raise wrong("expected a finite number, below 2^63 when it is an integer")


def _plain_numbers(value: Any) -> bool:
    """Whether this is a list of good numbers; quicker by far than asking them one by one."""
    if type(value) is not list or not value:
        return False
    kinds = set(map(type, value))
    if not kinds <= {int, float} or not all(map(math.isfinite, value)):
        return False
    return int not in kinds or (min(value) >= -INT64_MAX and max(value) <= INT64_MAX)


def _quick_vector(value: Any, slow: Callable[[Any], Any]) -> Any:
    return value if _plain_numbers(value) else slow(value)


def _quick_matrix(value: Any, slow: Callable[[Any], Any]) -> Any:
    plain = type(value) is list and bool(value) and all(map(_plain_numbers, value))
    rows = value if plain else slow(value)
    for index, row in enumerate(rows):
        if len(row) != len(rows[0]):
            raise wrong(f"row {index} has {len(row)} numbers, row 0 has {len(rows[0])}")
    return rows


Int64 = Annotated[int, Field(strict=True, le=INT64_MAX), BeforeValidator(_integral)]
Number = Annotated[Any, BeforeValidator(_number), WithJsonSchema({"type": "number"})]
Vector = Annotated[list[Number], Field(min_length=1), WrapValidator(_quick_vector)]
Matrix = Annotated[list[Vector], Field(min_length=1), WrapValidator(_quick_matrix)]


class Artifact(BaseModel):
    """An array that an earlier job left behind; this job then depends on that one."""

    model_config = ConfigDict(extra="forbid")

    job: str = Field(min_length=1, max_length=64, pattern=r"^[0-9A-Za-z-]+$")
    name: str = Field(RESULT_NAME, min_length=1, max_length=255)

    @field_validator("name")
    @classmethod
    def _stays_inside(cls, name: str) -> str:
        if name.startswith("/") or "\0" in name or ".." in name.split("/"):
            raise wrong("expected the name of an artifact, such as result.npy")
        return name


def _stored_form(value: Any) -> str | None:
    """How an array that is kept somewhere is named; None for anything else."""
    if isinstance(value, Blob) or (isinstance(value, dict) and "blob" in value):
        return "<upload>"
    return "<artifact>" if isinstance(value, dict | Artifact) else None


def _operand_form(value: Any) -> str:
    if stored := _stored_form(value):
        return stored
    flat = isinstance(value, list) and bool(value) and not isinstance(value[0], list)
    return "<vector>" if flat else "<matrix>"


def _matrix_form(value: Any) -> str:
    return _stored_form(value) or "<matrix>"


def _argument_form(value: Any) -> str:
    """A reference is an object with `job`, perhaps `name`, or with `blob`, and nothing else."""
    if isinstance(value, dict) and not ({"job"} <= value.keys() <= {"job", "name"} or value.keys() == {"blob"}):
        return "<value>"
    return _stored_form(value) or "<value>"


def _params_form(value: Any) -> str:
    operation = value.get("operation") if isinstance(value, dict) else getattr(value, "operation", None)
    if operation in SCALARS:
        return "<scalar>"
    return "<kernel>" if isinstance(operation, str) and ":" in operation else "<matrix>"


# Tags stand in angle brackets: they are in pydantic's error locations, but no part of a body.
_Stored = Annotated[Artifact, Tag("<artifact>")] | Annotated[Blob, Tag("<upload>")]
_Rows = Annotated[Matrix, Tag("<matrix>")]
Left = Annotated[_Stored | _Rows, Discriminator(_matrix_form)]
Right = Annotated[_Stored | _Rows | Annotated[Vector, Tag("<vector>")], Discriminator(_operand_form)]
Argument = Annotated[_Stored | Annotated[Any, Tag("<value>")], Discriminator(_argument_form)]


class MatrixJob(BaseModel):
    """`size` and `seed` draw the operands; otherwise they are given as `a` and `b`."""

    model_config = ConfigDict(extra="forbid")

    operation: Annotated[Literal["matmul", "solve", "eigvals", "svd", "det"], BeforeValidator(_known_operation)]
    size: Annotated[Int64, Field(ge=1)] | None = None
    seed: Annotated[Int64, Field(ge=0)] | None = Field(None, description="0 when absent")
    max_size: Annotated[Int64, Field(ge=1)] | None = Field(
        None, description="Fail rather than compute a larger `size`; the queue's own `max_size` holds all the same"
    )
    a: Left | None = Field(None, validate_default=True)
    b: Right | None = Field(None, validate_default=True)

    @field_validator("a")
    @classmethod
    def _one_source(cls, a: Any, info: ValidationInfo) -> Any:
        if not {"operation", "size", "seed"} <= info.data.keys():
            return a  # one mistake is enough
        if a is None and info.data["size"] is None:
            raise wrong("give either `size`, or `a` itself")
        if a is not None and (info.data["size"], info.data["seed"]) != (None, None):
            raise wrong("`a` excludes `size` and `seed`")
        return a

    @field_validator("b")
    @classmethod
    def _as_many_as_needed(cls, b: Any, info: ValidationInfo) -> Any:
        if "operation" not in info.data or "a" not in info.data:
            return b
        operation, drawn = info.data["operation"], info.data["a"] is None
        if b is None and operation in TWO_OPERANDS and not drawn:
            raise wrong(f"{operation} needs `b` beside `a`")
        if b is not None and (drawn or operation not in TWO_OPERANDS):
            raise wrong("`b` goes with `a`" if drawn else f"{operation} takes one matrix, `a`")
        return b


class ScalarJob(BaseModel):
    """The sum of the squares or cubes of some numbers; exact when all are integers."""

    model_config = ConfigDict(extra="forbid")

    operation: Literal["square_sum", "cube_sum"]
    data: Vector


class KernelJob(BaseModel):
    """A function of a module that the queue's `modules` names; `{"job": id}` in `args` becomes that job's array,
    `{"blob": sha256}` an uploaded one."""

    model_config = ConfigDict(extra="forbid")

    operation: str = Field(max_length=200, pattern=r"^[A-Za-z_][A-Za-z0-9_.]*:[A-Za-z][A-Za-z0-9_]*$")
    args: dict[str, Argument] = Field(default_factory=dict)


MatrixParams = Annotated[
    Annotated[MatrixJob, Tag("<matrix>")]
    | Annotated[ScalarJob, Tag("<scalar>")]
    | Annotated[KernelJob, Tag("<kernel>")],
    Discriminator(_params_form),
]


def references(params: MatrixJob | ScalarJob | KernelJob) -> dict[str, Artifact | Blob]:
    """The stored arrays that the params name, by field or argument."""
    if isinstance(params, ScalarJob):
        return {}
    given = params.args if isinstance(params, KernelJob) else {"a": params.a, "b": params.b}
    return {name: value for name, value in given.items() if isinstance(value, Artifact | Blob)}
