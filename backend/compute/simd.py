"""Eight float32 numbers as one value inside numba kernels.

LLVM's vectoriser may or may not find the vectors in a loop; a kernel written with these functions is vector code on
every processor (AVX, or pairs of SSE or NEON registers). The file holds only what the tile kernels use. The functions
can only be called from compiled code.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.extending import intrinsic, models, overload, register_model

LANES = 8
_IR_VECTOR = ir.VectorType(ir.FloatType(), LANES)
_IR_INDEX = ir.IntType(32)


class Vector(types.Type):
    """The numba type of LANES float32 numbers."""

    def __init__(self) -> None:
        super().__init__(name=f"float32x{LANES}")  # type: ignore[no-untyped-call]


_VECTOR = Vector()  # type: ignore[no-untyped-call]
_TupleType: Any = types.UniTuple


def _define_intrinsic(define: Callable[..., Any]) -> Any:
    """Return `numba.extending.intrinsic` as Any: kernels call the function without the context it is defined with."""
    return intrinsic(define)


def _define_literal_intrinsic(define: Callable[..., Any]) -> Any:
    """Do the same for functions with an argument that must be a compile-time constant."""
    return intrinsic(prefer_literal=True)(define)


@register_model(Vector)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, manager: Any, numba_type: Any) -> None:
        super().__init__(manager, numba_type, _IR_VECTOR)  # type: ignore[no-untyped-call]


def _emit_broadcast(builder: Any, scalar: Any) -> Any:
    """Return IR that repeats a float32 in every lane."""
    undefined = ir.Constant(_IR_VECTOR, ir.Undefined)
    first = builder.insert_element(undefined, scalar, ir.Constant(_IR_INDEX, 0))
    return builder.shuffle_vector(first, undefined, ir.Constant(ir.VectorType(_IR_INDEX, LANES), [0] * LANES))


def _emit_pointer(context: Any, builder: Any, array_type: Any, arguments: Any, element: Any) -> Any:
    """Return IR for the address of element arguments[1] of arguments[0], a contiguous one-dimensional float32 array."""
    array, index = arguments[:2]
    data = context.make_array(array_type)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [index]), element.as_pointer())


def _is_float32_buffer(array: Any) -> bool:
    return isinstance(array, types.Array) and array.ndim == 1 and array.dtype == types.float32 and array.layout == "C"


@_define_intrinsic
def broadcast(typing_context: Any, scalar: Any) -> Any:
    """Return the same float32 in every lane."""

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return _emit_broadcast(builder, arguments[0])

    return (_VECTOR(types.float32), build) if scalar == types.float32 else None


@_define_intrinsic
def lane_indices(typing_context: Any) -> Any:
    """Return 0, 1, … 7."""

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return ir.Constant(_IR_VECTOR, [float(i) for i in range(LANES)])

    return _VECTOR(), build


@_define_intrinsic
def load(typing_context: Any, array: Any, index: Any) -> Any:
    """Return array[index : index + LANES]."""

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.load(_emit_pointer(context, builder, array, arguments, _IR_VECTOR), align=4)

    return (_VECTOR(array, types.intp), build) if _is_float32_buffer(array) else None


@_define_intrinsic
def store(typing_context: Any, array: Any, index: Any, vector: Any) -> Any:
    """Store array[index : index + LANES] = vector."""

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        builder.store(arguments[2], _emit_pointer(context, builder, array, arguments, _IR_VECTOR), align=4)
        return context.get_dummy_value()

    return (types.none(array, types.intp, _VECTOR), build) if _is_float32_buffer(array) else None


@_define_intrinsic
def select_if_at_least(typing_context: Any, value: Any, limit: Any, if_true: Any, if_false: Any) -> Any:
    """Return `if_true` in the lanes where value ≥ limit, else `if_false`."""

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        value, limit, if_true, if_false = arguments
        return builder.select(builder.fcmp_ordered(">=", value, limit), if_true, if_false)

    return _VECTOR(_VECTOR, _VECTOR, _VECTOR, _VECTOR), build


@_define_intrinsic
def any_at_least(typing_context: Any, value: Any, limit: Any) -> Any:
    """Return whether value ≥ limit in some lane."""

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        lanes_true = builder.bitcast(builder.fcmp_ordered(">=", *arguments), ir.IntType(LANES))
        return builder.icmp_unsigned("!=", lanes_true, ir.Constant(ir.IntType(LANES), 0))

    return types.boolean(_VECTOR, _VECTOR), build


def _register_operator(function: Any, instruction: str) -> None:
    """Define the operator `function` for vectors; a float32 on either side is repeated in every lane."""

    @_define_intrinsic
    def combine(typing_context: Any, left: Any, right: Any) -> Any:
        def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            pair = [
                value if kind == _VECTOR else _emit_broadcast(builder, value)
                for value, kind in zip(arguments, signature.args, strict=True)
            ]
            return getattr(builder, instruction)(*pair)

        return _VECTOR(left, right), build

    @overload(function, inline="always", strict=False)
    def typed(left: Any, right: Any) -> Callable[..., Any] | None:
        kinds = (left, right)
        if _VECTOR not in kinds or any(kind not in (_VECTOR, types.float32) for kind in kinds):
            return None
        return lambda left, right: combine(left, right)


for _function, _instruction in (
    (operator.add, "fadd"),
    (operator.sub, "fsub"),
    (operator.mul, "fmul"),
    (operator.truediv, "fdiv"),
):
    _register_operator(_function, _instruction)


# A Gaussian's features are a tuple of vectors, which stays in registers for any number of them, without a loop.


def _unpack_vectors(builder: Any, values: Any) -> list[Any]:
    return [builder.extract_value(values, k) for k in range(values.type.count)]


@_define_literal_intrinsic
def broadcast_each(typing_context: Any, array: Any, index: Any, count: Any) -> Any:
    """Return a tuple of `count` (a compile-time constant) vectors: array[index + k] in every lane."""

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer = _emit_pointer(context, builder, array, arguments, ir.FloatType())
        vectors = [
            _emit_broadcast(builder, builder.load(builder.gep(pointer, [ir.Constant(_IR_INDEX, k)])))
            for k in range(count.literal_value)
        ]
        return context.make_tuple(builder, signature.return_type, vectors)

    if not _is_float32_buffer(array) or not isinstance(count, types.IntegerLiteral):
        return None
    return _TupleType(_VECTOR, count.literal_value)(array, types.intp, count), build


@_define_literal_intrinsic
def zero_vectors(typing_context: Any, count: Any) -> Any:
    """Return a tuple of `count` (a compile-time constant) vectors of zeros."""

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        zero = ir.Constant(_IR_VECTOR, [0.0] * LANES)
        return context.make_tuple(builder, signature.return_type, [zero] * count.literal_value)

    return (_TupleType(_VECTOR, count.literal_value)(count), build)


@_define_intrinsic
def accumulate_scaled(typing_context: Any, array: Any, index: Any, weight: Any, vectors: Any) -> Any:
    """Add to memory: array[index + LANES·k :] += weight · vectors[k], for every k."""

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer = _emit_pointer(context, builder, array, arguments, _IR_VECTOR)
        for k, vector in enumerate(_unpack_vectors(builder, arguments[3])):
            address = builder.gep(pointer, [ir.Constant(_IR_INDEX, k)])
            product = builder.fmul(arguments[2], vector)
            builder.store(builder.fadd(builder.load(address, align=4), product), address, align=4)
        return context.get_dummy_value()

    return types.none(array, types.intp, _VECTOR, vectors), build


@_define_intrinsic
def dot_vectors(typing_context: Any, array: Any, index: Any, vectors: Any) -> Any:
    """Return Σ over k of array[index + LANES·k :] · vectors[k]."""

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer = _emit_pointer(context, builder, array, arguments, _IR_VECTOR)
        result = ir.Constant(_IR_VECTOR, [0.0] * LANES)
        for k, vector in enumerate(_unpack_vectors(builder, arguments[2])):
            value = builder.load(builder.gep(pointer, [ir.Constant(_IR_INDEX, k)]), align=4)
            result = builder.fadd(result, builder.fmul(value, vector))
        return result

    return _VECTOR(array, types.intp, vectors), build


@_define_intrinsic
def multiply_add(typing_context: Any, vectors: Any, weight: Any, array: Any, index: Any) -> Any:
    """Return the tuple of vectors[k] + weight · array[index + LANES·k :]."""

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        values, weight, *rest = arguments
        pointer = _emit_pointer(context, builder, array, rest, _IR_VECTOR)
        sums = []
        for k, vector in enumerate(_unpack_vectors(builder, values)):
            value = builder.load(builder.gep(pointer, [ir.Constant(_IR_INDEX, k)]), align=4)
            sums.append(builder.fadd(vector, builder.fmul(weight, value)))
        return context.make_tuple(builder, signature.return_type, sums)

    return vectors(vectors, _VECTOR, array, types.intp), build


@_define_intrinsic
def store_lane_sums(typing_context: Any, array: Any, index: Any, vectors: Any) -> Any:
    """Store array[index + k] = the sum of the lanes of vectors[k], for every k, and 0 up to a multiple of LANES."""

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer = _emit_pointer(context, builder, array, arguments, _IR_VECTOR)
        values = _unpack_vectors(builder, arguments[2])
        values += [ir.Constant(_IR_VECTOR, [0.0] * LANES)] * (-len(values) % LANES)
        for group in range(len(values) // LANES):
            totals = _emit_lane_sums(builder, values[group * LANES : (group + 1) * LANES])
            builder.store(totals, builder.gep(pointer, [ir.Constant(_IR_INDEX, group)]), align=4)
        return context.get_dummy_value()

    return types.none(array, types.intp, vectors), build


# The pairs of lanes that each step of `_emit_lane_sums` adds: lane k of the sum is lane first[k] plus lane second[k] of
# a followed by b. All but the first step stay within a 128-bit half, where processors shuffle fastest.
_REDUCTION_SHUFFLES = (
    ([0, 1, 2, 3, 8, 9, 10, 11], [4, 5, 6, 7, 12, 13, 14, 15]),
    ([0, 1, 8, 9, 4, 5, 12, 13], [2, 3, 10, 11, 6, 7, 14, 15]),
    ([0, 2, 8, 10, 4, 6, 12, 14], [1, 3, 9, 11, 5, 7, 13, 15]),
)
_REDUCTION_INPUT_ORDER = (0, 4, 1, 5, 2, 6, 3, 7)  # the order of the inputs that brings total k to lane k


def _emit_lane_sums(builder: Any, vectors: list[Any]) -> Any:
    """Return IR for a vector whose lane k is the sum of vectors[k], with a third of the work of separate sums."""
    vectors = [vectors[k] for k in _REDUCTION_INPUT_ORDER]
    for masks in _REDUCTION_SHUFFLES:
        first, second = (ir.Constant(ir.VectorType(_IR_INDEX, LANES), mask) for mask in masks)
        vectors = [
            builder.fadd(builder.shuffle_vector(a, b, first), builder.shuffle_vector(a, b, second))
            for a, b in zip(vectors[::2], vectors[1::2], strict=True)
        ]
    return vectors[0]
