/*
 * What the file says about who may sign what: policies, limits, canary keys and the tags of
 * signing_keys, into one book. The words and their errors are src/policy's; here is where they
 * stand, so that each error names file, line and key.
 *
 *   policies: {NAME: [RULE...]}      or {NAME: {rules: [RULE...]}}
 *   limits: [LIMIT...]
 *   canary_keys: [KEY, {key: KEY, action: ACTION}...]
 *   signing_keys: [{tags: [TAG...]}...]
 */
#include "config_internal.h"

typedef struct book_reader {
    hf_book *book;
    const char *name; /* of the file, in errors */
    hf_error *err;
    hf_policy *policy; /* the one that is read: not yet in the book */
    hf_policy_rule *rule;
    hf_limit *limit;
    hf_canary canary; /* len 0: none is read */
    bool in_canary;
    bool has_action;
    hf_yaml_entry at; /* where the container that is read began */
} book_reader;

static hf_status refuse_at(const book_reader *r, const hf_yaml_entry *entry, const char *sentence)
{
    hf_origin origin = {.kind = HF_ORIGIN_FILE, .line = entry->line, .name = r->name};
    return hf_config_refuse(&origin, entry->path, r->err, "%s", sentence);
}

/* ---- ends of containers ------------------------------------------------------------------- */

static hf_status end_rule(book_reader *r)
{
    hf_error why = {0};
    hf_policy_rule *rule = r->rule;
    r->rule = NULL;
    if (rule != NULL && hf_failed(hf_policy_rule_finish(rule, &why))) {
        return refuse_at(r, &r->at, why.msg);
    }
    return hf_ok();
}

static hf_status end_policy(book_reader *r)
{
    hf_error why = {0};
    hf_policy *policy = r->policy;
    hf_status st = end_rule(r);
    if (hf_failed(st) || policy == NULL) {
        return st;
    }
    r->policy = NULL;
    hf_buf *bytes = hf_buf_new(HF_POLICY_MAX_BYTES);
    st = bytes == NULL ? (hf_status){HF_NOMEM} : hf_policy_encode(policy, bytes);
    hf_buf_free(bytes);
    if (hf_failed(st)) {
        hf_policy_free(policy);
        return refuse_at(r, &r->at, "the policy is too long: give keys a tag and name that");
    }
    st = hf_book_add_policy(r->book, policy, &why);
    return hf_failed(st) ? refuse_at(r, &r->at, why.msg) : st;
}

static hf_status end_limit(book_reader *r)
{
    hf_error why = {0};
    hf_limit *limit = r->limit;
    r->limit = NULL;
    if (limit != NULL && hf_failed(hf_limit_finish(limit, &why))) {
        return refuse_at(r, &r->at, why.msg);
    }
    return hf_ok();
}

static hf_status end_canary(book_reader *r)
{
    hf_error why = {0};
    bool was_read = r->in_canary;
    r->in_canary = false;
    if (!was_read) {
        return hf_ok();
    }
    if (r->canary.key.len == 0) {
        return refuse_at(r, &r->at, "the entry names no key");
    }
    if (hf_failed(hf_book_add_canary(r->book, &r->canary, &why))) {
        return refuse_at(r, &r->at, why.msg);
    }
    return hf_ok();
}

static hf_status end_all(book_reader *r)
{
    hf_status st = end_policy(r);
    if (!hf_failed(st)) {
        st = end_limit(r);
    }
    return hf_failed(st) ? st : end_canary(r);
}

/* ---- one entry after the other ------------------------------------------------------------ */

static bool is_scalar(const hf_yaml_entry *entry)
{
    return entry->kind == HF_YAML_SCALAR || entry->kind == HF_YAML_QUOTED;
}

/* "rules[2].keys[0]" after a dot: the member's name alone. */
static void member_of(const char *path, char out[HF_YAML_PATH_LEN])
{
    const char *dot = strrchr(path, '.');
    hf_str_cut(out, HF_YAML_PATH_LEN, dot == NULL ? path : dot + 1);
    out[strcspn(out, "[")] = '\0';
}

/* A member's value: one word, a list of words, or the list that is to come. */
static hf_status check_shape(const book_reader *r, const hf_yaml_entry *entry, bool is_known,
                             bool is_list)
{
    if (!is_known) {
        return refuse_at(r, entry, "unknown key");
    }
    if (entry->kind == HF_YAML_LIST && is_list) {
        return entry->children == 0 ? refuse_at(r, entry, "an empty list; remove the key, or \"*\"")
                                    : hf_ok();
    }
    bool is_item = hf_str_has_suffix(entry->path, "]");
    if (!is_scalar(entry) || (is_item && !is_list)) {
        return refuse_at(r, entry, is_list ? "a list of words is wanted" : "one word is wanted");
    }
    return hf_ok();
}

static hf_status take_rule_member(book_reader *r, const hf_yaml_entry *entry)
{
    char member[HF_YAML_PATH_LEN];
    hf_error why = {0};
    member_of(entry->path, member);
    hf_status st =
        check_shape(r, entry, hf_policy_member_is_known(member), hf_policy_member_is_list(member));
    if (!hf_failed(st) && is_scalar(entry) &&
        hf_failed(hf_policy_rule_put(r->rule, member, entry->text, &why))) {
        return refuse_at(r, entry, why.msg);
    }
    return st;
}

static hf_status begin_rule(book_reader *r, const hf_yaml_entry *entry)
{
    hf_error why = {0};
    hf_status st = end_rule(r);
    if (hf_failed(st)) {
        return st;
    }
    if (entry->kind != HF_YAML_MAP) {
        return refuse_at(r, entry,
                         "a rule is a mapping, such as {effect: allow, scopes: [status]}");
    }
    r->at = *entry;
    return hf_failed(hf_policy_add_rule(r->policy, &r->rule, &why)) ? refuse_at(r, entry, why.msg)
                                                                    : hf_ok();
}

static hf_status begin_policy(book_reader *r, const hf_yaml_entry *entry)
{
    hf_error why = {0};
    hf_status st = end_all(r);
    if (hf_failed(st)) {
        return st;
    }
    r->at = *entry;
    if (entry->kind != HF_YAML_LIST && entry->kind != HF_YAML_MAP) {
        return refuse_at(r, entry, "a policy is a list of rules");
    }
    const char *name = strrchr(entry->path, '.') + 1;
    return hf_failed(hf_policy_new(name, &r->policy, &why)) ? refuse_at(r, entry, why.msg)
                                                            : hf_ok();
}

/* Behind "policies": ".NAME", ".NAME[i]" or ".NAME.rules[i]", and members of that. */
static hf_status take_policy(book_reader *r, const hf_yaml_entry *entry, const char *rest)
{
    if (rest[0] == '\0') {
        bool fits = entry->kind == HF_YAML_MAP ||
                    (entry->kind == HF_YAML_LIST && entry->children == 0) ||
                    entry->kind == HF_YAML_NULL;
        return fits ? hf_ok()
                    : refuse_at(r, entry, "a mapping of names to lists of rules is wanted");
    }
    const char *behind = rest + 1 + strcspn(rest + 1, ".[");
    if (behind[0] == '\0') {
        return begin_policy(r, entry);
    }
    if (r->policy == NULL) {
        return refuse_at(r, entry, "a policy is a list of rules");
    }
    if (strncmp(behind, ".rules", strlen(".rules")) == 0) {
        behind += strlen(".rules");
        if (behind[0] == '\0') {
            return entry->kind == HF_YAML_LIST ? hf_ok()
                                               : refuse_at(r, entry, "a list of rules is wanted");
        }
    }
    if (behind[0] != '[') {
        return refuse_at(r, entry, "unknown key; a policy has rules");
    }
    const char *item = strchr(behind, ']') + 1;
    if (item[0] == '\0') {
        return begin_rule(r, entry);
    }
    return r->rule == NULL ? refuse_at(r, entry, "a rule is a mapping")
                           : take_rule_member(r, entry);
}

static hf_status begin_limit(book_reader *r, const hf_yaml_entry *entry)
{
    hf_status st = end_all(r);
    if (hf_failed(st)) {
        return st;
    }
    if (entry->kind != HF_YAML_MAP) {
        return refuse_at(r, entry, "a limit is a mapping, such as {exits: refuse}");
    }
    if (r->book->limit_count == HF_LIMITS_MAX) {
        return refuse_at(r, entry, "more limits than there is room for");
    }
    r->at = *entry;
    r->limit = &r->book->limits[r->book->limit_count++];
    hf_limit_init(r->limit);
    return hf_ok();
}

static hf_status take_limit(book_reader *r, const hf_yaml_entry *entry, const char *rest)
{
    char member[HF_YAML_PATH_LEN];
    hf_error why = {0};
    if (rest[0] != '[') {
        bool fits = rest[0] == '\0' && entry->kind == HF_YAML_LIST;
        return fits ? hf_ok() : refuse_at(r, entry, "a list of limits is wanted");
    }
    if (strchr(rest, ']')[1] == '\0') {
        return begin_limit(r, entry);
    }
    member_of(entry->path, member);
    hf_status st =
        check_shape(r, entry, hf_limit_member_is_known(member), hf_limit_member_is_list(member));
    if (!hf_failed(st) && is_scalar(entry) &&
        hf_failed(hf_limit_put(r->limit, member, entry->text, &why))) {
        return refuse_at(r, entry, why.msg);
    }
    return st;
}

static hf_status take_canary_member(book_reader *r, const hf_yaml_entry *entry)
{
    char member[HF_YAML_PATH_LEN];
    hf_error why = {0};
    member_of(entry->path, member);
    bool is_key = strcmp(member, "key") == 0;
    hf_status st = check_shape(r, entry, is_key || strcmp(member, "action") == 0, false);
    if (hf_failed(st)) {
        return st;
    }
    if (!is_key) {
        return hf_canary_action_parse(entry->text, &r->canary.action)
                   ? hf_ok()
                   : refuse_at(r, entry, "give one of: alert deny seal");
    }
    return hf_failed(hf_policy_key_parse(entry->text, &r->canary.key, &why))
               ? refuse_at(r, entry, why.msg)
               : hf_ok();
}

static hf_status take_canary(book_reader *r, const hf_yaml_entry *entry, const char *rest)
{
    hf_error why = {0};
    if (rest[0] != '[') {
        bool fits = rest[0] == '\0' && entry->kind == HF_YAML_LIST;
        return fits ? hf_ok() : refuse_at(r, entry, "a list of keys is wanted");
    }
    if (strchr(rest, ']')[1] != '\0') {
        return take_canary_member(r, entry);
    }
    hf_status st = end_all(r);
    if (hf_failed(st)) {
        return st;
    }
    r->at = *entry;
    r->canary = (hf_canary){.action = HF_CANARY_ALERT};
    r->in_canary = true;
    if (entry->kind == HF_YAML_MAP) {
        return hf_ok();
    }
    return !is_scalar(entry) || hf_failed(hf_policy_key_parse(entry->text, &r->canary.key, &why))
               ? refuse_at(r, entry, "a key, or a mapping such as {key: 0x..., action: deny}")
               : hf_ok();
}

/* Behind "signing_keys": "[i].tags" and "[i].tags[j]". */
static hf_status take_source_tag(book_reader *r, const hf_yaml_entry *entry, const char *rest)
{
    uint64_t index = 0;
    hf_status st = check_shape(r, entry, true, true);
    if (hf_failed(st) || !is_scalar(entry)) {
        return st;
    }
    if (hf_failed(hf_num_parse_u64(rest + 1, strcspn(rest + 1, "]"), &index)) ||
        index >= HF_BOOK_SOURCES_MAX) {
        return refuse_at(r, entry, "more sources of keys than there is room for");
    }
    hf_source_tags *source = &r->book->sources[index];
    if (!hf_policy_tag_is_valid(entry->text)) {
        return refuse_at(r, entry, "a tag has 1 to 31 letters, digits, _ and -");
    }
    if (source->count == HF_KEYSET_TAGS_MAX) {
        return refuse_at(r, entry, "more than 16 tags");
    }
    hf_str_cut(source->tags[source->count++].name, HF_POLICY_TAG_LEN, entry->text);
    return hf_ok();
}

/* ---- the whole ---------------------------------------------------------------------------- */

/* The rest of path behind a section's name, or NULL when it is not of that section. */
static const char *behind(const char *path, const char *section)
{
    size_t len = strlen(section);
    bool is_in = strncmp(path, section, len) == 0 && strchr(".[", path[len]) != NULL;
    return is_in ? path + len : NULL;
}

static bool is_source_tag(const char *rest)
{
    const char *member = strchr(rest, ']');
    return member != NULL && strncmp(member + 1, ".tags", strlen(".tags")) == 0 &&
           strchr("[", member[1 + strlen(".tags")]) != NULL;
}

bool hf_config_entry_is_of_book(const char *path)
{
    const char *source = behind(path, "signing_keys");
    return behind(path, "policies") != NULL || behind(path, "limits") != NULL ||
           behind(path, "canary_keys") != NULL || (source != NULL && is_source_tag(source));
}

static hf_status take_entry(book_reader *r, const hf_yaml_entry *entry)
{
    const char *rest = behind(entry->path, "policies");
    if (rest != NULL) {
        return take_policy(r, entry, rest);
    }
    rest = behind(entry->path, "limits");
    if (rest != NULL) {
        return take_limit(r, entry, rest);
    }
    rest = behind(entry->path, "canary_keys");
    return rest != NULL ? take_canary(r, entry, rest)
                        : take_source_tag(r, entry, behind(entry->path, "signing_keys"));
}

hf_status hf_config_read_book(const hf_yaml_doc *doc, const char *name, hf_book *book,
                              hf_error *err)
{
    book_reader r = {.book = book, .name = name, .err = err};
    hf_status st = hf_ok();
    for (size_t i = 0; i < doc->count && !hf_failed(st); i++) {
        if (hf_config_entry_is_of_book(doc->entries[i].path)) {
            st = take_entry(&r, &doc->entries[i]);
        }
    }
    if (!hf_failed(st)) {
        st = end_all(&r);
    }
    hf_policy_free(r.policy);
    return st;
}

/* What `holdfast policy apply` takes: policies: as above, or one policy as it is shown, a mapping
 * of name and rules. */
static hf_status read_policy_doc(const hf_yaml_doc *doc, const char *name, hf_book *book,
                                 hf_error *err)
{
    book_reader r = {.book = book, .name = name, .err = err};
    const hf_yaml_entry *named = NULL;
    hf_yaml_entry moved;
    hf_status st = hf_ok();
    for (size_t i = 0; i < doc->count; i++) {
        named = strcmp(doc->entries[i].path, "name") == 0 ? &doc->entries[i] : named;
    }
    for (size_t i = 0; i < doc->count && !hf_failed(st); i++) {
        const hf_yaml_entry *entry = &doc->entries[i];
        const char *rest = behind(entry->path, "policies");
        const char *rules = named == NULL ? NULL : behind(entry->path, "rules");
        moved = *entry;
        if (rules != NULL && !hf_failed(hf_str_format(moved.path, sizeof moved.path,
                                                      "policies.%.64s%s", named->text, rules))) {
            rest = behind(moved.path, "policies");
        }
        if (entry != named) {
            st = rest == NULL ? refuse_at(&r, entry,
                                          "unknown key; policies: {NAME: [RULE...]} is "
                                          "wanted, or name and rules")
                              : take_policy(&r, &moved, rest);
        }
    }
    if (!hf_failed(st)) {
        st = end_all(&r);
    }
    hf_policy_free(r.policy);
    return st;
}

hf_status hf_config_policy_file(const char *path, hf_book **ret_book, hf_error *err)
{
    hf_yaml_doc doc = {0};
    hf_status st = hf_yaml_read(path, path, &doc, err);
    if (hf_failed(st)) {
        return st;
    }
    hf_book *book = hf_book_new();
    st = book == NULL ? hf_fail(err, HF_NOMEM, "out of memory")
                      : read_policy_doc(&doc, path, book, err);
    hf_yaml_free(&doc);
    if (hf_failed(st)) {
        hf_book_free(book);
        return st;
    }
    *ret_book = book;
    return st;
}
