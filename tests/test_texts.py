"""Texts to learn from and to be judged on: what is taken from WordNet, how it is chosen, and that nothing held out is
ever trained on, not even nearly.
"""

import random
import re
from collections import Counter

import pytest

from lib.corpora import coverage, duplicates, gutenberg, sentences, taste, unpredictable, wordnet
from lib.corpora.base import Sentence
from lib.errors import MissingDataError, ParameterError
from lib.studies import texts
from lib.training import recipe, sources


@pytest.fixture(scope="module", autouse=True)
def _wordnet():
    """WordNet and the prompts come from Debian's archive."""
    try:
        sentences.held_out()
    except MissingDataError as error:
        pytest.skip(f"texts not run: {error}")


# --- glosses


@pytest.mark.parametrize(
    "gloss, expected",
    [
        (
            'to a small degree; "his arm hurt a bit"; "a touch of frost"',
            ["his arm hurt a bit", "a touch of frost"],
        ),
        ('stop; "he paused; then he left"', ["he paused; then he left"]),  # a semicolon inside
        ('"at the very start" ; "and so on"  ', ["at the very start", "and so on"]),
        ('famous; "to be or not to be"- Shakespeare; "the end is near"', ["the end is near"]),
        ('famous; "to be or not to be" -- W. Shakespeare', []),
        ('odd; "a smile" (of a cat); "a grin"', ["a grin"]),  # a remark in brackets belongs to it
        ('the letter "x" in names; "x marks the spot"', ["x marks the spot"]),  # quoted inside the definition
        ('broken; "drop a hint"; drop names"', []),  # marks that do not pair
        ("no example at all", []),
    ],
)
def test_a_gloss_gives_its_examples(gloss, expected):
    assert wordnet.examples(gloss) == expected


@pytest.mark.parametrize(
    "example, expected",
    [
        ("he took a dab of butter", "He took a dab of butter."),
        ("Who goes there now?", "Who goes there now?"),
        ("are you sure of it", "Are you sure of it?"),
        ("what is certain is that we lost", "What is certain is that we lost."),
        ("what time is it now", "What time is it now?"),
        ("take a taste--you'll like it", "Take a taste, you'll like it."),
        ("the bill came to $9.50 , he said;", "The bill came to $9.50, he said."),
        ("at 3 p.m. he left", "At 3 p.m. he left."),
        ("he left.then she came", None),
        ("a sharp pain", "A sharp pain."),
        ("an air of spontaneity", None),  # a phrase of four words is no sentence
        ("a man who is always late", None),  # its verb stands in a clause
        ("was censured for his conduct", None),  # no subject
        ("an odd (or queer) thing happened", None),
        ("the word `car' is old", None),
        ("a thing happened on the...", None),
        ("the root of x^2 is x", None),
        ("he is great - W.Churchill", None),
        ("word", None),  # single words come from the lemmas
        (" ".join(["he"] + ["is"] * 30), None),
    ],
)
def test_an_example_is_cleaned_by_rule(example, expected):
    assert wordnet.clean(example) == expected


def test_examples_of_verbs_may_be_orders():
    assert wordnet.clean("close up an old umbrella", verb=True) == "Close up an old umbrella."
    assert wordnet.clean("close up an old umbrella") is None


def test_what_is_taken_reads_aloud_well():
    found = wordnet.candidates()
    assert len({s.id for s in found}) == len(found) > 35_000
    for sentence in found:
        assert 1 <= len(sentence.text.split()) <= 30 and sentence.text[-1] in ".?!"
        assert sentence.text[0].isupper() or sentence.text[0].isdigit() or sentence.text[0] == "$"
        assert not set(sentence.text) & set('()[]{}`"*_/=+^<>|') and "  " not in sentence.text
        assert taste.fit(sentence.text)
    kinds = Counter(wordnet.kind(s.text) for s in found)
    assert kinds["sentence"] > 15_000 and min(kinds["word"], kinds["phrase"]) > 5_000
    assert min(kinds["question"], kinds["number"]) > 400


@pytest.mark.parametrize(
    "text, kind",
    [
        ("Tree.", "word"),
        ("A sharp pain.", "phrase"),
        ("Why is it so?", "question"),
        ("It weighs 3 pounds.", "number"),
        ("The NATO met in May.", "number"),
        ("Mr. Brown is not here.", "number"),
        ("He is not at home.", "sentence"),
    ],
)
def test_kinds(text, kind):
    assert wordnet.kind(text) == kind


def test_taste_leaves_harmless_words_alone():
    assert taste.fit("The assistant passed the cocktail to Dickens in Essex.")
    assert not taste.fit("He was Murdered.") and not taste.fit("two NUDES") and not taste.fit("a damned lie")


def test_verbs_and_counts_are_read_as_wordnet_has_them():
    assert wordnet.frames()["sleep"] == {2} and wordnet.frames()["eat"] == {8} and 2 in wordnet.frames()["walk"]
    assert wordnet.senses()["dog", "noun", 5] == 42  # dog%1:05:00:: in cntlist.rev
    assert wordnet.words()["dog"] >= 42


# --- the choice


def items(**spelled):
    return {name: coverage.pairs(tuple(text)) for name, text in spelled.items()}


def test_greedy_takes_what_covers_most_first():
    # "abcde" holds four new pairs; then "xyz" two; "bcd" and "abc" nothing new, so the halves of their worth count
    found = items(a="abc", b="xyz", c="abcde", d="bcd")
    assert coverage.greedy(found, 4) == ["c", "b", "a", "d"]
    assert coverage.greedy(found, 2) == ["c", "b"]


def test_greedy_knows_what_is_there_already_and_adds_to_it():
    there = coverage.pairs(tuple("abcde"))
    assert coverage.greedy(items(a="abcde", b="vwxyz"), 1, there) == ["b"]
    assert there["v", "w"] == 1 and there["a", "b"] == 1


def test_a_long_sentence_is_not_better_for_saying_the_same_twice():
    assert coverage.greedy(items(a="ab" * 20, b="abcdefghij"), 1) == ["b"]


def test_the_queue_finds_what_a_full_search_finds():
    rng = random.Random(0)
    found = {f"s{i:03}": coverage.pairs(tuple(rng.choices("abcdefg", k=rng.randint(2, 12)))) for i in range(80)}
    covered, slow = Counter(), []
    while len(slow) < 40:
        best = min((s for s in found if s not in slow), key=lambda s: (-coverage._worth(found[s], covered), s))
        covered.update(found[best])
        slow.append(best)
    assert coverage.greedy(found, 40) == slow


def test_phones_and_coverage_are_counted_exactly():
    said = coverage.phones(("^", "ˈ", "t", "ʃ", "ɪ", "n", " ", "ɪ", "t", ",", " ", "a", "ː", ".", "$"))
    assert said == ("|", "tʃ", "ɪ", "n", "ɪ", "t", "|", "aː", "|")
    found = coverage.of([coverage.pairs(said)] * 10)
    assert found == coverage.Coverage(sentences=10, phones=60, pairs=8, often=8)
    assert coverage.of([coverage.pairs(said)] * 9).often == 0
    assert coverage.of([]) == coverage.Coverage(0, 0, 0, 0)


def test_ids_survive_the_file():
    ids = ["wordnet-00ff00ff00", "wordnet-0123456789"]
    assert wordnet.read_ids(wordnet.write_ids(ids)) == ids
    assert wordnet.write_ids(ids) == wordnet.write_ids(ids)


def test_chosen_sentences_are_of_all_kinds_and_cover_more_than_chance():
    chosen = wordnet.chosen()
    assert 6_000 <= len(chosen) <= 10_000 and len({s.id for s in chosen}) == len(chosen)
    kinds = Counter(wordnet.kind(s.text) for s in chosen)
    assert {kind: n for kind, n in texts.SIZES.items() if n} == {
        k: kinds[k] for k, n in texts.SIZES.items() if n
    }
    assert min(kinds["question"], kinds["number"]) > 400
    few = Counter(wordnet.kind(s.text) for s in chosen[:400])  # every beginning holds all kinds
    assert all(abs(few[kind] / 400 - kinds[kind] / len(chosen)) < 0.02 for kind in kinds)
    table = texts.covered(300)
    assert table.loc["wordnet, chosen", "phone pairs"] > 1.3 * table.loc["wordnet, at random", "phone pairs"]
    assert table.loc["wordnet, chosen", "phones"] < 1.3 * table.loc["wordnet, at random", "phones"]
    assert set(table.sentences) == {300} and "300 sentences chosen" in texts.finding(table)


@pytest.mark.slow
def test_the_whole_choice_is_derived_again(tmp_path, monkeypatch):
    monkeypatch.setenv("SPEECH_CACHE", str(tmp_path))
    monkeypatch.setattr(wordnet, "folder", lambda kept=wordnet.folder(): kept)
    monkeypatch.setattr(texts, "cache_folder", lambda *parts: tmp_path.joinpath(*parts))
    assert wordnet.write_ids(texts.choose()) == wordnet.CHOSEN.read_bytes()


def test_a_lost_sentence_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(wordnet, "CHOSEN", tmp_path / "ids.gz")
    wordnet.CHOSEN.write_bytes(wordnet.write_ids(["wordnet-0000000000"]))
    wordnet.chosen.cache_clear()
    try:
        with pytest.raises(MissingDataError, match="1 of the 1 sentences in ids.gz .* wordnet-0000000000"):
            wordnet.chosen()
    finally:
        wordnet.chosen.cache_clear()


# --- test sets


def test_the_test_sets_stand():
    assert sentences.test_set("botchan") == gutenberg.split("test")
    sets = {name: sentences.test_set(name) for name in sentences.TEST_SETS}
    assert {name: len(found) for name, found in sets.items()} == {
        "botchan": 100, "wordnet": 100, "prompts": 72, "sus": 50
    }  # fmt: skip
    assert [s.text for s in sets["wordnet"][:2]] == [
        "He is the best one.",
        "New York is at the mouth of the Hudson.",
    ]
    assert sets["prompts"][2].text == "No directory entries match your search."
    every = [s for found in sets.values() for s in found]
    assert len({s.id for s in every}) == len(every) and {s.split for s in every} == {"test"}
    for sentence in every:
        assert len(sentence.text.split()) <= 30 and len(sentence.text.split()) >= 3
    assert sentences.test_set("wordnet", 3) == sets["wordnet"][:3]


def test_unknown_names_are_named():
    with pytest.raises(ParameterError, match="unknown test set 'wordent': did you mean 'wordnet'"):
        sentences.test_set("wordent")
    with pytest.raises(ParameterError, match="unknown text 'botchn': did you mean 'botchan'"):
        sentences.training(["botchn"])
    with pytest.raises(ParameterError, match="no text to train on"):
        sentences.training([])


CLASSES = {
    "intransitive": r"The (\w+) (\w+) (through|past|near|by|from|with|on|in|at|to) the (\w+) (\w+)\.",
    "transitive": r"The (\w+) (\w+) (\w+) the (\w+)\.",
    "imperative": r"([A-Z]\w+) the (\w+) and the (\w+)\.",
    "interrogative": r"(How|When|Where|Why) does the (\w+) (\w+) the (\w+) (\w+)\?",
    "relative": r"The (\w+) (\w+) the (\w+) that (\w+)\.",
}


def test_unpredictable_sentences_have_five_structures_of_ten():
    found = sentences.test_set("sus")
    pools = unpredictable.pools()
    nouns = []
    for number, sentence in enumerate(found):
        name = list(CLASSES)[number % 5]  # in turns
        match = re.fullmatch(CLASSES[name], sentence.text)
        assert match, (name, sentence.text)
        said = match.groups()
        places = {"intransitive": (0, 4), "transitive": (1, 3), "imperative": (1, 2), "interrogative": (1, 4)}
        nouns += [said[place] for place in places.get(name, (0, 2))]
        if name == "interrogative":
            assert said[2] in pools["transitive"] and said[3] in pools["adjective"]
        if name == "relative":
            assert said[3] in map(unpredictable.third_person, pools["intransitive"])
        assert taste.fit(sentence.text)
    assert len(nouns) == 100 and len(set(nouns)) == 100 and set(nouns) <= set(pools["noun"])


def test_unpredictable_sentences_hang_on_the_seed_alone():
    assert unpredictable.sentences() == unpredictable.sentences() == sentences.test_set("sus")
    other = unpredictable.sentences(seed=1)
    assert not {s.text for s in other} & {s.text for s in unpredictable.sentences()}
    assert [s.text for s in unpredictable.sentences(2)] == [s.text for s in unpredictable.sentences()[:10]]
    assert len(unpredictable.sentences(2)) == 10


def test_words_of_unpredictable_sentences_are_short_and_common():
    counts = wordnet.words()
    for name, pool in unpredictable.pools().items():
        if name in unpredictable.LEAST:
            assert len(pool) >= 90 and all(counts[word] >= unpredictable.LEAST[name] for word in pool), name
            assert all(3 <= len(word) <= 6 for word in pool) and "muscle" not in pool and "battle" not in pool


# --- nothing held out is trained on


@pytest.mark.parametrize(
    "one, other, same",
    [
        ("He paid the bill.", "he paid THE bill!", True),
        ("He paid $5 in 1921.", "He paid five dollars in nineteen twenty-one.", True),
        ("He paid the bill.", "She paid the bill.", True),  # one word in four
        ("He paid the bill.", "She paid the price.", False),
        ("He paid.", "She paid.", False),
        ("The dog.", "The dog?", True),
        ("He paid the bill.", "In the end he paid the bill of his wife.", True),  # whole inside the other
        ("Paid the bill.", "In the end he paid the bill of his wife.", False),  # three words are a phrase of both
        ("one two three four five six seven eight", "one two x four five y seven eight", True),  # two in eight
        ("one two three four five six seven", "one two x four five y seven", False),
        ("one two three four five", "two three four five one", False),
    ],
)  # fmt: skip
def test_what_counts_as_nearly_the_same(one, other, same):
    assert duplicates.near(duplicates.words(one), duplicates.words(other)) is same
    assert duplicates.near(duplicates.words(other), duplicates.words(one)) is same
    assert (duplicates.Known([one]).near(other) is not None) is same
    assert (duplicates.Known([other]).near(one) is not None) is same


def test_the_index_misses_no_near_text():
    rng = random.Random(1)
    known = [" ".join(rng.choices("abcdef", k=rng.randint(1, 9))) for _ in range(150)]
    index = duplicates.Known(known)
    for _ in range(300):
        text = " ".join(rng.choices("abcdef", k=rng.randint(1, 9)))
        slow = any(duplicates.near(duplicates.words(text), duplicates.words(k)) for k in known)
        assert (index.near(text) is not None) is slow, text


def test_planted_duplicates_are_dropped(monkeypatch):
    test = sentences.test_set("wordnet")[1].text  # New York is at the mouth of the Hudson.
    planted = [
        test.upper(),
        test.replace("New York", "Albany City"),
        f"You know that {test}",
        "Nothing like it at all.",
    ]
    given = tuple(Sentence(str(i), text, "train") for i, text in enumerate(planted))
    monkeypatch.setattr(wordnet, "candidates", lambda: given)
    assert [s.text for s in sentences.candidates()] == ["Nothing like it at all."]


def test_no_training_sentence_is_near_to_a_held_out_one():
    held_out = sentences.held_out()
    assert len(held_out) > 400
    known = duplicates.Known(s.text for s in held_out)
    near = {s.text: known.near(s.text) for s in sentences.training(sentences.TEXTS)}
    assert {text: other for text, other in near.items() if other} == {}


# --- what recipes say


def test_texts_of_a_recipe():
    assert sources.Data(voices=("vits-joe",)).texts == ("botchan",)
    read = recipe.parse(sources.Data, {"voices": ["vits-joe"], "texts": ["botchan", "wordnet"]}, "data")
    assert read.texts == ("botchan", "wordnet")
    with pytest.raises(ParameterError, match="unknown text 'wordnt': did you mean 'wordnet'"):
        sources.Data(voices=("vits-joe",), texts=("wordnt",))
    with pytest.raises(ParameterError, match="`texts`, but they are what `voices` read"):
        sources.Data(corpus="ljspeech", texts=("wordnet",))


def test_training_texts_take_turns():
    assert sentences.training(["botchan"]) == gutenberg.split("train")
    assert sentences.training(["wordnet", "wordnet"], 5) == wordnet.chosen()[:5]
    both = sentences.training(["botchan", "wordnet"])
    assert len(both) == len(gutenberg.split("train")) + len(wordnet.chosen())
    share = sum(s.id.startswith("botchan") for s in both[:500]) / 500
    assert abs(share - len(gutenberg.split("train")) / len(both)) < 0.01
    assert sentences.training(["botchan", "wordnet"], 500) == both[:500]
    assert sentences.in_turns(["abcd", "XY"]) == ("a", "X", "b", "c", "Y", "d")


def test_voices_read_the_chosen_texts(monkeypatch):
    from lib.corpora import synthetic
    from lib.corpora.base import Corpus

    heard = {}

    def corpus(voice, given, **_):
        heard[voice.name] = given
        return Corpus("synthetic", "", "", ())

    monkeypatch.setattr(synthetic, "corpus", corpus)
    sources.corpus(sources.Data(voices=("hibari",), train=20, validation=3))
    assert heard["hibari"] == gutenberg.split("validation", 3) + gutenberg.split("train", 20)
    sources.corpus(sources.Data(voices=("hibari",), texts=("botchan", "wordnet"), train=20, validation=3))
    assert heard["hibari"][:3] == gutenberg.split("validation", 3)
    assert heard["hibari"][3:] == sentences.training(["botchan", "wordnet"], 20)
    assert Counter(s.id.split("-")[0] for s in heard["hibari"][3:]) == {"wordnet": 15, "botchan": 5}


# --- what 00 shows


def test_texts_are_shown_with_examples_or_with_the_reason(monkeypatch):
    lines = texts.examples(2)
    assert len(lines) == len(sentences.TEXTS) + len(sentences.TEST_SETS)
    assert lines[3].startswith("**wordnet, test** (100 sentences, median 7 words): *He is the best one. / ")
    words = texts.lengths()
    assert words["wordnet, test"][:2] == [5, 9] and min(words["wordnet, training"]) == 1
    assert texts.spread({"a": [1, 2, 9], "b": [5, 6, 7]}) == (
        "Half of the sentences of b have more than 6 words, of a more than 2; the shortest of all has 1, the longest 9."
    )

    def gone(*_):
        raise MissingDataError("no apt here")

    monkeypatch.setattr(wordnet, "chosen", gone)
    assert texts.examples()[1] == "**wordnet, training**: not run: no apt here"
    assert "wordnet, training" not in texts.lengths()
    table = texts.covered(50)
    assert list(table.index) == ["botchan"] and texts.finding(table) is None
