/*
 * The schema of the shared store, and how it is made, shown and removed.
 *
 * Web3Signer's tables of version 12 (names, types, constraints, triggers and functions are its
 * interface, since it may run on the same database); and our own beside them, which it ignores:
 *   holdfast_schema  which version of ours is there, and since which one programs can use it
 *   holdfast_votes   votes of imports that its table has no room for, because another vote has the
 *                    same target, or that contradict themselves (source after target)
 *   holdfast_records records (records.h), since version 2; kind 0 counts the changes of all others
 *   holdfast_marks   how many votes and blocks were recorded, since version 3: the sum of its rows,
 *                    one for each connection, so that none waits for another
 *   holdfast_store   which life of which database, and floors of everyone, since version 3
 *   holdfast_anchors where the audit log of each node ended, since version 3
 */
#include "protect/postgres_internal.h"

#include <inttypes.h>

/* How long a node waits for another one that migrates. */
#define MIGRATE_DEADLINE_MS 60000

static const char *const make_peer[] = {
    "CREATE TABLE validators (id serial PRIMARY KEY, public_key bytea NOT NULL UNIQUE,"
    " enabled boolean NOT NULL DEFAULT true)",
    "CREATE TABLE signed_blocks (validator_id integer NOT NULL REFERENCES validators(id),"
    " slot numeric(20) NOT NULL, signing_root bytea, id bigserial PRIMARY KEY,"
    " CONSTRAINT unique_signed_block UNIQUE (validator_id, slot))",
    "CREATE TABLE signed_attestations (validator_id integer REFERENCES validators(id),"
    " source_epoch numeric(20) NOT NULL, target_epoch numeric(20) NOT NULL, signing_root bytea,"
    " id bigserial PRIMARY KEY,"
    " CONSTRAINT unique_signed_attestation UNIQUE (validator_id, target_epoch))",
    "CREATE INDEX signed_attestations_validator_id_target_epoch_idx"
    " ON signed_attestations (validator_id, target_epoch)",
    "CREATE INDEX signed_blocks_validator_id_slot_idx ON signed_blocks (validator_id, slot)",
    "CREATE TABLE low_watermarks (validator_id integer NOT NULL UNIQUE REFERENCES validators(id),"
    " slot numeric(20), target_epoch numeric(20), source_epoch numeric(20),"
    " CONSTRAINT both_epochs_set_or_null CHECK ((target_epoch IS NOT NULL AND source_epoch IS NOT"
    " NULL) OR (target_epoch IS NULL AND source_epoch IS NULL)))",
    "CREATE TABLE metadata (id integer PRIMARY KEY, genesis_validators_root bytea NOT NULL,"
    " high_watermark_epoch numeric(20), high_watermark_slot numeric(20))",
    "CREATE TABLE database_version (id integer PRIMARY KEY, version integer NOT NULL)",

    "CREATE FUNCTION upsert_validators(_vals bytea[])"
    " RETURNS TABLE (v_id integer, v_public_key bytea) LANGUAGE plpgsql AS $$\n"
    "BEGIN\n"
    "  INSERT INTO validators AS f (public_key)\n"
    "    SELECT DISTINCT t.k FROM unnest(_vals) t(k)\n"
    "    WHERE NOT EXISTS (SELECT FROM validators e WHERE e.public_key = t.k) ORDER BY t.k\n"
    "    ON CONFLICT ON CONSTRAINT validators_public_key_key DO UPDATE\n"
    "    SET public_key = f.public_key;\n"
    "  RETURN QUERY SELECT v.id, v.public_key\n"
    "    FROM unnest(_vals) WITH ORDINALITY t(k, n) JOIN validators v ON v.public_key = t.k\n"
    "    ORDER BY t.n;\n"
    "END $$",
    "CREATE FUNCTION check_high_watermarks() RETURNS trigger LANGUAGE plpgsql AS $$\n"
    "BEGIN\n"
    "  IF NEW.high_watermark_slot <= (SELECT max(slot) FROM low_watermarks) THEN\n"
    "    RAISE EXCEPTION 'high_watermark_slot must be greater than every slot in low_watermarks';\n"
    "  END IF;\n"
    "  IF NEW.high_watermark_epoch <= (SELECT greatest(max(target_epoch), max(source_epoch))\n"
    "      FROM low_watermarks) THEN\n"
    "    RAISE EXCEPTION 'high_watermark_epoch must be greater than every epoch in"
    " low_watermarks';\n"
    "  END IF;\n"
    "  RETURN NEW;\n"
    "END $$",
    "CREATE TRIGGER check_before_insert_or_update_high_watermarks BEFORE INSERT OR UPDATE"
    " ON metadata FOR EACH ROW EXECUTE FUNCTION check_high_watermarks()",
    "CREATE FUNCTION check_low_watermarks() RETURNS trigger LANGUAGE plpgsql AS $$\n"
    "DECLARE\n"
    "  high_slot numeric(20);\n"
    "  high_epoch numeric(20);\n"
    "BEGIN\n"
    "  SELECT min(high_watermark_slot), min(high_watermark_epoch) INTO high_slot, high_epoch\n"
    "    FROM metadata;\n"
    "  IF NEW.slot > high_slot THEN\n"
    "    RAISE EXCEPTION 'a low watermark slot must not be above high_watermark_slot';\n"
    "  END IF;\n"
    "  IF NEW.source_epoch > high_epoch OR NEW.target_epoch > high_epoch THEN\n"
    "    RAISE EXCEPTION 'a low watermark epoch must not be above high_watermark_epoch';\n"
    "  END IF;\n"
    "  RETURN NEW;\n"
    "END $$",
    "CREATE TRIGGER check_before_insert_or_update_low_watermarks BEFORE INSERT OR UPDATE"
    " ON low_watermarks FOR EACH ROW EXECUTE FUNCTION check_low_watermarks()",
    "INSERT INTO database_version(id, version) VALUES (1, 12)",
    NULL,
};

static const char *const make_own[] = {
    "CREATE TABLE holdfast_schema (name text PRIMARY KEY, version integer NOT NULL,"
    " readable_from integer NOT NULL, made_all boolean NOT NULL)",
    "CREATE TABLE holdfast_votes (validator_id integer NOT NULL REFERENCES validators(id),"
    " target_epoch numeric(20) NOT NULL, source_epoch numeric(20) NOT NULL,"
    " PRIMARY KEY (validator_id, target_epoch, source_epoch))",
    /* Deciding looks for sources above a vote's among targets above it; these are elsewhere. */
    "INSERT INTO holdfast_votes(validator_id, target_epoch, source_epoch)"
    " SELECT validator_id, target_epoch, source_epoch FROM signed_attestations"
    " WHERE source_epoch > target_epoch",
    NULL,
};

static const char *const make_records[] = {
    "CREATE TABLE holdfast_records (kind integer NOT NULL CHECK (kind >= 0),"
    " id bytea NOT NULL CHECK (length(id) = 48), version bigint NOT NULL CHECK (version > 0),"
    " data bytea NOT NULL, PRIMARY KEY (kind, id))",
    "INSERT INTO holdfast_records VALUES (0, decode(repeat('00', 48), 'hex'), 1, '')",
    "UPDATE holdfast_schema SET version = 2 WHERE name = 'slashing'",
    NULL,
};

static const char *const make_marks[] = {
    /* Room for new versions of its rows beside the old ones. */
    "CREATE TABLE holdfast_marks (slot integer PRIMARY KEY, votes bigint NOT NULL DEFAULT 0,"
    " blocks bigint NOT NULL DEFAULT 0, seen bigint NOT NULL DEFAULT 0) WITH (fillfactor = 20)",
    "INSERT INTO holdfast_marks(slot) SELECT generate_series(0, " HF_PG_MARK_ROWS ")",
    "CREATE TABLE holdfast_store (id integer PRIMARY KEY CHECK (id = 1),"
    " lineage bytea NOT NULL CHECK (length(lineage) = 16), floor_slot bigint, floor_source bigint,"
    " floor_target bigint)",
    "INSERT INTO holdfast_store(id, lineage) SELECT 1, decode(md5(concat(random(),"
    " clock_timestamp(), pg_backend_pid(), txid_current(), random())), 'hex')",
    "CREATE TABLE holdfast_anchors (log_id bytea PRIMARY KEY CHECK (length(log_id) = 16),"
    " seq bigint NOT NULL CHECK (seq >= 0), mac bytea NOT NULL CHECK (length(mac) = 32))",
    "UPDATE holdfast_schema SET version = 3 WHERE name = 'slashing'",
    NULL,
};

static const char *const drop_own[] = {"DROP TABLE IF EXISTS holdfast_records",
                                       "DROP TABLE IF EXISTS holdfast_marks, holdfast_store",
                                       "DROP TABLE IF EXISTS holdfast_anchors",
                                       "DROP TABLE holdfast_votes",
                                       "DROP TABLE holdfast_schema",
                                       NULL};

static const char *const drop_peer[] = {
    "DROP TABLE low_watermarks, signed_blocks, signed_attestations",
    "DROP TABLE validators, metadata, database_version",
    "DROP FUNCTION upsert_validators(bytea[])",
    "DROP FUNCTION check_high_watermarks()",
    "DROP FUNCTION check_low_watermarks()",
    NULL,
};

/* ---- steps -------------------------------------------------------------------------------- */

/* One node at a time from here to COMMIT; the others wait. */
static hf_status begin_alone(hf_pg_link *link, hf_error *err)
{
    char lock[96];
    char wait[64];
    hf_status st = hf_str_format(lock, sizeof lock, "SELECT pg_advisory_xact_lock(%" PRId64 ")",
                                 HF_PG_LOCK_MIGRATE);
    if (!hf_failed(st)) {
        st = hf_str_format(wait, sizeof wait, "SET LOCAL lock_timeout = %d", MIGRATE_DEADLINE_MS);
    }
    const char *const texts[] = {"BEGIN ISOLATION LEVEL READ COMMITTED", wait,
                                 "SET LOCAL statement_timeout = 0", lock, NULL};
    return hf_failed(st) ? st : hf_pg_script(link, texts, err);
}

static hf_status commit(hf_pg_link *link, hf_error *err)
{
    return hf_pg_query(link, "COMMIT", NULL, err);
}

static hf_status make_missing(hf_pg_link *link, const hf_pg_schema *schema, hf_error *err)
{
    hf_status st = hf_ok();
    if (!schema->peer_present) {
        st = hf_pg_script(link, make_peer, err);
    }
    if (!hf_failed(st) && !schema->own_present) {
        st = hf_pg_script(link, make_own, err);
        if (!hf_failed(st)) {
            st = hf_pg_query(link,
                             schema->peer_present
                                 ? "INSERT INTO holdfast_schema VALUES ('slashing', 1, 1, false)"
                                 : "INSERT INTO holdfast_schema VALUES ('slashing', 1, 1, true)",
                             NULL, err);
        }
    }
    if (!hf_failed(st) && schema->own_version < HF_PG_OWN_WITH_RECORDS) {
        st = hf_pg_script(link, make_records, err);
    }
    if (!hf_failed(st) && schema->own_version < HF_PG_OWN_WITH_MARKS) {
        st = hf_pg_script(link, make_marks, err);
    }
    return st;
}

hf_status hf_pg_migrate_up(hf_pg_link *link, hf_error *err)
{
    hf_pg_schema schema;
    hf_status st = begin_alone(link, err);
    if (!hf_failed(st)) {
        st = hf_pg_read_schema(link, &schema, err);
    }
    if (!hf_failed(st) && hf_pg_needs_migration(&schema)) {
        /* A version that we do not know gets nothing of ours either. */
        st = schema.peer_present && schema.peer_version != HF_PG_PEER_VERSION
                 ? hf_pg_check_schema(&schema, err)
                 : make_missing(link, &schema, err);
    }
    if (!hf_failed(st)) {
        st = commit(link, err);
    } else {
        hf_pg_disconnect(link);
    }
    return st;
}

/* ---- holdfast db migrate ------------------------------------------------------------------ */

hf_status hf_pg_connect_for_work(hf_pg_link *link, const char *url, hf_error *err)
{
    link->deadline_ns = hf_time_mono_ns() + MIGRATE_DEADLINE_MS * HF_NS_PER_MS;
    hf_status st = hf_pg_check_url(url, err);
    if (!hf_failed(st)) {
        st = hf_pg_connect(link, url, err);
    }
    return hf_failed(st) ? st : hf_pg_set_session(link, MIGRATE_DEADLINE_MS, false, err);
}

/* What going down would lose, counted where it can be reached. */
static hf_status count_records(hf_pg_link *link, const hf_pg_schema *schema, uint64_t *ret_count,
                               hf_error *err)
{
    const char *text =
        schema->peer_is_ours
            ? "SELECT (SELECT count(*) FROM signed_blocks) + (SELECT count(*) FROM"
              " signed_attestations) + (SELECT count(*) FROM low_watermarks)"
              " + (SELECT count(*) FROM holdfast_votes) + (SELECT count(*) FROM metadata"
              " WHERE high_watermark_slot IS NOT NULL OR high_watermark_epoch IS NOT NULL)"
            : "SELECT count(*) FROM holdfast_votes";
    if (!schema->own_present) {
        *ret_count = 0;
        return hf_ok();
    }
    hf_status st = hf_pg_query(link, text, NULL, err);
    if (hf_failed(st)) {
        return st;
    }
    *ret_count = (uint64_t)hf_pg_i64(hf_pg_result(link, 0), 0, 0, 0);
    if (schema->own_version >= HF_PG_OWN_WITH_RECORDS) {
        st = hf_pg_query(link, "SELECT count(*) FROM holdfast_records WHERE kind <> 0", NULL, err);
        if (!hf_failed(st)) {
            *ret_count += (uint64_t)hf_pg_i64(hf_pg_result(link, 0), 0, 0, 0);
        }
    }
    return st;
}

static hf_status describe(hf_pg_link *link, hf_postgres_schema *ret_schema, hf_error *err)
{
    hf_pg_schema found;
    uint64_t records = 0;
    hf_status st = hf_pg_read_schema(link, &found, err);
    if (!hf_failed(st)) {
        st = count_records(link, &found, &records, err);
    }
    if (!hf_failed(st)) {
        *ret_schema =
            (hf_postgres_schema){.version = found.own_version,
                                 .latest = HF_PG_OWN_VERSION,
                                 .peer_version = found.peer_version,
                                 .made_by_peer = found.peer_present && !found.peer_is_ours,
                                 .records = records};
    }
    return st;
}

hf_status hf_postgres_migrate_status(const char *url, hf_postgres_schema *ret_schema, hf_error *err)
{
    hf_pg_link link = {0};
    hf_status st = hf_pg_connect_for_work(&link, url, err);
    if (!hf_failed(st)) {
        st = describe(&link, ret_schema, err);
    }
    hf_pg_disconnect(&link);
    return st;
}

hf_status hf_postgres_migrate_up(const char *url, hf_postgres_schema *ret_schema, hf_error *err)
{
    hf_pg_link link = {0};
    hf_pg_schema found;
    hf_status st = hf_pg_connect_for_work(&link, url, err);
    if (!hf_failed(st)) {
        st = hf_pg_migrate_up(&link, err);
    }
    if (!hf_failed(st)) {
        st = hf_pg_read_schema(&link, &found, err);
    }
    if (!hf_failed(st)) {
        st = hf_pg_check_schema(&found, err);
    }
    if (!hf_failed(st)) {
        st = describe(&link, ret_schema, err);
    }
    hf_pg_disconnect(&link);
    return st;
}

static hf_status drop(hf_pg_link *link, const hf_pg_schema *found, bool discard_protection,
                      hf_error *err)
{
    uint64_t records = 0;
    hf_status st = hf_ok();
    if (found->peer_is_ours) {
        st = hf_pg_query(link,
                         "LOCK TABLE signed_blocks, signed_attestations, low_watermarks, metadata,"
                         " holdfast_votes IN ACCESS EXCLUSIVE MODE",
                         NULL, err);
    }
    if (!hf_failed(st)) {
        st = count_records(link, found, &records, err);
    }
    if (!hf_failed(st) && records > 0 && !discard_protection) {
        return hf_fail(err, HF_CONFLICT,
                       "that would forget %" PRIu64
                       " records of what was signed, of keys or tokens: export them first, and say"
                       " --discard-protection if that is what you mean",
                       records);
    }
    if (!hf_failed(st)) {
        st = hf_pg_script(link, drop_own, err);
    }
    if (!hf_failed(st) && found->peer_is_ours) {
        st = hf_pg_script(link, drop_peer, err);
    }
    return st;
}

hf_status hf_postgres_migrate_down(const char *url, bool discard_protection,
                                   hf_postgres_schema *ret_schema, hf_error *err)
{
    hf_pg_link link = {0};
    hf_pg_schema found;
    hf_status st = hf_pg_connect_for_work(&link, url, err);
    if (!hf_failed(st)) {
        st = begin_alone(&link, err);
    }
    if (!hf_failed(st)) {
        st = hf_pg_read_schema(&link, &found, err);
    }
    if (!hf_failed(st) && found.own_present) {
        st = drop(&link, &found, discard_protection, err);
    }
    if (!hf_failed(st)) {
        st = commit(&link, err);
    }
    if (!hf_failed(st)) {
        st = describe(&link, ret_schema, err);
    }
    hf_pg_disconnect(&link);
    return st;
}
