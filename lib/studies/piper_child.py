"""What does the package piper-tts take for some sentences? A process of its own Python, which has that package and
nothing of this project: asked by `lib.studies.piper` with one JSON object, it answers with one.
"""

import gc
import json
import random
import sys
import time


OTHER = "this piper-tts is not the one whose threads could be set, and is not timed with others"


def main() -> None:
    """Load the voice, say every text once untimed and once timed, on as many threads as are asked for."""
    asked = json.load(sys.stdin)
    begin = time.perf_counter()
    import onnxruntime
    from piper import PiperVoice

    class Counting(onnxruntime.InferenceSession):
        """Knows whether anybody uses it."""

        runs = 0

        def run(self, *given, **more):
            self.runs += 1
            return super().run(*given, **more)

    voice = PiperVoice.load(asked["model"], config_path=asked["config"])
    loaded_s = time.perf_counter() - begin
    if not isinstance(getattr(voice, "session", None), onnxruntime.InferenceSession):
        found = type(getattr(voice, "session", None)).__name__
        sys.exit(f"voice.session is a {found}, not an InferenceSession: {OTHER}")
    # The package has no word for threads: ONNX Runtime takes as many as there are cores, whatever others were given.
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = asked["threads"], 1
    voice.session = Counting(asked["model"], sess_options=options, providers=["CPUExecutionProvider"])

    def speak(text: str) -> float:
        """Seconds of audio."""
        chunks = [
            (len(c.audio_int16_bytes), c.sample_width * c.sample_channels * c.sample_rate)
            for c in voice.synthesize(text)
        ]
        return sum(n_bytes / each for n_bytes, each in chunks)

    for text in asked["texts"]:
        speak(text)
    if not voice.session.runs:
        sys.exit(f"it spoke without voice.session: {OTHER}")
    seconds, audio_s = [0.0] * len(asked["texts"]), [0.0] * len(asked["texts"])
    order = list(range(len(asked["texts"])))
    random.Random(asked["turn"]).shuffle(order)
    gc.collect()
    gc.disable()  # as where ours is timed
    for index in order:
        begin = time.perf_counter()
        audio_s[index] = speak(asked["texts"][index])
        seconds[index] = time.perf_counter() - begin
    answer = {
        "seconds": seconds,
        "audio_s": audio_s,
        "loaded_s": loaded_s,
        "threads": voice.session.get_session_options().intra_op_num_threads,
    }
    sys.stdout.write("\n" + json.dumps(answer) + "\n")


if __name__ == "__main__":
    main()
