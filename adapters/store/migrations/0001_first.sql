-- The first schema. One row of a table is one output of the engine; (run_id, seq, n) is its identity: the record of the
-- tape that caused it, and its number since the run's start, from 0. So a row that arrives twice is there once.
-- Money is integers: cash units of 10^-cash_decimals (strategy_runs). Prices are ticks, sizes are lots (run_instruments).
-- Times are ns UTC. Statements end at the end of a line.

CREATE TABLE strategy_runs (
    run_id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE CHECK (name <> ''),
    mode TEXT NOT NULL CHECK (mode IN ('backtest', 'paper', 'replay')),
    status TEXT NOT NULL CHECK (status IN ('running', 'finished', 'stopped', 'failed')),
    strategy_id TEXT NOT NULL,  -- ids of its strategies, joined by commas
    params TEXT NOT NULL CHECK (json_valid(params)),  -- of each strategy, by its id
    start_ns INTEGER NOT NULL,
    end_ns INTEGER CHECK (end_ns IS NULL OR end_ns >= start_ns),
    cash_decimals INTEGER NOT NULL CHECK (cash_decimals >= 0),
    initial_cash INTEGER NOT NULL,
    config TEXT NOT NULL CHECK (json_valid(config)),
    hash TEXT CHECK (hash IS NULL OR length(hash) = 16),  -- of the engine's chain when it ended
    outputs_stored INTEGER NOT NULL DEFAULT 0 CHECK (outputs_stored >= 0),
    samples_stored INTEGER NOT NULL DEFAULT 0 CHECK (samples_stored >= 0)
) STRICT;

CREATE TABLE run_strategies (
    run_id INTEGER NOT NULL REFERENCES strategy_runs,
    strategy INTEGER NOT NULL CHECK (strategy BETWEEN 0 AND 65534),
    strategy_id TEXT NOT NULL,
    params TEXT NOT NULL CHECK (json_valid(params)),
    source_sha256 TEXT NOT NULL,
    PRIMARY KEY (run_id, strategy)
) STRICT, WITHOUT ROWID;

CREATE TABLE run_instruments (
    run_id INTEGER NOT NULL REFERENCES strategy_runs,
    instrument INTEGER NOT NULL CHECK (instrument BETWEEN 0 AND 65534),
    symbol TEXT NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('linear', 'inverse', 'spot')),
    tick_size TEXT NOT NULL,  -- exact decimals
    lot_size TEXT NOT NULL,
    multiplier TEXT NOT NULL,
    PRIMARY KEY (run_id, instrument)
) STRICT, WITHOUT ROWID;

-- Every transition of every order. Those that a fill made carry what a fill knows: the order's own terms are null there.
CREATE TABLE strategy_orders (
    run_id INTEGER NOT NULL,
    seq INTEGER NOT NULL CHECK (seq >= 0),
    n INTEGER NOT NULL CHECK (n >= 0),
    ts_ns INTEGER NOT NULL,
    strategy INTEGER NOT NULL,
    instrument INTEGER NOT NULL,
    order_id INTEGER NOT NULL CHECK (order_id > 0),
    state TEXT NOT NULL
        CHECK (state IN ('NEW', 'ACTIVE', 'PARTIAL', 'FILLED', 'CANCELED', 'EXPIRED', 'REJECTED')),
    reason TEXT NOT NULL,
    remaining_lots INTEGER NOT NULL CHECK (remaining_lots >= 0 OR state IN ('NEW', 'REJECTED')),
    tag INTEGER NOT NULL,
    lots INTEGER,  -- signed: a buy is positive
    limit_ticks INTEGER,
    stop_ticks INTEGER,
    type TEXT,
    tif TEXT,
    flags INTEGER,
    expire_ns INTEGER,
    PRIMARY KEY (run_id, seq, n),
    FOREIGN KEY (run_id, strategy) REFERENCES run_strategies,
    FOREIGN KEY (run_id, instrument) REFERENCES run_instruments
) STRICT, WITHOUT ROWID;

-- order_id 0: a liquidation. Confidence and the book just before the fill are null for fills on bars and liquidations;
-- book_age_ns is null where no valid book was.
CREATE TABLE strategy_fills (
    run_id INTEGER NOT NULL,
    seq INTEGER NOT NULL CHECK (seq >= 0),
    n INTEGER NOT NULL CHECK (n >= 0),
    ts_ns INTEGER NOT NULL,
    strategy INTEGER NOT NULL,
    instrument INTEGER NOT NULL,
    order_id INTEGER NOT NULL CHECK (order_id >= 0),
    trade_id INTEGER NOT NULL CHECK (trade_id > 0),
    lots INTEGER NOT NULL CHECK (lots <> 0),
    price_ticks INTEGER NOT NULL,
    base_ticks INTEGER NOT NULL,  -- before slippage
    fee INTEGER NOT NULL,
    pnl INTEGER NOT NULL,  -- realised, before fees and funding
    value INTEGER NOT NULL,
    cash INTEGER NOT NULL,  -- of the account, after it
    remaining_lots INTEGER NOT NULL CHECK (remaining_lots >= 0),
    tag INTEGER NOT NULL,
    liquidity TEXT NOT NULL CHECK (liquidity IN ('maker', 'taker')),
    model TEXT NOT NULL
        CHECK (model IN ('none', 'bps', 'ticks', 'atr', 'spread', 'depth', 'queue', 'through', 'liquidation')),
    confidence TEXT CHECK (confidence IN ('assumed', 'bounded', 'observed')),
    book_age_ns INTEGER CHECK (book_age_ns >= 0),
    book_update_id INTEGER,
    bid_ticks INTEGER,
    bid_lots INTEGER,
    ask_ticks INTEGER,
    ask_lots INTEGER,
    ahead_lots INTEGER,
    PRIMARY KEY (run_id, seq, n),
    FOREIGN KEY (run_id, strategy) REFERENCES run_strategies,
    FOREIGN KEY (run_id, instrument) REFERENCES run_instruments
) STRICT, WITHOUT ROWID;

CREATE TABLE strategy_trades (
    run_id INTEGER NOT NULL,
    seq INTEGER NOT NULL CHECK (seq >= 0),
    n INTEGER NOT NULL CHECK (n >= 0),
    strategy INTEGER NOT NULL,
    instrument INTEGER NOT NULL,
    trade_id INTEGER NOT NULL CHECK (trade_id > 0),
    order_id INTEGER NOT NULL CHECK (order_id >= 0),  -- of the fill that closed it
    side TEXT NOT NULL CHECK (side IN ('long', 'short')),
    lots_most INTEGER NOT NULL CHECK (lots_most > 0),
    lots_entered INTEGER NOT NULL CHECK (lots_entered > 0),
    entry_ns INTEGER NOT NULL,
    exit_ns INTEGER NOT NULL,
    entry_value INTEGER NOT NULL,
    exit_value INTEGER NOT NULL,
    gross_pnl INTEGER NOT NULL,
    fees INTEGER NOT NULL,
    funding INTEGER NOT NULL,  -- positive: paid
    pnl INTEGER NOT NULL GENERATED ALWAYS AS (gross_pnl - fees - funding) VIRTUAL,
    mae INTEGER NOT NULL CHECK (mae <= 0),
    mfe INTEGER NOT NULL CHECK (mfe >= 0),
    bars_held INTEGER NOT NULL CHECK (bars_held >= 0),
    exit_reason TEXT NOT NULL CHECK (exit_reason IN ('order', 'guard', 'end', 'liquidation')),
    PRIMARY KEY (run_id, seq, n),
    FOREIGN KEY (run_id, strategy) REFERENCES run_strategies,
    FOREIGN KEY (run_id, instrument) REFERENCES run_instruments
) STRICT, WITHOUT ROWID;

-- Floating equity of the account at each step; n counts the run's samples.
CREATE TABLE equity_curve (
    run_id INTEGER NOT NULL REFERENCES strategy_runs,
    n INTEGER NOT NULL CHECK (n >= 0),
    ts_ns INTEGER NOT NULL,
    equity INTEGER NOT NULL,
    exposure INTEGER NOT NULL CHECK (exposure >= 0),
    margin INTEGER NOT NULL CHECK (margin >= 0),
    PRIMARY KEY (run_id, n)
) STRICT, WITHOUT ROWID;

-- Every change of a strategy's position in an instrument, as it was after the fill of the same n.
CREATE TABLE positions (
    run_id INTEGER NOT NULL,
    seq INTEGER NOT NULL CHECK (seq >= 0),
    n INTEGER NOT NULL CHECK (n >= 0),
    ts_ns INTEGER NOT NULL,
    strategy INTEGER NOT NULL,
    instrument INTEGER NOT NULL,
    lots INTEGER NOT NULL,
    cost INTEGER NOT NULL CHECK (lots <> 0 OR cost = 0),
    trade_id INTEGER NOT NULL CHECK (trade_id > 0),
    PRIMARY KEY (run_id, seq, n),
    FOREIGN KEY (run_id, strategy) REFERENCES run_strategies,
    FOREIGN KEY (run_id, instrument) REFERENCES run_instruments
) STRICT, WITHOUT ROWID;

-- trade_id 0: the position was flat by the time that the rate was known.
CREATE TABLE funding_payments (
    run_id INTEGER NOT NULL,
    seq INTEGER NOT NULL CHECK (seq >= 0),
    n INTEGER NOT NULL CHECK (n >= 0),
    ts_ns INTEGER NOT NULL,
    strategy INTEGER NOT NULL,
    instrument INTEGER NOT NULL,
    trade_id INTEGER NOT NULL CHECK (trade_id >= 0),
    rate_e12 INTEGER NOT NULL,
    rate_source TEXT NOT NULL CHECK (rate_source IN ('venue', 'static')),
    mark_micro INTEGER NOT NULL CHECK (mark_micro > 0),  -- ticks · 10^6
    lots INTEGER NOT NULL,
    payment INTEGER NOT NULL,  -- positive: paid
    cash INTEGER NOT NULL,
    PRIMARY KEY (run_id, seq, n),
    FOREIGN KEY (run_id, strategy) REFERENCES run_strategies,
    FOREIGN KEY (run_id, instrument) REFERENCES run_instruments
) STRICT, WITHOUT ROWID;

-- strategy null: of the whole account.
CREATE TABLE risk_events (
    run_id INTEGER NOT NULL REFERENCES strategy_runs,
    seq INTEGER NOT NULL CHECK (seq >= 0),
    n INTEGER NOT NULL CHECK (n >= 0),
    ts_ns INTEGER NOT NULL,
    strategy INTEGER,
    instrument INTEGER NOT NULL,
    event TEXT NOT NULL CHECK (event IN
        ('max_drawdown', 'strategy_max_drawdown', 'daily_loss_limit', 'resumed', 'liquidation', 'bankrupt')),
    value INTEGER NOT NULL,
    limit_value INTEGER NOT NULL,
    equity INTEGER NOT NULL,
    reference INTEGER NOT NULL,  -- the peak, or the day's start
    PRIMARY KEY (run_id, seq, n),
    FOREIGN KEY (run_id, strategy) REFERENCES run_strategies
) STRICT, WITHOUT ROWID;

-- What went wrong and was survived; n counts the run's errors.
CREATE TABLE errors (
    run_id INTEGER NOT NULL REFERENCES strategy_runs,
    n INTEGER NOT NULL CHECK (n >= 0),
    seq INTEGER NOT NULL CHECK (seq >= 0),
    ts_ns INTEGER NOT NULL,
    strategy_id TEXT NOT NULL,  -- empty where none was concerned
    symbol TEXT NOT NULL,
    kind TEXT NOT NULL CHECK (kind <> ''),
    message TEXT NOT NULL,
    PRIMARY KEY (run_id, n)
) STRICT, WITHOUT ROWID;
