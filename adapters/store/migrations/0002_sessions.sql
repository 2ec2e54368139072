-- What a live session adds: more kinds of risk events, of how many samples one is kept, and the way to the last positions.
-- A CHECK cannot be changed in place: the table is made again, row for row.

ALTER TABLE strategy_runs ADD COLUMN sample_every INTEGER NOT NULL DEFAULT 1 CHECK (sample_every > 0);

CREATE TABLE risk_events_again (
    run_id INTEGER NOT NULL REFERENCES strategy_runs,
    seq INTEGER NOT NULL CHECK (seq >= 0),
    n INTEGER NOT NULL CHECK (n >= 0),
    ts_ns INTEGER NOT NULL,
    strategy INTEGER,
    instrument INTEGER NOT NULL,
    event TEXT NOT NULL CHECK (event IN
        ('max_drawdown', 'strategy_max_drawdown', 'daily_loss_limit', 'resumed', 'liquidation', 'bankrupt', 'halted',
         'strategy_stopped', 'strategy_started', 'strategy_faulted', 'strategy_quarantined')),
    value INTEGER NOT NULL,
    limit_value INTEGER NOT NULL,
    equity INTEGER NOT NULL,
    reference INTEGER NOT NULL,  -- the peak, or the day's start
    PRIMARY KEY (run_id, seq, n),
    FOREIGN KEY (run_id, strategy) REFERENCES run_strategies
) STRICT, WITHOUT ROWID;

INSERT INTO risk_events_again
    (run_id, seq, n, ts_ns, strategy, instrument, event, value, limit_value, equity, reference)
    SELECT run_id, seq, n, ts_ns, strategy, instrument, event, value, limit_value, equity, reference FROM risk_events;

DROP TABLE risk_events;

ALTER TABLE risk_events_again RENAME TO risk_events;

-- The last position of each strategy in each instrument without a look at all that came before it.
CREATE INDEX positions_by_ledger ON positions (run_id, strategy, instrument, n);
