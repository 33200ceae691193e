"""The page's script: joined from files that are all there."""

from zoo.ui import front


def test_every_file_is_joined():
    examples = {"welcome.json", "latents.json"}
    assert {*front.SCRIPTS, *front.STYLES, *examples} == {path.name for path in front.STATIC.iterdir()}
