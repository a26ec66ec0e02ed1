"""Techniques as MethodSCRIPT, word for word."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.methodscript import script
from drivers.methodscript.models import MODELS
from drivers.methodscript.script import si

HR = MODELS["emstat4_hr"]
PREFIX = {"M": 6, "k": 3, "": 0, "m": -3, "u": -6, "n": -9, "p": -12, "f": -15, "a": -18}


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.1, "100m"),
        (4.2, "4200m"),
        (10, "10"),
        (-0.0015, "-1500u"),
        (200e3, "200k"),
        (0, "0"),
        (3600, "3600"),
        (1e-9, "1n"),
        (4.123456, "4123456u"),
        (360000.0, "360k"),
    ],
)
def test_numbers_are_integers_with_a_prefix(value: float, text: str) -> None:
    assert si(value) == text


@given(st.floats(min_value=1e-11, max_value=1e6) | st.floats(min_value=-1e6, max_value=-1e-11))
def test_numbers_keep_seven_digits_and_fit_32_bits(value: float) -> None:
    text = si(value)
    digits = text.rstrip("Mkmunpfa")
    assert abs(int(digits)) < 2**31
    assert float(f"{digits}e{PREFIX[text[len(digits) :]]}") == pytest.approx(value, rel=1e-6)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e-20])
def test_what_cannot_be_written_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match="cannot be written"):
        si(value)


def golden(text: str) -> str:
    return "e\n" + "".join(f"{line.strip()}\n" for line in text.strip().splitlines()) + "\n"


def test_open_circuit() -> None:
    assert script.open_circuit(HR, 600, 1) == golden("""
        var t
        var p
        set_pgstat_chan 0
        set_pgstat_mode 3
        set_max_bandwidth 5850m
        set_range ab 6
        set_autoranging ab 6 6
        cell_off
        timer_start
        meas_loop_ocp p 1 600
        timer_get t
        pck_start
        pck_add t
        pck_add p
        pck_end
        endloop
        on_finished:
        cell_off
    """)


def test_constant_current_ends_at_its_potentials() -> None:
    assert script.constant_current(HR, -0.0015, 7200, 10, 2.5, 4.25) == golden("""
        var t
        var p
        var c
        set_pgstat_chan 0
        set_pgstat_mode 6
        set_max_bandwidth 585m
        set_range ab 6
        set_autoranging ab 6 6
        set_range db 1500u
        set_autoranging db 1500u 1500u
        set_i 0
        cell_on
        timer_start
        meas_loop_cp p c -1500u 10 7200
        timer_get t
        pck_start
        pck_add t
        pck_add p
        pck_add c
        pck_end
        if p >= 4250m
        breakloop
        endif
        if p <= 2500m
        breakloop
        endif
        endloop
        on_finished:
        cell_off
    """)


def test_constant_voltage_ends_at_a_small_current_of_either_sign() -> None:
    assert script.constant_voltage(HR, 4.2, 1800, 1, 50e-6, 0.2) == golden("""
        var t
        var p
        var c
        set_pgstat_chan 0
        set_pgstat_mode 3
        set_max_bandwidth 5850m
        set_range_minmax da 4200m 4200m
        set_range ba 200m
        set_autoranging ba 100n 200m
        set_e 4200m
        cell_on
        timer_start
        meas_loop_ca p c 4200m 1 1800
        timer_get t
        pck_start
        pck_add t
        pck_add p
        pck_add c
        pck_end
        if c <= 50u
        if c >= -50u
        breakloop
        endif
        endif
        endloop
        on_finished:
        cell_off
    """)


def test_all_cycles_are_one_script() -> None:
    galvanostat = """
        set_pgstat_mode 6
        set_max_bandwidth 585m
        set_range ab 6
        set_autoranging ab 6 6
        set_range db 1m
        set_autoranging db 1m 1m
        set_i 0
        cell_on
    """.strip()
    package = """
        timer_get t
        pck_start
        pck_add t
        pck_add p
        pck_add c
        pck_add n
        pck_add s
        pck_end
    """.strip()
    rest = f"""
        set_pgstat_mode 3
        set_max_bandwidth 585m
        set_range ab 6
        set_autoranging ab 6 6
        cell_off
        meas_loop_ocp p 10 60
        {package}
        endloop
    """.strip()
    assert script.cycle(HR, 1e-3, 2.8, 4.2, 3, 50e-6, 60, 10, 36000) == golden(f"""
        var t
        var p
        var c
        var n
        var s
        store_var c 0 ba
        store_var n 1i ee
        set_pgstat_chan 0
        timer_start
        loop n <= 3i
        store_var s 1i ee
        {galvanostat}
        meas_loop_cp p c 1m 10 36k
        {package}
        if p >= 4200m
        breakloop
        endif
        endloop
        cell_off
        store_var s 2i ee
        set_pgstat_mode 3
        set_max_bandwidth 585m
        set_range_minmax da 4200m 4200m
        set_range ba 1m
        set_autoranging ba 100n 1m
        set_e 4200m
        cell_on
        meas_loop_ca p c 4200m 10 36k
        {package}
        if c <= 50u
        if c >= -50u
        breakloop
        endif
        endif
        endloop
        cell_off
        store_var s 3i ee
        {rest}
        store_var s 4i ee
        {galvanostat}
        meas_loop_cp p c -1m 10 36k
        {package}
        if p <= 2800m
        breakloop
        endif
        endloop
        cell_off
        store_var s 5i ee
        {rest}
        add_var n 1i
        endloop
        on_finished:
        cell_off
    """)


def test_a_sweep() -> None:
    text = script.cyclic_voltammetry(HR, 0, 0.5, -0.5, 0.01, 0.1, 3, 2e-3)
    assert "set_range_minmax da -500m 500m\n" in text
    assert "meas_loop_cv p c 0 500m -500m 10m 100m nscans(3)\n" in text
    assert "nscans" not in script.cyclic_voltammetry(HR, 0, 0.5, -0.5, 0.01, 0.1, 1, 2e-3)


def test_impedance_at_open_circuit_takes_the_potential_measured_just_before() -> None:
    text = script.impedance(HR, 100e3, 0.1, 61, 0.01, None, 0.2)
    lines = text.splitlines()
    assert lines.index("cell_off") < lines.index("meas_loop_ocp p 100m 500m") < lines.index("set_e p")
    assert "meas_loop_eis f r j 10m 100k 100m 61i p" in lines


def test_impedance_at_a_given_potential() -> None:
    text = script.impedance(HR, 100e3, 0.1, 61, 0.01, 3.7, 0.2)
    assert "meas_loop_ocp" not in text
    assert "set_range_minmax da 3690m 3710m\n" in text
    assert "meas_loop_eis f r j 10m 100k 100m 61i 3700m\n" in text


def test_every_script_switches_the_cell_off_and_fits_the_instruments_lines() -> None:
    scripts = [
        script.open_circuit(HR, 86399.999, 0.123456),
        script.constant_current(HR, 1.234567e-4, 86399.99, 0.123456, -1.234567, 4.234567),
        script.cycle(HR, 1.234567e-4, -1.234567, 4.234567, 10000, 1.234567e-9, 12.34567, 1.234567, 359999.9),
        script.cyclic_voltammetry(HR, -1.234567, 4.234567, -2.234567, 0.001234567, 1.234567e-6, 1000, 0.2),
        script.impedance(HR, 199999.9, 1.234567e-5, 1021, 0.001234567, None, 0.2),
        script.glance(HR),
    ]
    for text in scripts:
        assert text.endswith("on_finished:\ncell_off\n\n")
        assert all(len(line) < 127 for line in text.splitlines())
    with pytest.raises(ValueError, match="longer than the instrument reads"):
        script.script(["x" * 127])
