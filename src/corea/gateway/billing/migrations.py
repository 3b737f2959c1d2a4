"""Steps of the schema, each in both dialects. Never change one that was released; add another at the end.

A server brings its database up to date at its start; replicas of the version before may then still be running, so a
step adds tables and columns, and neither removes nor renames any. No ";" in comments of the SQLite texts.
"""

from typing import NamedTuple

from corea.gateway.billing.lease_sql import FUNCTIONS


class Migration(NamedTuple):
    """One step; "" where a dialect needs nothing.

    Money is exact: decimal text in SQLite, numeric in PostgreSQL. Times are seconds since 1970 (UTC): REAL in SQLite,
    double precision in PostgreSQL, whose REAL has four bytes.
    """

    sqlite: str
    postgres: str


MIGRATIONS: tuple[Migration, ...] = (
    Migration(
        """
        CREATE TABLE keys (
            id TEXT PRIMARY KEY,               -- public, part of the secret
            name TEXT NOT NULL,
            hash BLOB NOT NULL,                -- SHA-256 of the secret
            created_at REAL NOT NULL,          -- seconds since 1970
            revoked_at REAL,
            cascades TEXT,                     -- JSON list, NULL: all
            budget_usd TEXT,                   -- exact decimal, NULL: none
            requests_per_minute INTEGER,
            tokens_per_minute INTEGER,
            spent_usd TEXT NOT NULL DEFAULT '0',
            tokens INTEGER NOT NULL DEFAULT 0,
            requests INTEGER NOT NULL DEFAULT 0,
            held_usd TEXT,                     -- of the budget, while a server runs, see budget_holds.py
            held_boot TEXT
        ) WITHOUT ROWID;
        CREATE TABLE decisions (
            trace_id TEXT NOT NULL,
            at REAL NOT NULL,                  -- end of the request, seconds since 1970
            key_id TEXT,
            cascade TEXT NOT NULL,
            model TEXT NOT NULL,               -- as the request named it
            stage TEXT,                        -- that answered, NULL: none
            status TEXT NOT NULL,
            error TEXT,                        -- code of the error response
            deferred INTEGER NOT NULL,
            confidence REAL,
            threshold REAL,
            cost_usd TEXT,
            baseline_usd TEXT,
            prompt_tokens INTEGER NOT NULL,
            completion_tokens INTEGER NOT NULL,
            seconds REAL NOT NULL,
            first_text_seconds REAL,
            streamed INTEGER NOT NULL,
            cached INTEGER NOT NULL,
            client_disconnected INTEGER NOT NULL,
            steps TEXT NOT NULL,               -- JSON, without any text
            prompt TEXT,                       -- only where store_text is on, redacted
            answer TEXT
        );
        CREATE INDEX decisions_at ON decisions (at)
        """,
        "",
    ),
    # budgets per period as budget_usd; spent_days is JSON, USD by day since 1970 (UTC); policy names a RequestPolicy
    Migration(
        """
        ALTER TABLE keys ADD COLUMN budget_day_usd TEXT;
        ALTER TABLE keys ADD COLUMN budget_week_usd TEXT;
        ALTER TABLE keys ADD COLUMN budget_month_usd TEXT;
        ALTER TABLE keys ADD COLUMN spent_days TEXT NOT NULL DEFAULT '{}';
        ALTER TABLE keys ADD COLUMN policy TEXT
        """,
        "",
    ),
    # role is a keys.Role; group_id names the row whose budgets the key shares; changes is JSON, field: [before, after].
    # The first one with PostgreSQL: all tables until here, and those of several replicas.
    Migration(
        """
        ALTER TABLE keys ADD COLUMN role TEXT NOT NULL DEFAULT 'key';
        ALTER TABLE keys ADD COLUMN group_id TEXT;
        CREATE TABLE key_changes (
            at REAL NOT NULL,                  -- seconds since 1970
            actor TEXT NOT NULL,               -- the admin key, or the user of the command line
            action TEXT NOT NULL,              -- create, set, revoke
            key_id TEXT NOT NULL,
            changes TEXT NOT NULL
        )
        """,
        """
        CREATE TABLE keys (
            id text PRIMARY KEY,
            name text NOT NULL,
            hash bytea NOT NULL,
            created_at double precision NOT NULL,
            revoked_at double precision,
            cascades text,
            policy text,
            role text NOT NULL DEFAULT 'key',
            group_id text,
            budget_usd numeric, budget_day_usd numeric, budget_week_usd numeric, budget_month_usd numeric,
            requests_per_minute bigint,
            tokens_per_minute bigint,
            tokens bigint NOT NULL DEFAULT 0,
            requests bigint NOT NULL DEFAULT 0,
            spent_usd numeric NOT NULL DEFAULT 0,
            leased_usd numeric NOT NULL DEFAULT 0,   -- in leases, and not booked as spent
            day bigint NOT NULL DEFAULT 0,           -- of the last booking, since 1970 (UTC); never goes back
            day_usd numeric NOT NULL DEFAULT 0,      -- spent in the day, the week and the month of `day`
            week_usd numeric NOT NULL DEFAULT 0,
            month_usd numeric NOT NULL DEFAULT 0,
            requests_level double precision,         -- of the rate limits' buckets at `rates_at`; NULL: full
            tokens_level double precision,
            rates_at double precision
        );
        CREATE TABLE key_changes (
            at double precision NOT NULL,
            actor text NOT NULL,
            action text NOT NULL,
            key_id text NOT NULL,
            changes text NOT NULL,
            rowid bigint GENERATED ALWAYS AS IDENTITY   -- their order, as SQLite's
        );
        CREATE TABLE replicas (
            id text PRIMARY KEY,
            host text NOT NULL,                      -- name and process
            expires_at timestamptz NOT NULL,
            batch bigint NOT NULL DEFAULT 0,         -- number of its last batch: a repeated one changes nothing
            swept boolean NOT NULL DEFAULT false     -- it was taken for dead, and its leases are booked as spent
        );
        CREATE TABLE leases (
            replica text NOT NULL,
            key_id text NOT NULL REFERENCES keys ON DELETE CASCADE,
            usd numeric NOT NULL,                    -- not spent yet
            booked_day bigint,                       -- on which it was booked as spent; NULL: it was not
            PRIMARY KEY (key_id, replica)
        );
        CREATE INDEX leases_replica ON leases (replica);
        CREATE TABLE sessions (
            id text PRIMARY KEY,
            turns bigint NOT NULL,
            at timestamptz NOT NULL DEFAULT now()
        );
        CREATE INDEX sessions_at ON sessions (at);
        CREATE TABLE decisions (
            trace_id text PRIMARY KEY,
            at double precision NOT NULL,
            key_id text,
            cascade text NOT NULL,
            model text NOT NULL,
            stage text,
            status text NOT NULL,
            error text,
            deferred bigint NOT NULL,
            confidence double precision,
            threshold double precision,
            cost_usd numeric,
            baseline_usd numeric,
            prompt_tokens bigint NOT NULL,
            completion_tokens bigint NOT NULL,
            seconds double precision NOT NULL,
            first_text_seconds double precision,
            streamed bigint NOT NULL,
            cached bigint NOT NULL,
            client_disconnected bigint NOT NULL,
            steps text NOT NULL,
            prompt text,
            answer text
        );
        CREATE INDEX decisions_at ON decisions (at);
        CREATE FUNCTION corea_key_changed() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            PERFORM pg_notify('corea', 'key ' || coalesce(NEW.id, OLD.id));
            RETURN NULL;
        END $$;
        CREATE TRIGGER keys_changed AFTER INSERT OR DELETE OR UPDATE OF
            id, name, hash, revoked_at, cascades, policy, role, group_id, budget_usd, budget_day_usd, budget_week_usd,
            budget_month_usd, requests_per_minute, tokens_per_minute
            ON keys FOR EACH ROW EXECUTE FUNCTION corea_key_changed();
        """
        + FUNCTIONS,
    ),
    # corea.gateway.audit: drawn questions, labels, and the detectors of each cascade
    Migration(
        """
        CREATE TABLE audits (
            trace_id TEXT PRIMARY KEY,
            at REAL NOT NULL,
            day INTEGER NOT NULL,              -- since 1970 (UTC), of the budget
            cascade TEXT NOT NULL,
            calibration TEXT,                  -- digest of the artefact that decided
            kept INTEGER NOT NULL,             -- 1: an earlier stage answered, and the last one was asked for the audit
            probability REAL NOT NULL,         -- of being drawn, whatever the question
            draw REAL NOT NULL,                -- uniform in [0, 1), below the probability
            state TEXT NOT NULL,               -- asked, done, failed, lost (in flight at the end), budget (not asked)
            reserved_usd TEXT NOT NULL,
            cost_usd TEXT,                     -- of the audit's own call
            differ INTEGER,                    -- NULL: cannot be compared
            settled INTEGER NOT NULL,          -- 1: the detector of labels has seen it
            facts TEXT NOT NULL,               -- JSON, without any text: cost, tokens, signals, models
            served TEXT,                       -- only where store_text is on, redacted
            reference TEXT                     -- likewise, the last stage's answer
        ) WITHOUT ROWID;
        CREATE INDEX audits_day ON audits (day);
        CREATE INDEX decisions_trace ON decisions (trace_id);
        CREATE TABLE labels (
            trace_id TEXT NOT NULL,
            source TEXT NOT NULL,
            at REAL NOT NULL,
            key_id TEXT,
            cascade TEXT NOT NULL,
            sampled INTEGER NOT NULL,          -- 1: by a reviewer, of a drawn question
            served REAL NOT NULL,              -- correctness of the answer that was served, in [0, 1]
            reference REAL,                    -- likewise of the last stage's answer
            PRIMARY KEY (trace_id, source)
        ) WITHOUT ROWID;
        CREATE TABLE monitors (
            cascade TEXT PRIMARY KEY,
            bounds TEXT NOT NULL,              -- that the detectors are for
            generation INTEGER NOT NULL,       -- one more at each acknowledgement
            since REAL NOT NULL,
            detectors TEXT NOT NULL,           -- JSON
            alarm TEXT,                        -- names of the detectors that have alarmed
            alarmed_at REAL,
            notified_at REAL,                  -- of the webhook
            acknowledged_at REAL               -- of the alarm before
        ) WITHOUT ROWID
        """,
        """
        CREATE TABLE audits (
            trace_id text PRIMARY KEY,
            at double precision NOT NULL,
            day bigint NOT NULL,
            cascade text NOT NULL,
            calibration text,
            kept bigint NOT NULL,
            probability double precision NOT NULL,
            draw double precision NOT NULL,
            state text NOT NULL,
            reserved_usd numeric NOT NULL,
            cost_usd numeric,
            differ bigint,
            settled bigint NOT NULL,
            facts text NOT NULL,
            served text,
            reference text
        );
        CREATE INDEX audits_day ON audits (day);
        CREATE TABLE labels (
            trace_id text NOT NULL,
            source text NOT NULL,
            at double precision NOT NULL,
            key_id text,
            cascade text NOT NULL,
            sampled bigint NOT NULL,
            served double precision NOT NULL,
            reference double precision,
            PRIMARY KEY (trace_id, source)
        );
        CREATE TABLE monitors (
            cascade text PRIMARY KEY,
            bounds text NOT NULL,
            generation bigint NOT NULL,
            since double precision NOT NULL,
            detectors text NOT NULL,
            alarm text,
            alarmed_at double precision,
            notified_at double precision,
            acknowledged_at double precision
        );
        """,
    ),
    # the audit of several servers; replica: the one that asks; batch: the last one that a server stored
    Migration(
        """
        ALTER TABLE audits ADD COLUMN replica TEXT;
        CREATE INDEX audits_asked ON audits (state) WHERE state = 'asked';
        CREATE TABLE audit_days (
            day INTEGER PRIMARY KEY,           -- since 1970 (UTC)
            spent_usd TEXT NOT NULL,           -- with the reserves of the calls in flight
            closed INTEGER NOT NULL            -- 1: the budget did not cover a question that was drawn
        );
        CREATE TABLE audit_batches (
            server TEXT PRIMARY KEY,           -- random, of a process
            batch INTEGER NOT NULL,
            at REAL NOT NULL
        ) WITHOUT ROWID
        """,
        """
        ALTER TABLE audits ADD COLUMN replica text;
        CREATE INDEX audits_asked ON audits (state) WHERE state = 'asked';
        CREATE TABLE audit_days (
            day bigint PRIMARY KEY,
            spent_usd numeric NOT NULL,
            closed bigint NOT NULL
        );
        CREATE TABLE audit_batches (
            server text PRIMARY KEY,
            batch bigint NOT NULL,
            at double precision NOT NULL
        );
        """,
    ),
)
