"""Speech with its text, in one shape whatever it comes from: see `base.Corpus` and `base.Utterance`."""
