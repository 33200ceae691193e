import pytest

from zoo.registry import Registry
from zoo.ui.sweep import expand


@pytest.fixture(scope="module")
def registry() -> Registry:
    return Registry(safe_mode=True)


def lines(line: str, registry: Registry, swap: bool = False) -> list[tuple[str, int, int]]:
    return [(str(spot.method), spot.row, spot.column) for spot in expand(line, registry, swap).spots]


def test_a_line_without_lists_stands_for_itself(registry):
    assert lines("ddim steps=20 | cfg scale=3", registry) == [("ddim steps=20 | cfg scale=3", 0, 0)]


def test_the_first_list_runs_across_and_the_second_down(registry):
    assert lines("ddim steps=5,10 eta=0,1", registry) == [
        ("ddim steps=5 eta=0", 0, 0),
        ("ddim steps=10 eta=0", 0, 1),
        ("ddim steps=5 eta=1", 1, 0),
        ("ddim steps=10 eta=1", 1, 1),
    ]


def test_rows_and_columns_can_be_swapped(registry):
    one, other = lines("ddim steps=5,10 eta=0,1", registry), lines("ddim steps=5,10 eta=0,1", registry, True)
    assert {(line, column, row) for line, row, column in other} == set(one)
    assert {row for _, row, _ in lines("ddim steps=5,10", registry, True)} == {0, 1}


def test_a_range_holds_both_ends_in_plain_decimals(registry):
    grid = expand("ddim eta=0..1..0.1 | cfg scale=1..3", registry)
    assert grid.columns.values == (
        "0.0",
        "0.1",
        "0.2",
        "0.3",
        "0.4",
        "0.5",
        "0.6",
        "0.7",
        "0.8",
        "0.9",
        "1.0",
    )
    assert (grid.rows.part, grid.rows.title, grid.rows.values) == (1, "Guidance scale", ("1", "2", "3"))


def test_choices_can_be_listed_and_texts_keep_their_commas(registry):
    assert len(lines("ddim spacing=trailing,leading", registry)) == 2
    assert len(lines("""diffusers/DDIMScheduler config='{"a": 1, "b": 2}'""", registry)) == 1


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("ddim steps=5,10 eta=0,1 | cfg scale=1,2", "two axes"),
        ("ddim steps=5,,10", "first..last..step"),
        ("ddim steps=5..", "first..last..step"),
        ("ddim steps=5,5", "stands there twice"),
        ("ddim steps=9..1", "ascends"),
        ("ddim eta=0..1..0", "above 0"),
        ("ddim steps=1..1000", "at most 24"),
        ("ddim eta=0..1..0.000000000001", "at most 24"),
        ("nope steps=1,2", "no sampler 'nope'"),
    ],
)
def test_what_is_no_grid_is_refused_in_words(registry, line, message):
    with pytest.raises(ValueError, match=message):
        expand(line, registry)
