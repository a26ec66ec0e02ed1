"""Impedance spectra: the test of Kramers and Kronig, and the fit of an equivalent circuit, by the package `impedance`.

The test is lin-KK (Schönleber et al., Electrochim. Acta 131 (2014) 20): a chain of RC elements, which obeys Kramers and
Kronig whatever its values, is fitted to the real part; what is left of the spectrum then breaks them. It is done with
and without a series capacitance, with one to five elements a decade, and what fits best counts.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from labd.records.analysis.cycling import AnalysisError

LEAST = 8  # points
VALID, DOUBTFUL = 0.01, 0.03  # root mean square of the residuals, of |Z|: up to here
A_DECADE = 5  # RC elements a decade of frequency at most: more follow the noise
CIRCUITS = ("R0", "R0-p(R1,CPE1)", "R0-p(R1,CPE1)-CPE2", "R0-p(R1,CPE1)-p(R2,CPE2)-CPE3")
GAIN = 0.9  # a circuit with more elements must bring the error below this share of the simpler one's
ENOUGH = 0.002  # of |Z|; less than that hardly any instrument tells: no more elements are tried
_FIT: dict[str, Any] = {"x_scale": "jac", "ftol": 1e-8, "xtol": 1e-8, "maxfev": 300}  # sizes from 1e-6 to 1e3
Verdict = Literal["valid", "doubtful", "invalid", "too few points"]


@dataclass(frozen=True, slots=True)
class KramersKronig:
    """What lin-KK says: `rms` and `worst` residual as shares of |Z|, with so many RC elements (0: not tried)."""

    verdict: Verdict
    rms: float | None = None
    worst: float | None = None
    elements: int = 0
    capacitance: bool = False


@dataclass(frozen=True, slots=True)
class Spectrum:
    """A spectrum as it was understood.

    Args:
        test: of Kramers and Kronig.
        r_ohmic: Ω, where the fitted circuit has its series resistance. None without a fit.
        r_polarisation: Ω; the sum of the fitted arcs' resistances. None where there is no arc.
        r_crossing: Ω; Re(Z) where Im(Z) crosses zero, or None: it does not.
        circuit, parameters, errors: of the fit, by name, the errors as standard deviations; R in Ω, a CPE's size in
            S·s^α and its α. An error that the fit cannot tell is not there.
        residual: root mean square of the fit's residuals, a share of |Z|.
        fitted: Re and Im of the fit at the frequencies that were measured.
        problem: why there is no fit (none is made of what breaks Kramers and Kronig); empty where there is one.
    """

    test: KramersKronig
    r_ohmic: float | None = None
    r_polarisation: float | None = None
    r_crossing: float | None = None
    circuit: str | None = None
    parameters: dict[str, float] = field(default_factory=dict)
    errors: dict[str, float] = field(default_factory=dict)
    residual: float | None = None
    fitted: tuple[list[float], list[float]] | None = None
    problem: str = ""

    def told(self) -> dict[str, Any]:
        return asdict(self)


def spectrum(frequency: Sequence[float], z_real: Sequence[float], z_imag: Sequence[float]) -> Spectrum:
    """Tests and fits one spectrum.

    Args:
        frequency: Hz. Rows with an unknown value are left out.
        z_real: Re(Z), Ω.
        z_imag: Im(Z), Ω; negative for a capacitance.

    Raises:
        AnalysisError: the package `impedance` is missing.
    """
    import numpy as np

    told = np.array([frequency, z_real, z_imag], dtype=float)
    told = told[:, np.isfinite(told).all(axis=0) & (told[0] > 0) & (np.hypot(told[1], told[2]) > 0)]
    f, z = told[0], told[1] + 1j * told[2]
    if len(f) < LEAST:
        return Spectrum(KramersKronig("too few points"), problem=f"{len(f)} points; a fit takes {LEAST}")
    test = kramers_kronig(f, z)
    crossing = _crossing(f, z)
    if test.verdict == "invalid":
        return Spectrum(
            test, r_crossing=crossing, problem=f"it breaks Kramers and Kronig: {test.rms:.1%} of |Z| are left"
        )
    fits = z.imag <= 0
    if fits.sum() < LEAST:  # nothing but a resistance, or a cable
        fits[:] = True
    fit = _best(f[fits], z[fits])
    if fit is None:
        return Spectrum(test, r_crossing=crossing, problem="no circuit could be fitted to it")
    circuit, names, values, errors, residual = fit
    parameters = dict(zip(names, values, strict=True))
    arcs = [value for name, value in parameters.items() if name in ("R1", "R2")]
    curve = _predict(circuit, values, f)
    return Spectrum(
        test,
        parameters["R0"],
        sum(arcs) if arcs else None,
        crossing,
        circuit,
        parameters,
        {name: error for name, error in zip(names, errors, strict=True) if math.isfinite(error)},
        residual,
        (curve.real.tolist(), curve.imag.tolist()),
    )


def kramers_kronig(f: Any, z: Any) -> KramersKronig:
    """The verdict on a spectrum: frequencies (Hz) and complex impedances (Ω) as numpy arrays."""
    import numpy as np

    validation = _package("impedance.validation")
    # The package writes numbers into texts that it reads back, as numpy 1 wrote them; and where a resistance alone has
    # no elements to weigh against each other it divides by zero.
    with np.errstate(all="ignore"), np.printoptions(legacy="1.25"):
        found = [_chain(validation, f, z, capacitance=capacitance) for capacitance in (False, True)]
    rms, worst, count, capacitance = min(found)
    verdict: Verdict = "valid" if rms <= VALID else "doubtful" if rms <= DOUBTFUL else "invalid"
    return KramersKronig(verdict, rms, worst, count, capacitance)


def _chain(validation: Any, f: Any, z: Any, *, capacitance: bool) -> tuple[float, float, int, bool]:
    """The residuals of the chain that fits best: their rms and worst, its length, and how it was done."""
    import numpy as np

    decades = max(3, math.ceil(math.log10(f.max() / f.min())))
    found = []
    for count in range(decades, max(decades + 1, min(A_DECADE * decades + 1, len(f) - 3)), decades):
        times = validation.get_tc_distribution(f, count)
        elements, _ = validation.fit_linKK(f, times, count, z, "real", capacitance)
        left = np.abs(z - validation.eval_linKK(elements, times, f)) / np.abs(z)
        found.append((float(np.sqrt(np.mean(left**2))), float(left.max()), count, capacitance))
    return min(found)


def _crossing(f: Any, z: Any) -> float | None:
    """Re(Z) where Im(Z) goes from inductive to capacitive, from the highest frequency on; None where it does not."""
    order = f.argsort()[::-1]
    real, imag = z.real[order], z.imag[order]
    for index in range(len(imag) - 1):
        if imag[index] >= 0 > imag[index + 1]:
            share = imag[index] / (imag[index] - imag[index + 1])
            return float(real[index] + share * (real[index + 1] - real[index]))
    return None


def _best(f: Any, z: Any) -> tuple[str, list[str], list[float], list[float], float] | None:
    """The simplest circuit beyond which more elements gain little: its name, parameters, their errors, its residual."""
    best: tuple[str, list[str], list[float], list[float], float] | None = None
    for circuit in CIRCUITS:
        guess = _guess(circuit, f, z)
        if len(guess) > len(f) - 2 or (best is not None and best[4] < ENOUGH):
            break
        fit = _fit(circuit, guess, f, z)
        if fit is not None and (best is None or fit[4] < GAIN * best[4]):
            best = fit
    return best


def _guess(circuit: str, f: Any, z: Any) -> list[float]:
    """Where a fit starts: arcs that share the spectrum's width, at its highest and lowest time constants."""
    import numpy as np

    start, width = float(max(z.real.min(), 1e-6)), float(max(np.ptp(z.real), 1e-3 * np.abs(z).max(), 1e-6))
    arcs = circuit.count("p(")
    found = [start]
    logs = np.log10(f.max()), np.log10(f.min())
    for arc in range(arcs):
        at = 10 ** (logs[0] + (arc + 1) / (arcs + 2) * (logs[1] - logs[0]))
        resistance = width / (2 * arcs)
        found += [resistance, float(min(1.0, 1 / (2 * np.pi * at * resistance))), 0.85]
    if circuit.rpartition("-")[2].startswith("CPE"):
        lowest = z[f.argmin()]
        found += [float(1 / max(abs(lowest.imag), 1e-9) / np.sqrt(2 * np.pi * f.min())), 0.5]
    return found


def _fit(
    circuit: str, guess: list[float], f: Any, z: Any
) -> tuple[str, list[str], list[float], list[float], float] | None:
    import numpy as np

    fitting = _package("impedance.models.circuits.fitting")
    if circuit == "R0":
        value = float(z.real.mean())
        spread = float(z.real.std() / np.sqrt(len(z)))
        return circuit, ["R0"], [value], [spread], float(np.sqrt(np.mean(np.abs((z - value) / np.abs(z)) ** 2)))
    try:
        with warnings.catch_warnings(), np.printoptions(legacy="1.25"):
            warnings.simplefilter("ignore")  # of a covariance that cannot be told: its errors are then infinite
            values, errors = fitting.circuit_fit(f, z, circuit, guess, weight_by_modulus=True, **_FIT)
    except (RuntimeError, ValueError):  # it does not converge
        return None
    left = (z - _predict(circuit, values, f)) / np.abs(z)
    names = _names(circuit)
    told = [float(value) for value in values]
    return circuit, names, told, [float(error) for error in errors], float(np.sqrt(np.mean(np.abs(left) ** 2)))


def _names(circuit: str) -> list[str]:
    found: list[str] = []
    for element in circuit.replace("p(", "").replace(")", "").replace(",", "-").split("-"):
        found += [f"{element}_0", f"{element}_1"] if element.startswith("CPE") else [element]
    return found


def _predict(circuit: str, values: Sequence[float], f: Any) -> Any:
    import numpy as np

    omega = 2j * np.pi * f
    rest = list(values)
    total = np.zeros(len(f), dtype=complex)
    for part in circuit.split("-"):
        if part.startswith("R"):
            total = total + rest.pop(0)
        elif part.startswith("CPE"):
            total = total + 1 / (rest.pop(0) * omega ** rest.pop(0))
        else:
            resistance, size, power = rest.pop(0), rest.pop(0), rest.pop(0)
            total = total + 1 / (1 / resistance + size * omega**power)
    return total


def _package(name: str) -> Any:
    from importlib import import_module

    try:
        return import_module(name)
    except ImportError as error:
        raise AnalysisError("spectra are fitted with the package impedance: pip install 'labd[data]'") from error
