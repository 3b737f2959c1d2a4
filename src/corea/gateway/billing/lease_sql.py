"""Functions inside PostgreSQL that book, grant and take back leases: one call and one commit for a batch of requests.

Of every key, *spent + leased* is at most each of its budgets, at any time: a grant adds to leased, a cost moves from
leased to spent, a lease of a dead replica moves to spent as a whole. A function locks a replica's row first, then rows
of keys in the order of their ids, so no two of them wait for each other. Days are those of the database's clock, read
under the row's lock: a cost and the end of a day cannot overtake each other, and no replica's clock matters.
"""

FUNCTIONS = """
-- whether two days since 1970 are in the same week (from Monday) and month
CREATE FUNCTION corea_same_week(a bigint, b bigint) RETURNS boolean LANGUAGE sql IMMUTABLE AS
    'SELECT (a + 3) / 7 = (b + 3) / 7';
CREATE FUNCTION corea_same_month(a bigint, b bigint) RETURNS boolean LANGUAGE sql IMMUTABLE AS
    $$ SELECT date_trunc('month', date '1970-01-01' + a::int) = date_trunc('month', date '1970-01-01' + b::int) $$;

-- seconds since 1970; a function of its own, so that a test can set it
CREATE FUNCTION corea_clock() RETURNS double precision LANGUAGE sql VOLATILE AS
    'SELECT extract(epoch FROM clock_timestamp())::double precision';

-- a key, whose row this locks, with what was spent in the present day, week and month
CREATE FUNCTION corea_key(p_id text) RETURNS keys LANGUAGE plpgsql AS $$
DECLARE
    k keys;
    today bigint;
BEGIN
    SELECT * INTO k FROM keys WHERE id = p_id FOR UPDATE;
    today := greatest(k.day, floor(corea_clock() / 86400)::bigint);
    IF today > k.day THEN
        k.day_usd := 0;
        IF NOT corea_same_week(k.day, today) THEN k.week_usd := 0; END IF;
        IF NOT corea_same_month(k.day, today) THEN k.month_usd := 0; END IF;
        k.day := today;
    END IF;
    RETURN k;
END $$;

-- a key with more spent; on an earlier day where that is what is corrected
CREATE FUNCTION corea_spend(k keys, p_usd numeric, p_day bigint) RETURNS keys LANGUAGE plpgsql AS $$
BEGIN
    k.spent_usd := k.spent_usd + p_usd;
    IF p_day = k.day THEN k.day_usd := k.day_usd + p_usd; END IF;
    IF corea_same_week(p_day, k.day) THEN k.week_usd := k.week_usd + p_usd; END IF;
    IF corea_same_month(p_day, k.day) THEN k.month_usd := k.month_usd + p_usd; END IF;
    RETURN k;
END $$;

CREATE FUNCTION corea_store(k keys) RETURNS void LANGUAGE sql AS $$
    UPDATE keys SET spent_usd = k.spent_usd, leased_usd = k.leased_usd, tokens = k.tokens, requests = k.requests,
        day = k.day, day_usd = k.day_usd, week_usd = k.week_usd, month_usd = k.month_usd,
        requests_level = k.requests_level, tokens_level = k.tokens_level, rates_at = k.rates_at
    WHERE id = k.id
$$;

-- Units to grant of a bucket: what is needed, as far as they go, and some ahead.
CREATE FUNCTION corea_units(p_level double precision, p_per_minute bigint, p_need double precision, p_live bigint)
RETURNS double precision LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE
        WHEN p_per_minute IS NULL OR p_need <= 0 THEN p_need
        WHEN p_level < p_need THEN greatest(floor(p_level), 0)
        ELSE p_need + floor(least(p_per_minute / 60.0, (p_level - p_need) / (2 * p_live)))
    END
$$;

CREATE FUNCTION corea_refill(k keys, p_requests double precision, p_tokens double precision)
RETURNS keys LANGUAGE plpgsql AS $$
DECLARE
    now_at double precision := corea_clock();
    passed double precision := greatest(now_at - coalesce(k.rates_at, now_at), 0);
BEGIN
    k.requests_level := least(k.requests_per_minute, coalesce(k.requests_level, k.requests_per_minute)
        + passed * k.requests_per_minute / 60 + p_requests);
    k.tokens_level := least(k.tokens_per_minute, coalesce(k.tokens_level, k.tokens_per_minute)
        + passed * k.tokens_per_minute / 60 + p_tokens);
    IF k.requests_per_minute IS NULL THEN k.requests_level := NULL; END IF;
    IF k.tokens_per_minute IS NULL THEN k.tokens_level := NULL; END IF;
    k.rates_at := now_at;
    RETURN k;
END $$;

-- Books and grants a replica's batch. Of an entry: usd, tokens and requests were spent; back is returned of its lease,
-- need is wanted at least and want at most; done: nothing more will be spent of it. r_... are units of the rate limits.
CREATE FUNCTION corea_book(p_replica text, p_batch bigint, p_seconds double precision, p_entries json)
RETURNS json LANGUAGE plpgsql AS $$
DECLARE
    e record;
    k keys;
    l leases;
    r replicas;
    live bigint;
    again boolean;
    covered numeric;
    rest numeric;
    give numeric;
    requests_given double precision;
    tokens_given double precision;
    entries json[] := '{}';
BEGIN
    SELECT * INTO r FROM replicas WHERE id = p_replica FOR UPDATE;
    again := coalesce(p_batch <= r.batch, false);
    UPDATE replicas SET batch = greatest(batch, p_batch),
        expires_at = CASE WHEN swept THEN expires_at ELSE clock_timestamp() + make_interval(secs => p_seconds) END
        WHERE id = p_replica;
    SELECT greatest(count(*), 1) INTO live FROM replicas WHERE NOT swept;
    FOR e IN SELECT * FROM json_to_recordset(p_entries) AS x(key text, lease text, usd numeric, tokens bigint,
        requests bigint, back numeric, need numeric, want numeric, done boolean, r_requests double precision,
        r_tokens double precision, r_requests_back double precision, r_tokens_back double precision)
        ORDER BY key, lease
    LOOP
        k := corea_key(e.key);
        CONTINUE WHEN k.id IS NULL;
        SELECT * INTO l FROM leases WHERE key_id = e.key AND replica = e.lease;
        IF NOT FOUND THEN
            l.replica := e.lease; l.key_id := e.key; l.usd := 0; l.booked_day := NULL;
        END IF;
        requests_given := 0; tokens_given := 0; give := 0;
        IF NOT again THEN
            covered := least(l.usd, e.usd);
            l.usd := l.usd - covered;
            k.tokens := k.tokens + e.tokens;
            k.requests := k.requests + e.requests;
            IF l.booked_day IS NULL THEN
                k.leased_usd := k.leased_usd - covered;
                k := corea_spend(k, e.usd, k.day);
            ELSE
                k := corea_spend(k, e.usd - covered, k.day);
            END IF;
            rest := CASE WHEN e.done THEN l.usd ELSE least(e.back, l.usd) END;
            IF rest > 0 THEN
                l.usd := l.usd - rest;
                IF l.booked_day IS NULL THEN
                    k.leased_usd := k.leased_usd - rest;
                ELSE
                    k := corea_spend(k, -rest, l.booked_day);
                END IF;
            END IF;
            IF e.want > 0 AND NOT coalesce(r.swept, true) AND l.booked_day IS NULL AND NOT e.done THEN
                rest := least(k.budget_usd - k.spent_usd, k.budget_day_usd - k.day_usd,
                    k.budget_week_usd - k.week_usd, k.budget_month_usd - k.month_usd) - k.leased_usd;
                give := coalesce(greatest(least(rest, e.need), 0)
                    + trunc(greatest(least(e.want - e.need, (rest - e.need) / (2 * live)), 0), 12), e.want);
                l.usd := l.usd + give;
                k.leased_usd := k.leased_usd + give;
                IF give < e.need AND k.leased_usd > l.usd THEN
                    PERFORM pg_notify('corea', 'return ' || e.key);
                END IF;
            END IF;
            IF e.r_requests > 0 OR e.r_tokens > 0 OR e.r_requests_back <> 0 OR e.r_tokens_back <> 0 THEN
                k := corea_refill(k, e.r_requests_back, e.r_tokens_back);
                requests_given := corea_units(k.requests_level, k.requests_per_minute, e.r_requests, live);
                tokens_given := corea_units(k.tokens_level, k.tokens_per_minute, e.r_tokens, live);
                k.requests_level := k.requests_level - requests_given;
                k.tokens_level := k.tokens_level - tokens_given;
            END IF;
            PERFORM corea_store(k);
            IF l.usd > 0 THEN
                INSERT INTO leases VALUES (l.replica, l.key_id, l.usd, l.booked_day)
                    ON CONFLICT (key_id, replica) DO UPDATE SET usd = excluded.usd;
            ELSE
                DELETE FROM leases WHERE key_id = e.key AND replica = e.lease;
            END IF;
        END IF;
        entries := entries || json_build_object('key', e.key, 'lease', e.lease, 'left', l.usd::text,
            'spent', k.spent_usd::text, 'day', k.day_usd::text, 'week', k.week_usd::text, 'month', k.month_usd::text,
            'leased', k.leased_usd::text, 'requests', requests_given, 'tokens', tokens_given,
            'requests_level', k.requests_level, 'tokens_level', k.tokens_level);
    END LOOP;
    RETURN json_build_object('swept', coalesce(r.swept, true), 'now', corea_clock(), 'entries', array_to_json(entries));
END $$;

-- Books the leases of one replica that has not been heard of; what was booked, NULL: all are alive.
CREATE FUNCTION corea_sweep() RETURNS json LANGUAGE plpgsql AS $$
DECLARE
    r replicas;
    l leases;
    k keys;
    entries json[] := '{}';
BEGIN
    SELECT * INTO r FROM replicas WHERE NOT swept AND expires_at < clock_timestamp()
        ORDER BY expires_at LIMIT 1 FOR UPDATE SKIP LOCKED;
    IF NOT FOUND THEN RETURN NULL; END IF;
    UPDATE replicas SET swept = true WHERE id = r.id;
    FOR l IN SELECT * FROM leases WHERE replica = r.id AND booked_day IS NULL ORDER BY key_id LOOP
        k := corea_key(l.key_id);
        k.leased_usd := k.leased_usd - l.usd;
        k := corea_spend(k, l.usd, k.day);
        PERFORM corea_store(k);
        UPDATE leases SET booked_day = k.day WHERE key_id = l.key_id AND replica = l.replica;
        entries := entries || json_build_object('key', l.key_id, 'usd', l.usd::text);
    END LOOP;
    RETURN json_build_object('replica', r.id, 'host', r.host, 'entries', array_to_json(entries));
END $$;

-- Ends a replica: returns its leases.
CREATE FUNCTION corea_leave(p_replica text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    r replicas;
    l leases;
    k keys;
BEGIN
    SELECT * INTO r FROM replicas WHERE id = p_replica FOR UPDATE;
    FOR l IN SELECT * FROM leases WHERE replica = p_replica ORDER BY key_id LOOP
        k := corea_key(l.key_id);
        IF l.booked_day IS NULL THEN
            k.leased_usd := k.leased_usd - l.usd;
        ELSE
            k := corea_spend(k, -l.usd, l.booked_day);
        END IF;
        PERFORM corea_store(k);
    END LOOP;
    DELETE FROM leases WHERE replica = p_replica;
    DELETE FROM replicas WHERE id = p_replica;
END $$;

-- What dead replicas' leases of a key were booked with, and is corrected: this much of it was spent. The rest.
CREATE FUNCTION corea_correct(p_key text, p_spent numeric) RETURNS numeric LANGUAGE plpgsql AS $$
DECLARE
    l leases;
    k keys := corea_key(p_key);
    kept numeric := p_spent;
    freed numeric := 0;
    part numeric;
BEGIN
    FOR l IN SELECT * FROM leases WHERE key_id = p_key AND booked_day IS NOT NULL ORDER BY replica LOOP
        part := least(l.usd, kept);
        kept := kept - part;
        k := corea_spend(k, part - l.usd, l.booked_day);
        freed := freed + l.usd - part;
        DELETE FROM leases WHERE key_id = p_key AND replica = l.replica;
    END LOOP;
    PERFORM corea_store(k);
    RETURN freed;
END $$;
"""
