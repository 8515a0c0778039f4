"""Scales of charts."""

from __future__ import annotations

import math

import pytest

from harness.report.page.svg.scales import Scale, fit, tick_text


@pytest.mark.parametrize("low", [-3.7, 0.0, 0.013, 98.2, 1e6])
@pytest.mark.parametrize("width", [1e-3, 0.7, 4.0, 100.0, 12345.0])
def test_ticks_are_round_few_and_within_the_ends(low: float, width: float) -> None:
    ticks = Scale(low, low + width).ticks(6)
    assert 2 <= len(ticks) <= 6
    assert all(low <= tick <= low + width for tick in ticks)
    step = ticks[1] - ticks[0]
    mantissa = step / 10 ** math.floor(math.log10(step) + 1e-9)
    assert min(abs(mantissa - nice) for nice in (1, 2, 5, 10)) < 1e-3


@pytest.mark.parametrize("values", [[], [math.nan], [math.inf, 2.0], [5.0], [5.0, 5.0], [0.0], [-1.0, -1.0]])
@pytest.mark.parametrize("kind", ["linear", "log", "logit"])
def test_degenerate_values_have_a_scale_too(values: list[float], kind: str) -> None:
    scale = fit(values, kind).between(10, 20)  # type: ignore[arg-type]
    assert scale.low < scale.high
    assert all(10 <= scale(v) <= 20 for v in values if math.isfinite(v))
    assert all(scale.low <= tick <= scale.high for tick in scale.ticks())


def test_equal_values_lie_in_the_middle() -> None:
    assert fit([7.0, 7.0]).between(0, 100)(7.0) == pytest.approx(50)


def test_limits_are_kept_although_there_is_room_at_the_ends() -> None:
    scale = fit([0.0, 100.0], least=0.0, most=100.0)
    assert (scale.low, scale.high) == (0.0, 100.0)


def test_a_logarithmic_scale_has_a_place_for_zero_and_keeps_ratios() -> None:
    scale = Scale(0, 999, 0, 3, kind="log")
    assert [scale(v) for v in (0, 9, 99, 999)] == pytest.approx([0, 1, 2, 3])
    assert scale.ticks(5)[0] == 0
    assert len(scale.ticks(5)) <= 5


def test_a_logit_scale_is_symmetric_and_finite_at_its_ends() -> None:
    scale = Scale(1, 99, 0, 1, kind="logit")
    assert scale(50) == pytest.approx(0.5)
    assert scale(90) - scale(50) == pytest.approx(scale(50) - scale(10))
    assert (scale(0), scale(100)) == (0, 1)


def test_ticks_are_written_with_equally_many_decimals() -> None:
    assert tick_text([0.0, 0.5, 1.0]) == ["0.0", "0.5", "1.0"]
    assert tick_text([-20.0, 0.0]) == ["−20", "0"]
    assert tick_text([1000.0]) == ["1,000"]
