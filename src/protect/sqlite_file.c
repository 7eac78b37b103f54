/* The database as a file: created whole, recognised again, migrated. */
#include "protect/sqlite_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <unistd.h>

#define SCHEMA_VERSION 3
#define APPLICATION_ID 0x48465350 /* "HFSP" */
#define STRINGIFY_(x) #x
#define STRINGIFY(x) STRINGIFY_(x)

#define PAGE_BYTES 4096
/* The log of HF_SQLITE_CHECKPOINT_FRAMES pages, each with its header, and some room. */
#define WAL_BYTES ((off_t)(HF_SQLITE_CHECKPOINT_FRAMES + 64) * (PAGE_BYTES + 24))
#define FILL_CHUNK_BYTES 65536

/*
 * Migrations, in order; the n-th brings schema n to n + 1 and never changes once released.
 *
 * Several votes may share a target, and a root may be NULL: an import can bring what is
 * contradictory, and dropping a part of it would make the protection weaker. irregular_source is
 * NULL unless votes of the validator surround each other; then it is the highest source of them.
 *
 * Votes are keyed by target first: those of one batch then stand side by side on a few pages, which
 * is what a commit costs (docs/adr/0008-sqlite-layout.md). What is asked about one validator goes
 * from target to target.
 */
static const char *const migrations[SCHEMA_VERSION] = {
    "CREATE TABLE meta("
    "  id INTEGER PRIMARY KEY CHECK (id = 1),"
    "  store_id BLOB NOT NULL CHECK (length(store_id) = 16),"
    "  genesis_validators_root BLOB NOT NULL CHECK (length(genesis_validators_root) = 32),"
    "  high_slot INTEGER CHECK (high_slot >= 0),"
    "  high_target INTEGER CHECK (high_target >= 0)"
    ") STRICT;"
    "CREATE TABLE validators("
    "  id INTEGER PRIMARY KEY,"
    "  pubkey BLOB NOT NULL UNIQUE CHECK (length(pubkey) = 48),"
    "  floor_slot INTEGER CHECK (floor_slot >= 0),"
    "  floor_source INTEGER CHECK (floor_source >= 0),"
    "  floor_target INTEGER CHECK (floor_target >= 0),"
    "  irregular_source INTEGER CHECK (irregular_source >= 0),"
    "  CHECK ((floor_source IS NULL) = (floor_target IS NULL))"
    ") STRICT;"
    "CREATE TABLE blocks("
    "  validator_id INTEGER NOT NULL REFERENCES validators(id),"
    "  slot INTEGER NOT NULL CHECK (slot >= 0),"
    "  signing_root BLOB CHECK (length(signing_root) = 32),"
    "  PRIMARY KEY (validator_id, slot)"
    ") STRICT, WITHOUT ROWID;"
    "CREATE TABLE attestations("
    "  validator_id INTEGER NOT NULL REFERENCES validators(id),"
    "  target_epoch INTEGER NOT NULL CHECK (target_epoch >= 0),"
    "  source_epoch INTEGER NOT NULL CHECK (source_epoch >= 0),"
    "  signing_root BLOB CHECK (length(signing_root) = 32),"
    "  PRIMARY KEY (target_epoch, validator_id, source_epoch)"
    ") STRICT, WITHOUT ROWID;"
    "CREATE TABLE staged_validators("
    "  id INTEGER PRIMARY KEY,"
    "  pubkey BLOB NOT NULL UNIQUE CHECK (length(pubkey) = 48)"
    ") STRICT;"
    "CREATE TABLE staged_blocks("
    "  validator_id INTEGER NOT NULL REFERENCES staged_validators(id),"
    "  slot INTEGER NOT NULL CHECK (slot >= 0),"
    "  signing_root BLOB CHECK (length(signing_root) = 32),"
    "  conflict INTEGER NOT NULL DEFAULT 0,"
    "  PRIMARY KEY (validator_id, slot)"
    ") STRICT, WITHOUT ROWID;"
    "CREATE TABLE staged_attestations("
    "  validator_id INTEGER NOT NULL REFERENCES staged_validators(id),"
    "  target_epoch INTEGER NOT NULL CHECK (target_epoch >= 0),"
    "  source_epoch INTEGER NOT NULL CHECK (source_epoch >= 0),"
    "  signing_root BLOB CHECK (length(signing_root) = 32),"
    "  conflict INTEGER NOT NULL DEFAULT 0,"
    "  PRIMARY KEY (target_epoch, validator_id, source_epoch)"
    ") STRICT, WITHOUT ROWID;",
    /* 2: records (records.h) and the count of their changes. */
    "CREATE TABLE records("
    "  kind INTEGER NOT NULL CHECK (kind > 0),"
    "  id BLOB NOT NULL CHECK (length(id) = 48),"
    "  version INTEGER NOT NULL CHECK (version > 0),"
    "  data BLOB NOT NULL,"
    "  PRIMARY KEY (kind, id)"
    ") STRICT, WITHOUT ROWID;"
    "ALTER TABLE meta ADD COLUMN generation INTEGER NOT NULL DEFAULT 0 CHECK (generation >= 0);",
    /* 3: how far the store has come, floors for everyone, and where audit logs ended. A store that
     * was in use before has some lineage that nobody remembers; a new one has none. */
    "ALTER TABLE meta ADD COLUMN lineage BLOB CHECK (length(lineage) = 16);"
    "ALTER TABLE meta ADD COLUMN vote_id INTEGER NOT NULL DEFAULT 0 CHECK (vote_id >= 0);"
    "ALTER TABLE meta ADD COLUMN block_id INTEGER NOT NULL DEFAULT 0 CHECK (block_id >= 0);"
    "ALTER TABLE meta ADD COLUMN seen_unix_s INTEGER NOT NULL DEFAULT 0 CHECK (seen_unix_s >= 0);"
    "ALTER TABLE meta ADD COLUMN base_slot INTEGER CHECK (base_slot >= 0);"
    "ALTER TABLE meta ADD COLUMN base_source INTEGER CHECK (base_source >= 0);"
    "ALTER TABLE meta ADD COLUMN base_target INTEGER CHECK (base_target >= 0);"
    "UPDATE meta SET lineage = randomblob(16);"
    "CREATE TABLE anchors("
    "  log_id BLOB NOT NULL PRIMARY KEY CHECK (length(log_id) = 16),"
    "  seq INTEGER NOT NULL CHECK (seq >= 0),"
    "  mac BLOB NOT NULL CHECK (length(mac) = 32)"
    ") STRICT, WITHOUT ROWID;",
};

static hf_status read_number(sqlite3 *db, const char *pragma, int64_t *ret_value, hf_error *err)
{
    sqlite3_stmt *statement = NULL;
    int rc = sqlite3_prepare_v2(db, pragma, -1, &statement, NULL);
    if (rc == SQLITE_OK) {
        rc = sqlite3_step(statement);
    }
    if (rc == SQLITE_ROW) {
        *ret_value = sqlite3_column_int64(statement, 0);
    }
    (void)sqlite3_finalize(statement);
    return rc == SQLITE_ROW ? hf_ok() : hf_sqlite_fail(db, rc, "reading the schema version", err);
}

static hf_status apply_migration(sqlite3 *db, int64_t version, hf_error *err)
{
    char stamp[64];
    hf_status st = hf_sqlite_exec(db, "BEGIN IMMEDIATE", "migrating", err);
    if (hf_failed(st)) {
        return st;
    }
    st = hf_str_format(stamp, sizeof stamp, "PRAGMA user_version = %lld", (long long)version + 1);
    if (!hf_failed(st)) {
        st = hf_sqlite_exec(db, migrations[version], "migrating", err);
    }
    if (!hf_failed(st)) {
        st = hf_sqlite_exec(db, stamp, "migrating", err);
    }
    if (!hf_failed(st)) {
        st = hf_sqlite_exec(db, "COMMIT", "migrating", err);
    }
    if (hf_failed(st)) {
        (void)sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
    }
    return st;
}

hf_status hf_sqlite_migrate(sqlite3 *db, const char *path, hf_error *err)
{
    int64_t version = 0;
    int64_t application = 0;
    hf_status st = read_number(db, "PRAGMA application_id", &application, err);
    if (!hf_failed(st)) {
        st = read_number(db, "PRAGMA user_version", &version, err);
    }
    if (hf_failed(st)) {
        return st;
    }
    if (application != APPLICATION_ID) {
        return hf_fail(err, HF_CORRUPT, "%s: not a slashing protection database", path);
    }
    if (version > SCHEMA_VERSION) {
        return hf_fail(err, HF_CONFLICT, "%s: written by a newer version (schema %lld, known %d)",
                       path, (long long)version, SCHEMA_VERSION);
    }
    for (; version < SCHEMA_VERSION; version++) {
        st = apply_migration(db, version, err);
        if (hf_failed(st)) {
            return st;
        }
    }
    return hf_ok();
}

/* ---- creation ----------------------------------------------------------------------------- */

static hf_status insert_meta(sqlite3 *db, const uint8_t *root, hf_error *err)
{
    sqlite3_stmt *statement = NULL;
    int rc = sqlite3_prepare_v2(db,
                                "INSERT INTO meta(id, store_id, genesis_validators_root)"
                                " VALUES (1, randomblob(16), ?1)",
                                -1, &statement, NULL);
    if (rc == SQLITE_OK) {
        (void)sqlite3_bind_blob(statement, 1, root, HF_ROOT_BYTES, SQLITE_STATIC);
        rc = sqlite3_step(statement);
    }
    (void)sqlite3_finalize(statement);
    return rc == SQLITE_DONE ? hf_ok() : hf_sqlite_fail(db, rc, "creating the database", err);
}

static hf_status fill_new(const char *path, const hf_sqlite_config *config, hf_error *err)
{
    sqlite3 *db = NULL;
    hf_status st;
    int rc = sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL);
    if (rc != SQLITE_OK) {
        st = hf_sqlite_fail(db, rc, "creating the database", err);
        goto out;
    }
    st = hf_sqlite_exec(
        db,
        "PRAGMA page_size = " STRINGIFY(
            PAGE_BYTES) ";"
                        "PRAGMA application_id = " STRINGIFY(
                            APPLICATION_ID) ";"
                                            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;",
        "creating the database", err);
    if (!hf_failed(st)) {
        st = hf_sqlite_migrate(db, path, err);
    }
    if (!hf_failed(st)) {
        st = insert_meta(db, config->genesis_validators_root, err);
    }
    if (!hf_failed(st)) {
        /* The log goes into the file, so that the file alone is the database. */
        st = hf_sqlite_exec(db, "PRAGMA wal_checkpoint(TRUNCATE);", "creating the database", err);
    }
out:
    rc = sqlite3_close(db);
    if (rc != SQLITE_OK && !hf_failed(st)) {
        st = hf_sqlite_fail(NULL, rc, "creating the database", err);
    }
    return st;
}

static int sync_path(const char *path, int flags)
{
    int fd = open(path, flags | O_CLOEXEC);
    if (fd < 0) {
        return -1;
    }
    int r = fsync(fd);
    (void)close(fd);
    return r;
}

/* Puts the finished file in its place; never over another. */
static hf_status publish(const char *temp, const char *path, hf_error *err)
{
    char folder[HF_SQLITE_PATH_LEN];
    hf_status st = hf_str_copy(folder, sizeof folder, path);
    if (hf_failed(st)) {
        return hf_fail(err, st.code, "%s: path too long", path);
    }
    if (sync_path(temp, O_RDONLY) != 0 || link(temp, path) != 0 ||
        sync_path(dirname(folder), O_RDONLY | O_DIRECTORY) != 0) {
        return hf_fail(err, HF_IO, "%s: %s", path, strerror(errno));
    }
    return hf_ok();
}

hf_status hf_sqlite_create(const hf_sqlite_config *config, hf_error *err)
{
    char temp[HF_SQLITE_PATH_LEN];
    char wal[HF_SQLITE_PATH_LEN];
    struct stat info;
    hf_status st = hf_str_format(temp, sizeof temp, "%s.new", config->path);
    if (!hf_failed(st)) {
        st = hf_str_format(wal, sizeof wal, "%s-wal", config->path);
    }
    if (hf_failed(st)) {
        return hf_fail(err, st.code, "%s: path too long", config->path);
    }
    if (lstat(wal, &info) == 0) {
        return hf_fail(err, HF_CORRUPT,
                       "%s is missing, but its -wal is there: restore the database first",
                       config->path);
    }
    (void)unlink(temp);
    int fd = open(temp, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) {
        return hf_fail(err, HF_IO, "%s: %s", temp, strerror(errno));
    }
    (void)close(fd);
    st = fill_new(temp, config, err);
    if (!hf_failed(st)) {
        st = publish(temp, config->path, err);
    }
    (void)unlink(temp);
    return st;
}

/* ---- identity ----------------------------------------------------------------------------- */

static bool mark_of(const char *path, hf_file_mark *ret_mark)
{
    struct stat info;
    if (stat(path, &info) != 0 || info.st_nlink == 0) {
        return false;
    }
    uint64_t stamp =
        (uint64_t)info.st_mtim.tv_sec * HF_NS_PER_SECOND + (uint64_t)info.st_mtim.tv_nsec;
    *ret_mark = (hf_file_mark){true, info.st_dev, info.st_ino, info.st_size, stamp};
    return true;
}

void hf_sqlite_note_copying(const hf_sqlite *store)
{
    if (store->config.copying_ms != NULL) {
        int64_t now_ms = hf_time_unix_ms();
        atomic_store(store->config.copying_ms, now_ms > 0 ? (uint64_t)now_ms : 1);
    }
}

static bool same_file(const hf_file_mark *a, const hf_file_mark *b)
{
    return a->device == b->device && a->inode == b->inode;
}

hf_status hf_sqlite_mark_files(hf_sqlite *store, hf_error *err)
{
    int moved = 1;
    hf_file_mark file;
    hf_file_mark wal;
    if (!mark_of(store->config.path, &file) || !mark_of(store->wal_path, &wal) ||
        sqlite3_file_control(store->db, "main", SQLITE_FCNTL_HAS_MOVED, &moved) != SQLITE_OK ||
        moved != 0) {
        return hf_fail(err, HF_UNAVAILABLE, "%s was removed or replaced while it was opened",
                       store->config.path);
    }
    store->file = file;
    store->wal = wal;
    store->mark.file_stamp = file.stamp;
    return hf_ok();
}

hf_status hf_sqlite_check_files(hf_sqlite *store, bool after_commit, hf_error *err)
{
    const char *paths[] = {store->config.path, store->wal_path};
    hf_file_mark *marks[] = {&store->file, &store->wal};
    for (size_t i = 0; i < HF_ARRAY_LEN(paths); i++) {
        hf_file_mark seen;
        if (!mark_of(paths[i], &seen)) {
            return hf_fail(err, HF_UNAVAILABLE, "%s was removed: put it back", paths[i]);
        }
        if (!same_file(&seen, marks[i])) {
            return hf_fail(err, HF_UNAVAILABLE, "%s was replaced by another file", paths[i]);
        }
        /* Only this connection's own checkpoints may shorten the log. */
        if (!after_commit && seen.size < marks[i]->size) {
            return hf_fail(err, HF_UNAVAILABLE, "%s was cut short", paths[i]);
        }
        marks[i]->size = seen.size;
        if (after_commit) {
            marks[i]->stamp = seen.stamp;
        }
    }
    return hf_ok();
}

hf_status hf_sqlite_check_pair(const hf_sqlite *store, hf_error *err)
{
    hf_file_mark file;
    hf_file_mark wal;
    if (store->file.known && store->wal.known && mark_of(store->config.path, &file) &&
        mark_of(store->wal_path, &wal) && !same_file(&file, &store->file) &&
        same_file(&wal, &store->wal)) {
        return hf_fail(err, HF_CORRUPT,
                       "%s was replaced, but its -wal belongs to the old file: restore both",
                       store->config.path);
    }
    return hf_ok();
}

hf_status hf_sqlite_check_content(const hf_sqlite *store, hf_error *err)
{
    hf_file_mark file;
    if (mark_of(store->config.path, &file) && file.size == 0) {
        return hf_fail(err, HF_CORRUPT, "%s is empty: restore it", store->config.path);
    }
    return hf_ok();
}

/* ---- the log ------------------------------------------------------------------------------ */

/*
 * A commit that lengthens the log makes the file system write its journal as well and takes more
 * than twice as long. So the log gets its length at once, in zeros, which SQLite takes for no frame
 * (the page number of a frame is never zero). Only with the write lock held.
 */
void hf_sqlite_fill_wal(hf_sqlite *store)
{
    static const uint8_t zeros[FILL_CHUNK_BYTES];
    struct stat info;
    int fd = open(store->wal_path, O_WRONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0) {
        return;
    }
    bool filled = fstat(fd, &info) == 0;
    for (off_t at = info.st_size; filled && at < WAL_BYTES;) {
        size_t len = WAL_BYTES - at < FILL_CHUNK_BYTES ? (size_t)(WAL_BYTES - at) : sizeof zeros;
        ssize_t n = pwrite(fd, zeros, len, at);
        filled = n > 0;
        at += n > 0 ? n : 0;
    }
    /* A disk that has no room for it shall keep what it has for the records. */
    if (!filled || fsync(fd) != 0) {
        int rc = ftruncate(fd, info.st_size);
        (void)rc;
    }
    (void)close(fd);
}
