-- What tells the UTC of a moment between two samples: how straight the system clock ran between them, and
-- how well the rate of the raw clock is known. Null: not told (older agents), or more than 2 seconds.

ALTER TABLE store.sample
    ADD stray_ns        int4,  -- farthest from the straight line over raw_ns since the sample with seq − 1
    ADD rate_margin_ppb int4;  -- the raw oscillator's rate is within coalesce(frequency_ppb, 0) ± this
