"""Series: the arrays of numbers in a document, such as observables along a simulation, and what sums them up.

References
----------
Statistical inefficiency and the error of the mean of correlated data: J. D. Chodera, W. C. Swope,
J. W. Pitera, C. Seok, K. A. Dill, J. Chem. Theory Comput. 3, 26 (2007), https://doi.org/10.1021/ct0502864.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from simarchive.ground.arrays import ArrayLeaf, is_array

if TYPE_CHECKING:
    import numpy as np

MOST_VALUES = 1 << 22
"""A longer series is not summed up: that would take more than a moment, and hundreds of MB."""

_MOST_COLUMNS = 3
_MOST_DEPTH = 8
# Chance alone can make the correlation of the first few steps negative.
_SHORTEST_CORRELATION = 3


@dataclass(frozen=True)
class Series:
    """One array of a document, or one column of it."""

    name: str  #: where it is in the document, ``observables.Density``
    unit: str  #: its long name, or empty
    array: ArrayLeaf  #: shape (n_values,) or (n_values, n_columns), perhaps not loaded
    column: int | None = None
    parent: str = ""  #: what it stands in, ``observables``

    @property
    def short_name(self) -> str:
        """The last part of the name, which may have dots of its own."""
        return self.name[len(self.parent) + 1 :] if self.parent else self.name

    @property
    def n_values(self) -> int:
        """How many values it has."""
        return int(self.array.shape[0])

    def values(self) -> np.ndarray[Any, Any]:
        """Return the values, shape (n_values,), float64; this reads them.

        Raises
        ------
        CorruptError
            If they cannot be read.
        """
        import numpy as np

        values = np.asarray(self.array, dtype=np.float64)
        return values.reshape(-1) if self.column is None else values[:, self.column]


@dataclass(frozen=True)
class Summary:
    """What sums up a series. Values that are no finite numbers are left out, and counted."""

    n_values: int
    n_left_out: int
    mean: float
    error: float  #: standard error of the mean, with the correlation of the values; NaN for fewer than two
    inefficiency: float  #: statistical inefficiency, 1 for values that are not correlated
    lowest: float
    highest: float
    trace: list[float]  #: means of successive parts of the series
    running: list[float]  #: the mean of all values up to the end of each of these parts
    counts: list[int]  #: a histogram between lowest and highest


def series_of(tree: Any) -> Iterator[Series]:
    """Yield the series of a document in its order, of whatever data class; no array is read."""
    yield from _series_in(tree, "", "", 0, "")


def _series_in(value: Any, name: str, unit: str, depth: int, parent: str) -> Iterator[Series]:
    if is_array(value):
        yield from _columns_of(value, name, unit, parent)
    elif isinstance(value, dict) and depth < _MOST_DEPTH:
        fields = value.keys()
        if fields == {"value", "unit"} and isinstance(value["unit"], str):
            yield from _series_in(value["value"], name, value["unit"], depth + 1, parent)
        elif "value" in fields and fields <= {"value", "error", "gradients"}:
            # Gradients are of other things than the observable itself.
            yield from _series_in(value["value"], name, unit, depth + 1, parent)
        else:
            for part, inner in value.items():
                place = f"{name}.{part}" if name else str(part)
                yield from _series_in(inner, place, "", depth + 1, name)


def _columns_of(array: ArrayLeaf, name: str, unit: str, parent: str) -> Iterator[Series]:
    shape = array.shape
    if array.dtype.kind not in "iuf" or not shape or shape[0] < 2:
        return
    if len(shape) == 1 or shape[1:] == (1,):
        yield Series(name, unit, array, parent=parent)
    elif len(shape) == 2 and shape[1] <= _MOST_COLUMNS:
        for column in range(shape[1]):
            yield Series(f"{name}[{column}]", unit, array, column, parent)


def summary_of(series: Series, *, n_points: int, n_bins: int) -> Summary | None:
    """Return what sums up a series; ``None`` if it is too long, or has no finite value.

    Parameters
    ----------
    n_points
        The most points of trace and running mean.
    n_bins
        The most bins of the histogram; few values have fewer.
    """
    import numpy as np

    if series.n_values > MOST_VALUES:
        return None
    values = series.values()
    finite = values[np.isfinite(values)]
    n = len(finite)
    if not n:
        return None
    with np.errstate(all="ignore"):
        inefficiency = _inefficiency(finite)
        error = float(finite.std(ddof=1)) * math.sqrt(inefficiency / n) if n > 1 else math.nan
        lowest, highest = float(finite.min()), float(finite.max())
        ends = np.unique(np.linspace(1, n, min(n_points, n)).astype(int))
        sums = np.cumsum(finite)[ends - 1]
        parts = np.diff(sums, prepend=0.0) / np.diff(ends, prepend=0)
        width = highest - lowest
        counts = [n]
        if width > 0 and math.isfinite(width):
            n_bins = min(n_bins, max(6, round(2 * math.sqrt(n))))
            places = np.minimum(((finite - lowest) / width * n_bins).astype(int), n_bins - 1)
            counts = np.bincount(places, minlength=n_bins).tolist()
        return Summary(
            n_values=len(values),
            n_left_out=len(values) - n,
            mean=float(finite.mean()),
            error=error,
            inefficiency=inefficiency,
            lowest=lowest,
            highest=highest,
            trace=parts.tolist(),
            running=(sums / ends).tolist(),
            counts=counts,
        )


def _inefficiency(values: np.ndarray[Any, Any]) -> float:
    """Return the statistical inefficiency, shape (n,) of finite numbers; at least 1.

    It is 1 + 2 sum (1 - t/n) C(t), up to the first t where the normalised autocorrelation C is not above 0.
    """
    import numpy as np

    n = len(values)
    centred = values - values.mean()
    variance = float(centred @ centred) / n
    if n < 4 or not math.isfinite(variance) or variance <= 0:
        return 1.0
    size = 1 << (2 * n - 1).bit_length()
    spectrum = np.fft.rfft(centred / math.sqrt(variance), size)
    correlation = np.fft.irfft(spectrum * spectrum.conj(), size)[:n] / np.arange(n, 0, -1)
    negative = np.flatnonzero(correlation[_SHORTEST_CORRELATION + 1 :] <= 0)
    end = int(negative[0]) + _SHORTEST_CORRELATION + 1 if len(negative) else n - 1
    steps = np.arange(1, end)
    return max(1.0, float(1 + 2 * np.sum((1 - steps / n) * correlation[1:end])))


def number_text(number: float, error: float | None = None) -> str:
    """Return a number with as many digits as its error has a meaning for: ``-6784.2``, error ``3.1``."""
    if not math.isfinite(number):
        return str(number)
    if error is None or not math.isfinite(error) or error <= 0:
        return f"{number:.6g}"
    decimals = 1 - math.floor(math.log10(error))
    if number and not -4 < math.log10(abs(number)) < 7:
        digits = max(0, math.floor(math.log10(abs(number))) + decimals)
        return f"{number:.{min(digits, 12)}e}"
    return f"{number:.{min(max(decimals, 0), 12)}f}"


def mean_text(summary: Summary, unit: str) -> str:
    """Return a mean with its error and unit in short, ``0.9951 ± 0.0012 g/ml``."""
    text = number_text(summary.mean, summary.error)
    if math.isfinite(summary.error) and summary.error > 0:
        # Both with the same decimals.
        decimals = len(text.partition(".")[2]) if "e" not in text else None
        error = f"{summary.error:.2g}" if decimals is None else f"{summary.error:.{decimals}f}"
        text += f" ± {error}"
    return f"{text} {unit}".rstrip()
