"""Under which terms does the speech of a system stand?"""

from __future__ import annotations

from lib import systems
from lib.corpora import prompts

# Whose speech it is -> what its licence asks. Of a pupil the voice that it learnt counts.
VOICES = {
    "vits-joe": "synthetic; voice `joe`: CC0 data, MIT package; it was fine-tuned from Piper's `lessac`, whose data "
    "(Blizzard Challenge 2013) are licensed for research",
    "hibari": "synthetic; Apache-2.0, distilled from Kokoro-82M (Apache-2.0)",
    "espeak-ng": "synthetic; made by eSpeak NG (GPL-3.0, which covers the program)",
    "ground-truth": f"a recorded person; {prompts.LICENCE}",
}
UNKNOWN = "not known here: ask whoever made the system"


def of(system: str, variant: str = "baseline") -> str:
    """Under which terms speech stands: those of the voice itself, or of the one that its system learnt."""
    if system in VOICES:
        return VOICES[system]
    spoken_like = variant.rpartition("@")[2]  # "istft@hibari"
    teacher = spoken_like if spoken_like in VOICES else systems.teachers().get(system)
    if teacher in VOICES:
        return f"by {system}, after {teacher}: {VOICES[teacher]}"
    return UNKNOWN
