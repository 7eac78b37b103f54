/*
 * Inside config: one table drives the reading of the file, the environment and the flags, the
 * printing of the effective configuration, and the tests of the manual page.
 */
#ifndef HF_CONFIG_INTERNAL_H
#define HF_CONFIG_INTERNAL_H

#include "config/config.h"

/* ---- the YAML reader ---------------------------------------------------------------------- */

#define HF_YAML_MAX_BYTES 262144 /* a consensus client's config.yaml has about 10 KiB */
#define HF_YAML_MAX_DEPTH 8
#define HF_YAML_MAX_ENTRIES 1024
#define HF_YAML_MAX_KEY 64
#define HF_YAML_PATH_LEN 128

typedef enum hf_yaml_kind {
    HF_YAML_SCALAR, /* plain, as in: port: 9000 */
    HF_YAML_QUOTED, /* surely text */
    HF_YAML_NULL,   /* nothing behind the colon, ~ or null */
    HF_YAML_MAP,
    HF_YAML_LIST
} hf_yaml_kind;

/* One node; containers come before what they hold. path is "server.tls.cert", "signing_keys[2]". */
typedef struct hf_yaml_entry {
    hf_yaml_kind kind;
    uint32_t line;
    uint32_t children; /* of MAP and LIST */
    char path[HF_YAML_PATH_LEN];
    char text[HF_PATH_LEN];
} hf_yaml_entry;

typedef struct hf_yaml_doc {
    size_t count;
    hf_yaml_entry *entries;
} hf_yaml_doc;

/*
 * One document with a mapping (or nothing) at its top. No aliases, anchors, tags, second documents,
 * duplicates or keys that are not plain names. name stands in errors. The caller frees ret_doc.
 */
hf_status hf_yaml_parse(hf_bytes text, const char *name, hf_yaml_doc *ret_doc,
                        hf_error *err) HF_MUST_CHECK;
hf_status hf_yaml_read(const char *path, const char *name, hf_yaml_doc *ret_doc,
                       hf_error *err) HF_MUST_CHECK;
void hf_yaml_free(hf_yaml_doc *doc);

/* ---- values and where they came from ------------------------------------------------------ */

typedef enum hf_origin_kind {
    HF_ORIGIN_DEFAULT,
    HF_ORIGIN_FILE,
    HF_ORIGIN_ENVIRONMENT,
    HF_ORIGIN_FLAG
} hf_origin_kind;

typedef struct hf_origin {
    hf_origin_kind kind;
    uint32_t line; /* FILE */
    const char
        *name; /* FILE: the file; FLAG: "--listen"; ENVIRONMENT: none, it follows from the key */
} hf_origin;

typedef enum hf_value_type {
    HF_VALUE_PATH,      /* made absolute: against the file's folder, or the working directory */
    HF_VALUE_DATA_PATH, /* relative to data_dir */
    HF_VALUE_URL,       /* of a database; one with a password is refused */
    HF_VALUE_ADDRESS,   /* a numeric IPv4 or IPv6 address, or localhost */
    HF_VALUE_U16,
    HF_VALUE_U32,
    HF_VALUE_U64,
    HF_VALUE_BOOL,
    HF_VALUE_CHOICE,  /* uint8_t: the index among choices */
    HF_VALUE_NETWORK, /* a name or path; as a mapping, see network.c */
    HF_VALUE_TEXT,    /* as it is; most is the room for it with its NUL */
    HF_VALUE_MEMBER,  /* of network: and of signing_keys: kept as text, checked as a whole */
    HF_VALUE_LIST,    /* signing_keys itself */
    HF_VALUE_BOOK,    /* policies and the like: see policies.c */
    HF_VALUE_CUSTODY  /* a member of signing_keys for a back end of its own: see custody.c */
} hf_value_type;

enum {
    HF_KEY_SECRET = 1,     /* never printed */
    HF_KEY_RELOADABLE = 2, /* the file's content is read again while the signer runs */
    HF_KEY_NO_FILE = 4,    /* environment and flags only */
    HF_KEY_NO_ENV = 8,     /* the file only */
    HF_KEY_FILE_EXISTS = 16,
    HF_KEY_FILE_PRIVATE = 32
};

/* What a member for a back end of its own is. */
typedef enum hf_custody_value {
    HF_CUSTODY_VALUE_NONE = 0,
    HF_CUSTODY_VALUE_TEXT,
    HF_CUSTODY_VALUE_NUMBER,
    HF_CUSTODY_VALUE_URL, /* without a password */
    HF_CUSTODY_VALUE_FILE,
    HF_CUSTODY_VALUE_SECRET, /* a file that others cannot read */
    HF_CUSTODY_VALUE_FOLDER,
    HF_CUSTODY_VALUE_MAP, /* of any names; those that end with _file are of secrets */
    HF_CUSTODY_VALUE_LIST /* or one value */
} hf_custody_value;

typedef struct hf_config_key {
    const char *path;
    hf_value_type type;
    const char *fallback; /* the default as text; NULL: not set */
    size_t offset;        /* into hf_settings */
    uint64_t least;       /* numbers; for MEMBER of signing_keys unused */
    uint64_t most;
    const char *choices; /* "text json": in the order of the enum */
    const char *later;   /* choices that a later version will know */
    unsigned flags;
    const char *option; /* the command line's name, "--data-dir"; NULL when there is none */
    const char *help;   /* one sentence */
    uint8_t kind;       /* CUSTODY: hf_custody_value */
    uint32_t takes;     /* CUSTODY: which back ends, by bit */
    uint32_t needs;
} hf_config_key;

#define HF_KEY_COUNT_MAX 160

typedef struct hf_setting {
    hf_origin origin;
    bool is_set;
    char text[HF_PATH_LEN]; /* as given */
} hf_setting;

/* One entry of signing_keys as the file has it, before its members are checked together. */
typedef struct hf_source_draft {
    uint32_t line;
    char backend[32];
    char keystore_dir[HF_PATH_LEN];
    char password_file[HF_PATH_LEN];
    char password_dir[HF_PATH_LEN];
    char config_dir[HF_PATH_LEN];
    char key_file_dir[HF_PATH_LEN];
    hf_custody_settings custody; /* the members of a back end of its own, as given */
} hf_source_draft;

#define HF_SEAL_ENTRIES 2 /* pkcs11, awskms */

/* A network as it is put together from one or two sources; has[] by index of network.c's table. */
#define HF_NETWORK_MEMBERS 10
typedef struct hf_network_draft {
    hf_network network;
    bool has[HF_NETWORK_MEMBERS];
} hf_network_draft;

/* Everything while it is put together; config is what the caller gets in the end. */
typedef struct hf_settings {
    hf_config config;
    char file[HF_PATH_LEN]; /* as given; "" without one */
    char file_dir[HF_PATH_LEN];
    char work_dir[HF_PATH_LEN];
    hf_setting values[HF_KEY_COUNT_MAX]; /* by index into hf_config_keys */
    /* signing_keys, and behind them the entries of seal, which have custody alone */
    hf_source_draft sources[HF_KEY_SOURCES_MAX + HF_SEAL_ENTRIES];
    uint32_t source_count;
    char keystore_dir[HF_PATH_LEN]; /* of the flags or the environment */
    char password_file[HF_PATH_LEN];
    bool network_is_mapping;
    hf_network_draft network_draft;
    uint32_t network_line;
    hf_book *book;     /* owned */
    hf_buf *book_text; /* owned; policies, limits and canary keys as YAML; NULL without a file */
} hf_settings;

/* The back end that alone takes the key; HF_STORE_BACKEND_COUNT for most keys. */
hf_store_backend hf_config_key_owner(const char *path);
/* Does a database's URL or connection string hold a password? */
bool hf_config_url_has_password(const char *url);

extern const hf_config_key hf_config_keys[];
extern const size_t hf_config_key_count;

/* By path ("signing_keys[3].backend" finds "signing_keys[].backend"); NULL when unknown. */
const hf_config_key *hf_config_key_find(const char *path);
/* Does any key begin with path and a dot? */
bool hf_config_key_is_section(const char *path);
/* HOLDFAST_SERVER_LISTEN_PORT for server.listen_port. */
void hf_config_key_env_name(const hf_config_key *key, char *out, size_t out_len);
/* The known path nearest to a misspelt one, or NULL when none is near. */
const char *hf_config_key_suggest(const char *path);

/* Writes "FILE:LINE: key: ", "HOLDFAST_X: " or "--flag: " and the sentence; USAGE. */
hf_status hf_config_refuse(const hf_origin *origin, const char *path, hf_error *err,
                           const char *fmt, ...)
    __attribute__((format(printf, 4, 5))) HF_MUST_CHECK;

/* Parses text for the key and stores it with its origin. */
hf_status hf_config_set(hf_settings *settings, const hf_config_key *key, const char *text,
                        bool is_quoted, hf_origin origin, hf_error *err) HF_MUST_CHECK;
const hf_setting *hf_config_setting(const hf_settings *settings, const char *path);
/* Absolute, without looking at the disk. */
hf_status hf_config_absolute(const char *folder, const char *path, char out[HF_PATH_LEN],
                             hf_error *err) HF_MUST_CHECK;

/* ---- the parts of loading ----------------------------------------------------------------- */

/* Everything from all sources, unchecked as a whole. */
hf_status hf_config_gather(const hf_config_flags *flags, hf_settings *settings,
                           hf_error *err) HF_MUST_CHECK;
/* Puts a parsed file into settings. */
hf_status hf_config_apply_file(hf_settings *settings, const hf_yaml_doc *doc,
                               hf_error *err) HF_MUST_CHECK;
/* What only the whole can tell: files that must exist, listeners, keys, network. */
hf_status hf_config_finish(hf_settings *settings, const hf_config_flags *flags,
                           hf_error *err) HF_MUST_CHECK;

/* finish.c: "FILE:LINE: key: " and the sentence; USAGE. */
hf_status hf_config_refuse_key(const hf_settings *settings, const char *path, hf_error *err,
                               const char *what) HF_MUST_CHECK;

/* sources.c: signing_keys, and what else holds files. */
hf_status hf_config_finish_sources(hf_settings *settings, hf_error *err) HF_MUST_CHECK;
/* The same for a member of the entry at index. */
hf_status hf_config_refuse_source(const hf_settings *settings, size_t index, const char *member,
                                  hf_error *err, const char *what) HF_MUST_CHECK;
hf_status hf_config_check_readable(const char *path, bool is_folder, hf_error *why) HF_MUST_CHECK;
hf_status hf_config_check_private(const char *path, hf_error *why) HF_MUST_CHECK;

/* ---- custody.c: back ends in processes of their own ---------------------------------------- */

/* The row that a member of signing_keys or of seal belongs to: its own, or that of the mapping or
 * list it is in. NULL: none. */
const hf_config_key *hf_config_custody_key(const char *path);
/* Notes one value as the file has it. */
hf_status hf_config_custody_apply(hf_settings *settings, const hf_config_key *key,
                                  const hf_yaml_entry *entry, const hf_origin *origin,
                                  hf_error *err) HF_MUST_CHECK;
/* Checks the members of the entry at index of signing_keys and adds it to the back ends. */
hf_status hf_config_finish_custody(hf_settings *settings, size_t index, hf_key_backend backend,
                                   hf_error *err) HF_MUST_CHECK;
/* The same for the entries of seal. */
hf_status hf_config_finish_seal(hf_settings *settings, hf_error *err) HF_MUST_CHECK;
/* The process for those of a folder's key files that name a server. */
hf_status hf_config_add_key_servers(hf_settings *settings, size_t index,
                                    hf_error *err) HF_MUST_CHECK;
/* "pkcs11" and "awskms", and what they are. */
const char *hf_config_seal_entry(size_t i, hf_key_backend *ret_backend);
/* No member of a back end in an entry that is none. */
hf_status hf_config_check_no_custody(const hf_settings *settings, size_t index,
                                     hf_error *err) HF_MUST_CHECK;
/* seal, as YAML; nothing when it is not there. */
hf_status hf_config_print_seal(const hf_settings *settings, hf_buf *out) HF_MUST_CHECK;
/* The members of back end number i, as YAML. */
hf_status hf_config_print_custody(const hf_settings *settings, size_t i, hf_buf *out) HF_MUST_CHECK;

/* audit.c: the settings of the audit log, and this node's name in it. */
hf_status hf_config_finish_audit(hf_settings *settings, hf_error *err) HF_MUST_CHECK;
/* eth1.c: the chain id of the network, where none is given; the node. */
hf_status hf_config_finish_eth1(hf_settings *settings, hf_error *err) HF_MUST_CHECK;

/* Every key with its value and origin, as YAML. */
hf_status hf_config_print(const hf_settings *settings, hf_buf *out) HF_MUST_CHECK;

/* ---- policies.c --------------------------------------------------------------------------- */

/* Is this node one of those that hf_config_read_book reads? */
bool hf_config_entry_is_of_book(const char *path);
hf_status hf_config_read_book(const hf_yaml_doc *doc, const char *name, hf_book *book,
                              hf_error *err) HF_MUST_CHECK;

/* book_text.c: keeps what the file says of policies, limits and canary keys, for hf_config_print.
 */
hf_status hf_config_keep_book_text(hf_settings *settings, const hf_yaml_doc *doc,
                                   hf_error *err) HF_MUST_CHECK;

/* ---- networks ----------------------------------------------------------------------------- */

void hf_network_draft_init(hf_network_draft *draft);
/*
 * Takes the nodes of doc beneath prefix ("network." or ""). Lower-case names are Holdfast's and
 * must be known; upper-case ones are a consensus client's, of which most are passed over.
 */
hf_status hf_network_draft_apply(hf_network_draft *draft, const hf_yaml_doc *doc,
                                 const char *prefix, const char *name, hf_error *err) HF_MUST_CHECK;
/* The same from a file, and from genesis_validators_root.txt beside it where there is one. */
hf_status hf_network_draft_apply_file(hf_network_draft *draft, const char *path,
                                      hf_error *err) HF_MUST_CHECK;
/* 32 bytes in hex; CONFLICT when the draft has another root already. */
hf_status hf_network_draft_root(hf_network_draft *draft, const char *hex,
                                hf_error *err) HF_MUST_CHECK;
/* Nothing that signing needs may be missing: NOT_FOUND names what is. */
hf_status hf_network_draft_finish(hf_network_draft *draft, hf_network *ret_network,
                                  hf_error *err) HF_MUST_CHECK;

/* By name, or by a path that is absolute here; root may be NULL. */
hf_status hf_network_resolve(const char *text, const char *path, const char *root,
                             hf_network *ret_network, hf_error *err) HF_MUST_CHECK;
/* Without a configured network: the known one with this root, or an unnamed one. */
hf_status hf_network_from_root(const char *root, hf_network *ret_network, bool *ret_is_partial,
                               hf_error *err) HF_MUST_CHECK;
bool hf_network_text_is_path(const char *text);

#endif
