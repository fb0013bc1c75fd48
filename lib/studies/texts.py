"""What do the texts hold that voices learn from, and how were WordNet's training sentences chosen? What 00 shows of
texts.

`python -m lib.studies.texts` chooses anew and writes `lib/corpora/wordnet_chosen.gz`; whoever only reads the chosen
sentences needs no phonemes.
"""

from __future__ import annotations

import gzip
import json
import logging
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from lib import progress
from lib.corpora import coverage, sentences, wordnet
from lib.corpora.base import Sentence
from lib.errors import MissingDataError, TextError
from lib.files import cache_folder, content_key, write_atomic
from lib.normalise import spoken

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)

# kind (`wordnet.kind`) -> how many are chosen (0: all that there are). The rare kinds are taken whole, and first, so
# that what they cover is not sought a second time.
SIZES = {"question": 0, "number": 0, "sentence": 5_400, "phrase": 1_000, "word": 600}
_PART = 2_000  # sentences whose phones are kept in one file


def pairs(texts: Sequence[Sentence]) -> list[coverage.Pairs]:
    """The phone pairs of each sentence, as the project's voices read it; kept in the cache."""
    return [coverage.pairs(said) for said in phones([s.text for s in texts])]


def phones(texts: Sequence[str]) -> list[tuple[str, ...]]:
    """The phones of each text (`coverage.phones`); none of a text that cannot be read."""
    parts = [texts[i : i + _PART] for i in range(0, len(texts), _PART)]
    front_end = _front_end()
    return [
        tuple(said)
        for part in progress.track(parts, "phones", unit=f"{_PART:,} sentences")
        for said in _phones(part, front_end)
    ]


def choose() -> list[str]:
    """The ids of WordNet's training sentences: the best covering ones of each kind, the kinds in turns."""
    known = sentences.candidates()
    kinds: dict[str, dict[str, coverage.Pairs]] = {kind: {} for kind in SIZES}
    for sentence, found in zip(known, pairs(known)):
        if found:
            kinds[wordnet.kind(sentence.text)][sentence.id] = found
    covered: coverage.Pairs = Counter()
    chosen = [
        coverage.greedy(kinds[kind], size or len(kinds[kind]), covered, label=f"choosing each {kind}")
        for kind, size in SIZES.items()
    ]
    return list(sentences.in_turns(chosen))


def covered(n: int, *, seed: int = 0) -> pd.DataFrame:
    """What the first n sentences of each text cover, the chosen ones of WordNet against as many of every kind drawn at
    random; a line per text. Where WordNet cannot be had, the novel's line alone.

    The texts differ in the length of their sentences, so the phones in all stand there, too.
    """
    import pandas as pd

    texts = {"botchan": sentences.training(["botchan"], n)}
    try:
        chosen = sentences.training(["wordnet"], n)
        texts["wordnet, at random"] = _at_random(chosen, seed)
        texts["wordnet, chosen"] = chosen
        texts["botchan and wordnet"] = sentences.training(["botchan", "wordnet"], n)
    except MissingDataError as error:
        log.warning("wordnet: not run: %s", error)
    lines = {}
    for name, read in texts.items():
        found = coverage.of(pairs(read))
        lines[name] = {
            "sentences": found.sentences,
            "phones": found.phones,
            "phone pairs": found.pairs,
            f"seen {coverage.OFTEN} times": found.often,
        }
    return pd.DataFrame.from_dict(lines, orient="index")


def finding(table: pd.DataFrame) -> str | None:
    """What the choice is worth, from the table of `covered`, in a sentence; None without WordNet."""
    if "wordnet, chosen" not in table.index:
        return None
    often = f"seen {coverage.OFTEN} times"
    chosen, drawn, novel = (table.loc[n] for n in ("wordnet, chosen", "wordnet, at random", "botchan"))
    return (
        f"The {chosen['sentences']:,} sentences chosen from WordNet hold {chosen['phone pairs']:,} different phone "
        f"pairs, {chosen[often]:,} of them at least {coverage.OFTEN} times, in {chosen['phones']:,} phones; as many "
        f"drawn at random {drawn['phone pairs']:,} and {drawn[often]:,} in {drawn['phones']:,}; "
        f"{novel['sentences']:,} of the novel {novel['phone pairs']:,} and {novel[often]:,} in {novel['phones']:,}."
    )


def examples(n: int = 4, *, every: int = 10) -> list[str]:
    """A line for each training text and each test set: how many sentences there are, how long they are, and n of them,
    the first and each `every`-th after it; or why this machine cannot get it.
    """
    lines = []
    for use, name, read in _all():
        try:
            found = read()
        except MissingDataError as error:
            lines.append(f"**{name}, {use}**: not run: {error}")
            continue
        words = int(np.median([len(s.text.split()) for s in found]))
        said = " / ".join(s.text for s in found[: n * every : every])
        lines.append(f"**{name}, {use}** ({len(found):,} sentences, median {words} words): *{said}*")
    return lines


def lengths() -> dict[str, list[int]]:
    """Text -> the number of words of each of its sentences: of the two training texts and the four test sets."""
    found = {}
    for use, name, read in _all():
        try:
            found[f"{name}, {use}"] = [len(s.text.split()) for s in read()]
        except MissingDataError:
            continue  # `examples` has said so
    return found


def spread(words: dict[str, list[int]]) -> str:
    """How long the sentences of the texts are (`lengths`), in a sentence."""
    medians = {name: float(np.median(n)) for name, n in words.items()}
    low, high = min(medians, key=medians.get), max(medians, key=medians.get)
    return (
        f"Half of the sentences of {high} have more than {medians[high]:.0f} words, of {low} more than "
        f"{medians[low]:.0f}; the shortest of all has {min(map(min, words.values()))}, the longest "
        f"{max(map(max, words.values()))}."
    )


def _all():
    for name in sentences.TEXTS:
        yield "training", name, lambda name=name: sentences.training([name])
    for name in sentences.TEST_SETS:
        yield "test", name, lambda name=name: sentences.test_set(name)


def _at_random(chosen: Sequence[Sentence], seed: int) -> tuple[Sentence, ...]:
    """As many sentences of each kind as there are among the chosen ones, drawn from all of WordNet's."""
    wanted = Counter(wordnet.kind(s.text) for s in chosen)
    drawn = []
    for sentence in np.random.default_rng(seed).permutation(np.array(wordnet.candidates(), dtype=object)):
        kind = wordnet.kind(sentence.text)
        if wanted[kind]:
            wanted[kind] -= 1
            drawn.append(sentence)
    return tuple(drawn)


def _front_end() -> str:
    """A hash of whatever decides which phones a text has."""
    from lib.systems import symbols

    return content_key("front end", *(path.read_bytes() for path in symbols.files()))


def _phones(texts: Sequence[str], front_end: str) -> list[list[str]]:
    from lib.systems import symbols

    spoken_texts = []
    for text in texts:
        try:
            spoken_texts.append(spoken(text))
        except TextError:
            spoken_texts.append("")
    key = content_key("phones", 1, front_end, spoken_texts)
    path = cache_folder("phones", f"{key}.json.gz")
    if not path.exists():
        said = []
        for text in spoken_texts:
            try:
                said.append(coverage.phones(symbols.of(text)))
            except TextError:
                said.append(())
        write_atomic(path, gzip.compress(json.dumps(said, ensure_ascii=False).encode(), 6, mtime=0))
    return json.loads(gzip.decompress(path.read_bytes()))


def main() -> None:
    """Choose, and write the ids beside the corpus."""
    ids = choose()
    write_atomic(wordnet.CHOSEN, wordnet.write_ids(ids))
    print(f"{len(ids):,} sentences chosen: {wordnet.CHOSEN}")


if __name__ == "__main__":
    main()
