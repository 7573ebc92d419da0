-- A verdict for servers whose stamps cannot be true.

COMMENT ON COLUMN fleet.sources_now.verdict IS 'selected, combined, outlier, falseticker, unreachable, or why it is unusable: no-answer-yet, unsynchronised, bad-stratum, root-distance, bad-stamps, denied, contradictory, no-majority, noselect, authentication, smear, offline, min-sources, oscillator.';
