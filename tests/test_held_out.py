"""The sentences every system is judged on reach no training: whatever a recipe asks for, none of the 100 is in
its data.
"""

from types import SimpleNamespace

import pytest

from lib import REPOSITORY
from lib.corpora import flite, gutenberg, prompts, sentences, synthetic
from lib.corpora.base import Corpus, Utterance
from lib.measure import held_out_voices
from lib.training import recipe, tasks

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
        return Corpus(
            voice.name,
            "",
            "",
            tuple(Utterance(s.id, s.text, s.text, voice.name, s.split, 22_050, None) for s in sentences),
        )

    monkeypatch.setattr(synthetic, "corpus", made)
    monkeypatch.setattr(flite, "corpus", lambda voice, sentences: made(SimpleNamespace(name=voice), sentences))
    monkeypatch.setattr(prompts, "load", lambda: Corpus("prompts", "", "", ()))
    read = recipe.load(path)
    if read.task == "tortoise-published-student":  # no corpus: its teacher reads these texts
        data = recipe.parse(tasks.find(read.task).Data, read.data, "data")
        texts = (*sentences.training(data.texts, data.train), *sentences.validation(data.validation))
        assert not HELD_OUT & {"".join(c for c in s.text.lower() if c.isalnum()) for s in texts}
        return
    if read.data.get("corpus"):
        pytest.skip(f"{read.data['corpus']} is a public corpus with splits of its own")
    corpus = tasks.find(read.task).corpus(read)
    assert not set(held_out_voices.STRANGE) & set(read.data["voices"])
    said = {
        "".join(c for c in text.lower() if c.isalnum())
        for text in [s.text for s in asked] + [u.text for u in corpus.utterances]
    }
    reads = set(read.data["voices"]) != {
        "prompts"
    }  # recordings alone read nothing: their own splits hold them apart
    assert (len(said) > 3) == reads and not said & HELD_OUT
