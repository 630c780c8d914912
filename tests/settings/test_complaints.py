"""Complaints that several checks have."""

from filterrelay.settings.complaints import no_such, repeated


def test_the_second_of_a_name_is_the_one_too_many() -> None:
    """Its key is named."""
    named = [(("route", 0), "a"), (("route", 1), "b"), (("route", 2), "a")]
    (complaint,) = repeated("route", named)
    assert complaint[0] == ("route", 2, "name")
    assert "another route called 'a'" in complaint[1]


def test_what_there_is_in_place_of_what_there_is_not() -> None:
    """In order, so that it is found."""
    assert no_such("upstream", "x", {"b", "a"}).endswith("there is a, b")
    assert no_such("upstream", "x", set()).endswith("there is none")
