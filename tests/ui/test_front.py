"""The page's script: joined from files that are all there."""

from zoo.ui import front


def test_every_file_is_joined():
    assert {*front.SCRIPTS, *front.STYLES, "welcome.json"} == {path.name for path in front.STATIC.iterdir()}
