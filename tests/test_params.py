"""Profiles and parameters: what is unknown is named, with the nearest known one."""

import json

import pytest

from lib import params
from lib.errors import MissingDataError, ParameterError


@pytest.fixture
def notebook(tmp_path):
    """A notebook with two parameters."""
    cells = [
        {
            "cell_type": "code",
            "metadata": {"tags": ["parameters"]},
            "outputs": [],
            "execution_count": None,
            "source": ["profile = 'quick'  # comment\n", "n_sentences = 40\n", "speed = 1.0\n"],
        }
    ]
    path = tmp_path / "notebooks" / "01_demo.ipynb"
    path.parent.mkdir()
    path.write_text(json.dumps({"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}))
    return path


def write(notebook, text):
    folder = notebook.parent.parent / "params" / "quick"
    folder.mkdir(parents=True)
    (folder / "01_demo.yaml").write_text(text)
    return folder.parent


def test_declared_reads_the_parameters_cell(notebook):
    assert params.declared(notebook) == {"profile": "quick", "n_sentences": 40, "speed": 1.0}


def test_load_returns_the_file_and_overrides_win(notebook):
    folder = write(notebook, "n_sentences: 10\nspeed: 2\n")
    assert params.load("quick", notebook, folder, {"n_sentences": 3}) == {"n_sentences": 3, "speed": 2}


def test_unknown_profile_names_the_nearest():
    with pytest.raises(ParameterError, match="unknown profile 'quik': did you mean 'quick'"):
        params.check_profile("quik")


def test_unknown_parameter_names_the_nearest(notebook):
    folder = write(notebook, "n_sentence: 10\n")
    with pytest.raises(
        ParameterError, match="unknown parameter of 01_demo 'n_sentence': did you mean 'n_sentences'"
    ):
        params.load("quick", notebook, folder)


def test_wrong_type_is_named(notebook):
    folder = write(notebook, "n_sentences: forty\n")
    with pytest.raises(ParameterError, match="n_sentences .* is 'forty', it must be a whole number"):
        params.load("quick", notebook, folder)


def test_a_text_may_be_one_of_the_words_that_yaml_takes_for_true_and_false(notebook):
    folder = write(notebook, "profile: off\n")
    assert params.load("quick", notebook, folder) == {"profile": "off"}
    with pytest.raises(ParameterError, match="n_sentences .* is False, it must be a whole number"):
        params.load("quick", notebook, folder, {"n_sentences": False})


@pytest.mark.parametrize(
    "given, message",
    [
        ({"n_sentences": -3}, "parameter n_sentences is -3, it must be at least 1"),
        ({"n_sentences": None}, "parameter n_sentences of .* is None, it must be a whole number"),
        ({"n_sentences": 0}, "parameter n_sentences is 0, it must be at least 1"),
    ],
)
def test_a_number_outside_its_range_is_refused(notebook, given, message):
    """A slice would take -3 for all but the last three."""
    folder = write(notebook, "n_sentences: 10\n")
    with pytest.raises(ParameterError, match=message):
        params.load("quick", notebook, folder, given)


def test_ranges_have_two_ends_and_refuse_what_is_no_number():
    with pytest.raises(ParameterError, match="seed is -1, it must be between 0 and 4.29497e"):
        params.check_range("seed", -1)
    with pytest.raises(ParameterError, match="threads is nan"):
        params.check_range("threads", float("nan"))
    params.check_range("n_second_opinion", 0)  # a zero may leave something out
    params.check_range("profile", "quick")


def test_every_numeric_parameter_of_every_notebook_has_a_range():
    """A new one is declared in `params.RANGES`, and one that is gone leaves it."""
    numeric = {
        name
        for path in params.notebooks()
        for name, value in params.declared(path).items()
        if isinstance(value, (int, float)) and not isinstance(value, bool)
    }
    assert numeric == params.RANGES.keys()


def test_missing_file_says_where_it_should_be(notebook, tmp_path):
    with pytest.raises(MissingDataError, match=r"no parameters at .*quick/01_demo.yaml"):
        params.load("quick", notebook, tmp_path)


def test_broken_yaml_is_named(notebook):
    with pytest.raises(ParameterError, match="01_demo.yaml is not valid YAML"):
        params.load("quick", notebook, write(notebook, "a: [1\n"))


def test_unknown_notebook_names_the_nearest(notebook):
    assert params.find_notebook("1", notebook.parent) == notebook
    with pytest.raises(ParameterError, match="unknown notebook '01_dmo': did you mean '01_demo'"):
        params.find_notebook("01_dmo", notebook.parent)


def test_every_notebook_has_valid_parameters_in_every_profile():
    for path in params.notebooks():
        assert "profile" in params.declared(path), path
        for profile in params.PROFILES:
            assert params.load(profile, path)["profile"] == profile, f"{profile}/{path.stem}"


@pytest.mark.parametrize("notebook", params.notebooks(), ids=lambda path: path.stem)
def test_a_notebook_opened_by_hand_does_what_quick_does(notebook):
    declared = params.declared(notebook)
    assert {**declared, **params.load("quick", notebook)} == declared
