"""Which texts would people rather not be asked to listen to? A small list of words, by reason of a listening test.

Clips are played to volunteers, in public reports too. What speaks of sex, of killing, of peoples and creeds in words
that insult, is left out of what is taken from WordNet; nothing is claimed of any other text.
"""

from __future__ import annotations

import re

_STEMS = (
    "abort adulter anus arse ass assassin asshole auschwitz bastard behead bestial bitch blowjob bomb "
    "boob bosom brothel bugger bullshit castrat circumcis clitor cocaine cock coitus condom copulat "
    "corpse crap cripple cunt damn decapitat defecat dick disembowel dyke ejaculat erection erotic execut "
    "faeces fag fart feces fellat fornicat fuck gay genital gouge gypsy heroin hitler holocaust "
    "homosexual hooker horny idiot impoten incest infidel intercourse jap jew jewish kike kill lesbian "
    "lynch massacre masturbat menstru molest molotov moron moslem murder muslim naked nazi negro nigger "
    "nipple nude orgasm orgy penis pimp piss porn prostitut pubic queer rape raping rapist rectum retard "
    "savage semen sex sexual shit slaughter slave slut sodom squaw stab strangl strip suicid terroris "
    "testic tits torture turd urinat urine vagina virgin vomit whore womb wop"
).split()
# A stem counts from the start of a word; short ones, which begin harmless words as well, only as a whole word.
_WHOLE = frozenset(
    "ass arse anus cock crap damn condom dick fag gay gypsy jap jew moron nude orgy piss pimp sex stab strip tits turd "
    "wop bomb boob kike rape slave virgin womb queer idiot savage bosom execut abort".split()
)
_BLOCKED = re.compile(
    r"\b(?:"
    + "|".join(rf"{stem}(?:s|es|ed|d|ing|y)?\b" if stem in _WHOLE else stem for stem in sorted(_STEMS))
    + ")",
    re.I,
)


def fit(text: str) -> bool:
    """Whether a text holds none of the words that one would not play to a volunteer."""
    return not _BLOCKED.search(text)
