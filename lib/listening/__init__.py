"""Does a person hear the difference? A listening test that needs no server, and what its ratings say.

The chapters, in the order of a test: `clips` chooses what is heard, `loudness` makes it equally loud, `design`
decides who hears what, `checks` adds what tells attentive listeners from others, `kit` writes one page for each
group of listeners and the key that says what was behind every clip, `server` collects where somebody runs it,
`ratings` reads what came back, `screening` applies the rules of the key, `crossed` has the statistics,
`analysis` the answers, `power` says beforehand how many listeners it takes. `simulated` listeners test all of
that; they never stand where a result is expected.
"""
