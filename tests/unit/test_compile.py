"""The internals of numba that the kernels rely on: each test fails when one of them stops working."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numba.core.errors import TypingError

from engine.kernels import compile as compiling
from engine.kernels.arithmetic import muldiv, muldiv_ceil, muldiv_floor, multiply_wrapping
from engine.kernels.compile import inner, kernel


@kernel
def _quotient(a: int, b: int, c: int) -> int:
    return muldiv(a, b, c)


@kernel
def _quotient_up(a: int, b: int, c: int) -> int:
    return muldiv_ceil(a, b, c)


@kernel
def _quotient_down(a: int, b: int, c: int) -> int:
    return muldiv_floor(a, b, c)


@pytest.fixture
def uncached(monkeypatch: pytest.MonkeyPatch) -> None:
    """What comes from the cache cannot be inspected."""
    monkeypatch.setattr(compiling, "CACHE_FOLDER", None)


@pytest.mark.usefixtures("uncached")
def test_reference_counting_is_out_of_the_kernels() -> None:
    def first(values: Any) -> Any:
        return values[0]

    compiled: Any = kernel(first)
    assert compiled(np.arange(3)) == 0
    code = "".join(compiled.inspect_llvm().values())
    assert "define" in code
    assert "NRT_incref" not in code
    assert "NRT_decref" not in code


@pytest.mark.usefixtures("uncached")
def test_a_kernel_that_allocates_does_not_compile() -> None:
    def allocates(count: int) -> int:
        return len(np.zeros(count))

    with pytest.raises(TypingError, match="empty"):
        kernel(allocates)(3)


@pytest.mark.usefixtures("uncached")
def test_a_literal_does_not_make_a_function_of_its_own() -> None:
    def scaled(value: int, factor: int) -> int:
        return value * factor

    compiled: Any = inner(scaled)

    def thrice(value: int) -> Any:
        return compiled(value, 2) + compiled(value, 3) + compiled(value, 5)

    assert kernel(thrice)(7) == 70
    assert len(compiled.signatures) == 1


def test_an_inner_function_is_not_called_from_python() -> None:
    """It has no way in: where numba's own object of it is called, the process ends."""
    with pytest.raises(TypeError, match="muldiv is for compiled code"):
        muldiv(1, 2, 3)


def test_machine_code_comes_from_the_cache_without_the_registries() -> None:
    """A second process takes the kernel from the cache and never imports what only compiling needs."""
    if compiling.CACHE_FOLDER is None:
        pytest.skip("no folder for the cache here")
    code = (
        "import sys, numpy\n"
        "from engine.indicators import compute\n"
        "compute('ema', (3,), (numpy.arange(9.0),))\n"
        "print('numba.np.linalg' in sys.modules)\n"
    )
    root = Path(__file__).parents[2]
    command = [sys.executable, "-c", code]
    runs = [subprocess.run(command, cwd=root, capture_output=True, text=True, check=True) for _ in range(2)]
    assert runs[1].stdout.strip() == "False"


def test_the_cache_folder_follows_the_sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / "kernels"
    source.mkdir()
    (source / "one.py").write_text("A = 1\n")
    monkeypatch.setattr(compiling, "__file__", str(source / "compile.py"))
    before = compiling._digest()
    (source / "one.py").write_text("A = 2\n")
    assert compiling._digest() != before


CASES = [
    # a, b, c: around zero, at ties, beyond 64 bits, beyond 53 bits, negative
    (0, 5, 3), (1, 1, 2), (3, 1, 2), (5, 1, 2), (-1, 1, 2), (-3, 1, 2), (7, 7, 10),
    (4_600_000_000_000, 400_000_000, 10**12), (2**62, 3, 4), (2**62 - 1, 2**61, 2**62), (2**60, 2**60, 2**59 + 1),
    (10**18, 10**12, 10**12), (-(10**18), 999_999_999_999, 10**12), (2**40 + 1, 2**50, 2**50),
    (9_007_199_254_740_993, 3, 2),
]  # fmt: skip


def _exact_half_even(a: int, b: int, c: int) -> int:
    """Python's own integers: the quotient rounded half to even."""
    quotient, remainder = divmod(abs(a * b), c)
    if 2 * remainder > c or (2 * remainder == c and quotient % 2):
        quotient += 1
    return -quotient if a * b < 0 else quotient


@pytest.mark.parametrize(("a", "b", "c"), CASES)
def test_products_of_128_bits_divide_exactly(a: int, b: int, c: int) -> None:
    assert _quotient(a, b, c) == _exact_half_even(a, b, c)
    if a >= 0:
        assert _quotient_up(a, b, c) == -(-a * b // c)
        assert _quotient_down(a, b, c) == a * b // c


def test_products_of_128_bits_divide_exactly_at_random() -> None:
    draw = np.random.Generator(np.random.Philox(7))
    for bits in (8, 20, 33, 45, 55, 61):
        for a, b, c in draw.integers(1, 2**bits, (400, 3)).tolist():
            if a * b // c < 2**62:
                assert _quotient(a, -b, c) == _exact_half_even(a, -b, c)
                assert _quotient_up(a, b, c) == -(-a * b // c)


@pytest.mark.usefixtures("uncached")
def test_a_helper_that_brings_many_together_is_left_to_its_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    """With no function allowed the helper is linked as it is; with many it is optimised first. The kernel always is."""
    optimised: list[str] = []
    whole = compiling._optimize_whole
    monkeypatch.setattr(compiling, "_optimize_whole", lambda library: (optimised.append(library.name), whole(library)))

    def compile_with(most: int) -> list[str]:
        def addition(value: int) -> int:
            return value + 1

        compiled_addition = inner(addition)

        def outermost(value: int) -> int:
            return compiled_addition(value)

        optimised.clear()
        monkeypatch.setattr(compiling, "_FUNCTIONS_OPTIMISED_MOST", most)
        assert kernel(outermost)(3) == 4
        return [word for word in ("addition", "outermost") if any(word in name for name in optimised)]

    assert compile_with(0) == ["outermost"]
    assert compile_with(100) == ["addition", "outermost"]


@kernel
def _product_behind_a_sign(value: int) -> int:
    """A product that wraps, where the compiler knows its factor to be positive and believes that nothing overflows."""
    if value > 0:
        mixed = multiply_wrapping(2 * value + 1, 0x9E3779B97F4A7C15 - 2**64)
        return (mixed ^ (mixed >> 29)) & 0xFFF
    return -1


def test_products_that_wrap_do_so_whatever_the_compiler_knows() -> None:
    """The price that once hashed to nothing, and others; expected from Python's unbounded integers."""
    for value in (1, 7, 1_000_100, 616_597, 2**40):
        mixed = (2 * value + 1) * 0x9E3779B97F4A7C15 & (2**64 - 1)
        signed = mixed - 2**64 if mixed >= 2**63 else mixed
        assert _product_behind_a_sign(value) == (signed ^ (signed >> 29)) & 0xFFF
