"""The sentences every system is judged on reach no training: whatever a recipe asks for, none of the 100 is in its data."""

from types import SimpleNamespace

import pytest

from lib import REPOSITORY
from lib.corpora import flite, gutenberg, prompts, synthetic
from lib.corpora.base import Corpus, Utterance
from lib.training import istft_data, recipe, sources

HELD_OUT = {"".join(c for c in s.text.lower() if c.isalnum()) for s in gutenberg.split("test")}
RECIPES = sorted((REPOSITORY / "params").glob("*/recipes/*.yaml"))


def test_there_are_recipes_and_a_hundred_sentences():
    assert len(HELD_OUT) == 100 and len(RECIPES) >= 4


@pytest.mark.parametrize("path", RECIPES, ids=lambda p: f"{p.parts[-3]}-{p.stem}")
def test_no_recipe_trains_or_validates_on_them(path, monkeypatch):
    asked = []

    def made(voice, sentences, **_):
        sentences = tuple(sentences)
        asked.extend(sentences)
        return Corpus(voice.name, "", "", tuple(Utterance(s.id, s.text, s.text, voice.name, s.split, 22_050, None) for s in sentences))

    monkeypatch.setattr(synthetic, "corpus", made)
    if recipe.load(path).task == "istft":  # whose data may also be recordings and Flite's voices
        monkeypatch.setattr(flite, "corpus", lambda voice, sentences: made(SimpleNamespace(name=voice), sentences))
        monkeypatch.setattr(prompts, "load", lambda: Corpus("prompts", "", "", ()))
        corpus = istft_data.corpus(recipe.parse(istft_data.Data, recipe.load(path).data, "data"))
        assert not {"flite-awb", "espeak-ng"} & set(recipe.load(path).data["voices"])  # on which strange voices are judged
        said = {"".join(c for c in text.lower() if c.isalnum()) for text in [s.text for s in asked] + [u.text for u in corpus.utterances]}
        assert len(said) > 3 and not said & HELD_OUT
        return
    data = sources.Data(**{name: tuple(value) if isinstance(value, list) else value for name, value in recipe.load(path).data.items()})
    if data.corpus:
        pytest.skip(f"{data.corpus} is a public corpus with splits of its own")
    corpus = sources.corpus(data)
    said = {"".join(c for c in text.lower() if c.isalnum()) for text in [s.text for s in asked] + [u.text for u in corpus.utterances]}
    assert len(said) > 3 and not said & HELD_OUT
