/* Secrets of a cloud: a token, pages of names, and each secret, in batches. */
#include "crypto/crypto.h"
#include "custody/cloud_internal.h"
#include "custody/secret_text.h"

#define ANSWER_MAX (4U << 20)
#define SECRET_MAX (1U << 20)
#define SECRETS_MAX 100000
#define PAGES_MAX 10000
#define BATCH 32
#define REQUEST_NS (10 * HF_NS_PER_SECOND)
/* Rounds without an answer until the service counts as down, and the pauses between them. */
#define IDLE_ROUNDS 5
#define PAUSE_FIRST_NS (200 * HF_NS_PER_MS)
#define SLICE_NS (900 * HF_NS_PER_MS)
/* A token this near its end is not used any more. */
#define MARGIN_NS (60 * HF_NS_PER_SECOND)
#define DETAIL_TEXT 120

typedef struct round_state {
    hf_net_exchange exchanges[BATCH];
    hf_buf *urls[BATCH];
    size_t count;
    char authorization[HF_CLOUD_BEARER_LEN + 32];
} round_state;

/* ---- what an answer means ------------------------------------------------------------------- */

static hf_status judge(const hf_cloud *cloud, const hf_net_exchange *exchange, hf_error *err)
{
    const char *name = cloud->flavour->name;
    if (hf_failed(exchange->result)) {
        return hf_fail(err, HF_UNAVAILABLE, "%s: %s", name, exchange->detail);
    }
    long status = exchange->http_status;
    if (status == 200) {
        return hf_ok();
    }
    json_t *json = hf_secret_json_parse(exchange->answer);
    json_t *error = json_object_get(json, "error");
    const char *text = json_string_value(json_object_get(error, "message"));
    text = text != NULL ? text : json_string_value(json_object_get(json, "error_description"));
    char clean[DETAIL_TEXT];
    hf_str_sanitize(clean, sizeof clean, text != NULL ? text : "no reason given");
    json_decref(json);
    bool is_refused = status == 400 || status == 401 || status == 403;
    return hf_fail(err,
                   status == 404 ? HF_NOT_FOUND
                   : is_refused  ? HF_DENIED
                                 : HF_UNAVAILABLE,
                   "%s answered %ld: %s", name, status, clean);
}

static void pause_before(unsigned attempt, uint64_t deadline_ns)
{
    uint64_t left_ns = PAUSE_FIRST_NS << attempt;
    uint64_t now_ns = hf_time_mono_ns();
    uint64_t most_ns = deadline_ns > now_ns ? deadline_ns - now_ns : 0;
    left_ns = left_ns < most_ns ? left_ns : most_ns;
    while (left_ns > 0) {
        uint64_t slice = left_ns < SLICE_NS ? left_ns : SLICE_NS;
        hf_time_sleep_ns(slice);
        left_ns -= slice;
    }
}

static void run(hf_cloud *cloud, hf_net_exchange *exchanges, size_t n, uint64_t deadline_ns)
{
    uint64_t latest_ns = hf_time_mono_ns() + REQUEST_NS;
    hf_net_run(cloud->net, exchanges, n, latest_ns < deadline_ns ? latest_ns : deadline_ns);
}

/* ---- the token ------------------------------------------------------------------------------ */

/* expires_in is a number with most, text with Azure's metadata service. */
static uint64_t lifetime_ns(json_t *json)
{
    json_t *value = json_object_get(json, "expires_in");
    uint64_t seconds = 0;
    if (json_is_integer(value) && json_integer_value(value) > 0) {
        seconds = (uint64_t)json_integer_value(value);
    } else if (json_is_string(value)) {
        const char *text = json_string_value(value);
        (void)!hf_failed(hf_num_parse_u64(text, strlen(text), &seconds));
    }
    return seconds < UINT32_MAX ? seconds * HF_NS_PER_SECOND : 0;
}

static hf_status take_token(hf_cloud *cloud, const hf_buf *answer, hf_error *err)
{
    json_t *json = hf_secret_json_parse(answer);
    const char *token = json_string_value(json_object_get(json, "access_token"));
    hf_status st = hf_ok();
    if (token == NULL || hf_failed(hf_str_copy(cloud->bearer, sizeof cloud->bearer, token))) {
        st = hf_fail(err, HF_UNAVAILABLE, "%s: an answer without a token", cloud->flavour->name);
    } else {
        cloud->bearer_ends_ns = hf_time_mono_ns() + lifetime_ns(json);
    }
    json_decref(json);
    return st;
}

static hf_status fetch_token(hf_cloud *cloud, uint64_t deadline_ns, hf_error *err)
{
    hf_buf *url = hf_buf_new(HF_CLOUD_LINK_LEN);
    hf_buf *form = hf_buf_new(64U << 10);
    const char *header = NULL;
    hf_status st = url != NULL && form != NULL
                       ? cloud->flavour->ask_token(cloud, url, form, &header, err)
                       : hf_fail(err, HF_NOMEM, "out of memory");
    if (!hf_failed(st)) {
        bool has_form = hf_buf_len(form) > 0;
        hf_net_exchange exchange = {
            .method = has_form ? "POST" : "GET",
            .url = hf_buf_text(url),
            .headers = {has_form ? "Content-Type: application/x-www-form-urlencoded" : header},
            .body = hf_bytes_from(hf_buf_peek(form), hf_buf_len(form)),
            .max_answer_bytes = ANSWER_MAX};
        run(cloud, &exchange, 1, deadline_ns);
        st = judge(cloud, &exchange, err);
        if (!hf_failed(st)) {
            st = take_token(cloud, exchange.answer, err);
        } else {
            st = hf_error_wrap(err, st, "login");
        }
        hf_net_exchange_done(&exchange);
    }
    hf_buf_free(url);
    hf_buf_free(form);
    return st;
}

static hf_status need_token(hf_cloud *cloud, uint64_t deadline_ns, hf_error *err)
{
    bool is_good = cloud->bearer_ends_ns > hf_time_mono_ns() + MARGIN_NS;
    return is_good ? hf_ok() : fetch_token(cloud, deadline_ns, err);
}

/* ---- names ---------------------------------------------------------------------------------- */

/* One page, asked for a few times where the service says later. 401 is a token that ended early. */
static hf_status fetch_page(hf_cloud *cloud, const char *url, uint64_t deadline_ns,
                            json_t **ret_page, hf_error *err)
{
    char authorization[HF_CLOUD_BEARER_LEN + 32];
    hf_status st = {HF_UNAVAILABLE};
    for (unsigned i = 0; i < IDLE_ROUNDS; i++) {
        st = need_token(cloud, deadline_ns, err);
        if (st.code == HF_DENIED) {
            return st;
        }
        if (!hf_failed(st)) {
            (void)snprintf(authorization, sizeof authorization, "Authorization: Bearer %s",
                           cloud->bearer);
            hf_net_exchange exchange = {.method = "GET",
                                        .url = url,
                                        .headers = {authorization},
                                        .max_answer_bytes = ANSWER_MAX};
            run(cloud, &exchange, 1, deadline_ns);
            hf_wipe(authorization, sizeof authorization);
            st = judge(cloud, &exchange, err);
            if (exchange.http_status == 401 && i == 0) {
                cloud->bearer_ends_ns = 0;
                st = (hf_status){HF_UNAVAILABLE};
            }
            *ret_page = hf_failed(st) ? NULL : hf_secret_json_parse(exchange.answer);
            hf_net_exchange_done(&exchange);
        }
        if (st.code != HF_UNAVAILABLE || hf_time_mono_ns() >= deadline_ns) {
            return st;
        }
        pause_before(i, deadline_ns);
    }
    return st;
}

static hf_status list_names(hf_cloud *cloud, uint64_t deadline_ns, hf_error *err)
{
    hf_buf *url = hf_buf_new(HF_CLOUD_LINK_LEN);
    hf_buf *next = hf_buf_new(HF_CLOUD_LINK_LEN);
    hf_status st = url != NULL && next != NULL ? cloud->flavour->list_url(cloud, url)
                                               : hf_fail(err, HF_NOMEM, "out of memory");
    for (int pages = 0; !hf_failed(st) && hf_buf_len(url) > 0 && pages < PAGES_MAX; pages++) {
        json_t *page = NULL;
        st = fetch_page(cloud, hf_buf_text(url), deadline_ns, &page, err);
        if (hf_failed(st)) {
            break;
        }
        hf_buf_reset(next);
        st = cloud->flavour->take_page(cloud, page, next);
        json_decref(page);
        if (hf_failed(st)) {
            st =
                hf_fail(err, st.code, "%s: a page of its list that is too long, or leads elsewhere",
                        cloud->flavour->name);
        }
        hf_buf *taken = url;
        url = next;
        next = taken;
    }
    hf_buf_free(url);
    hf_buf_free(next);
    return st;
}

/* ---- secrets -------------------------------------------------------------------------------- */

static void clear(round_state *r)
{
    for (size_t i = 0; i < r->count; i++) {
        hf_net_exchange_done(&r->exchanges[i]);
        hf_buf_free(r->urls[i]);
    }
    r->count = 0;
    hf_wipe(r->authorization, sizeof r->authorization);
}

static hf_status ask(hf_cloud *cloud, round_state *r, const size_t *todo, size_t n,
                     uint64_t deadline_ns)
{
    (void)snprintf(r->authorization, sizeof r->authorization, "Authorization: Bearer %s",
                   cloud->bearer);
    for (size_t i = 0; i < n; i++) {
        hf_buf *url = hf_buf_new(HF_CLOUD_LINK_LEN);
        if (url == NULL ||
            hf_failed(cloud->flavour->secret_url(cloud, cloud->names.items[todo[i]], url))) {
            hf_buf_free(url);
            return (hf_status){HF_NOMEM};
        }
        r->urls[i] = url;
        r->exchanges[i] = (hf_net_exchange){.method = "GET",
                                            .url = hf_buf_text(url),
                                            .headers = {r->authorization},
                                            .max_answer_bytes = ANSWER_MAX};
        r->count++;
    }
    run(cloud, r->exchanges, n, deadline_ns);
    return hf_ok();
}

typedef struct counting {
    hf_cloud *cloud;
    const hf_custody_visitor *visitor;
    uint32_t keys;
} counting;

static hf_status take(counting *c, const char *name, const hf_net_exchange *exchange)
{
    char origin[HF_CLOUD_URL_LEN + HF_CUSTODY_NAME_LEN];
    hf_buf *text = hf_buf_new(SECRET_MAX);
    json_t *json = hf_secret_json_parse(exchange->answer);
    hf_status st = hf_ok();
    if (text == NULL || !c->cloud->flavour->take_secret(json, text)) {
        c->visitor->failed(c->visitor->context, name, "the answer holds no secret text");
    } else {
        (void)snprintf(origin, sizeof origin, "%s\n%s\n%s", c->cloud->flavour->name,
                       c->cloud->origin, name);
        const hf_secret_text secret = {.origin = origin,
                                       .name = name,
                                       .type = c->cloud->key_type,
                                       .text = hf_bytes_from(hf_buf_peek(text), hf_buf_len(text))};
        st = hf_secret_text_visit(&secret, c->visitor, &c->keys);
    }
    json_decref(json);
    hf_buf_free(text);
    return st;
}

/* Hands over what was answered; the rest stays in todo. *ret_err: why. */
static hf_status sort_out(counting *c, const round_state *r, size_t *todo, size_t *left,
                          size_t *ret_answered, hf_error *err)
{
    size_t kept = 0;
    hf_status st = hf_ok();
    for (size_t i = 0; i < r->count && !hf_failed(st); i++) {
        const hf_net_exchange *exchange = &r->exchanges[i];
        const char *name = c->cloud->names.items[todo[i]];
        hf_status came = judge(c->cloud, exchange, err);
        if (exchange->http_status == 401) {
            c->cloud->bearer_ends_ns = 0;
        }
        if (came.code == HF_UNAVAILABLE || exchange->http_status == 401) {
            todo[kept++] = todo[i];
        } else if (hf_failed(came)) {
            c->visitor->failed(c->visitor->context, name, err != NULL ? err->msg : "refused");
        } else {
            st = take(c, name, exchange);
        }
    }
    *ret_answered = r->count - kept;
    memmove(todo + kept, todo + r->count, (*left - r->count) * sizeof *todo);
    *left -= *ret_answered;
    return st;
}

static hf_status read_secrets(counting *c, size_t *todo, round_state *r, uint64_t deadline_ns,
                              hf_error *err)
{
    hf_cloud *cloud = c->cloud;
    size_t left = cloud->names.count;
    unsigned idle = 0;
    hf_status st = hf_ok();
    while (left > 0) {
        size_t answered = 0;
        st = need_token(cloud, deadline_ns, err);
        if (!hf_failed(st) &&
            hf_failed(ask(cloud, r, todo, left < BATCH ? left : BATCH, deadline_ns))) {
            st = hf_fail(err, HF_NOMEM, "out of memory, or a name is too long");
        }
        if (!hf_failed(st)) {
            st = sort_out(c, r, todo, &left, &answered, err);
        }
        clear(r);
        if (hf_failed(st)) {
            return st;
        }
        idle = answered > 0 ? 0 : idle + 1;
        if (idle >= IDLE_ROUNDS || (left > 0 && hf_time_mono_ns() >= deadline_ns)) {
            return (hf_status){HF_UNAVAILABLE};
        }
        if (answered < BATCH && left > 0) {
            pause_before(idle, deadline_ns);
        }
    }
    return st;
}

static hf_status read_all(counting *c, uint64_t deadline_ns, hf_error *err)
{
    size_t count = c->cloud->names.count;
    size_t *todo = calloc(count + 1, sizeof *todo);
    round_state *r = calloc(1, sizeof *r);
    hf_status st = hf_ok();
    if (todo != NULL && r != NULL) {
        for (size_t i = 0; i < count; i++) {
            todo[i] = i;
        }
        st = read_secrets(c, todo, r, deadline_ns, err);
    } else {
        st = hf_fail(err, HF_NOMEM, "out of memory");
    }
    free(todo);
    free(r);
    return st;
}

/* Those that the configuration names, or all. */
static hf_status find_names(hf_cloud *cloud, uint64_t deadline_ns, hf_error *err)
{
    hf_status st = hf_ok();
    if (cloud->only[0] != '\0') {
        return hf_name_list_add(&cloud->names, cloud->only);
    }
    for (size_t i = 0; i < cloud->secret_count && !hf_failed(st); i++) {
        st = hf_name_list_add(&cloud->names, cloud->secrets[i].path);
    }
    if (hf_failed(st)) {
        return hf_fail(err, st.code, "%s: more than %d secrets", cloud->flavour->name, SECRETS_MAX);
    }
    return cloud->secret_count > 0 ? st : list_names(cloud, deadline_ns, err);
}

static hf_status list_all(hf_cloud *cloud, counting *c, uint64_t deadline_ns, hf_error *err)
{
    hf_status st = find_names(cloud, deadline_ns, err);
    if (!hf_failed(st)) {
        st = read_all(c, deadline_ns, err);
    }
    hf_name_list_done(&cloud->names);
    return st;
}

static hf_status list(hf_custody *custody, const hf_custody_visitor *visitor, uint64_t deadline_ns,
                      hf_error *err)
{
    hf_cloud *cloud = (hf_cloud *)custody;
    counting c = {cloud, visitor, 0};
    hf_error why = {.code = HF_OK};
    hf_status st = list_all(cloud, &c, deadline_ns, &why);
    if (hf_failed(st) && err != NULL) {
        *err = why;
    }
    cloud->is_healthy = !hf_failed(st);
    cloud->keys = c.keys;
    return st;
}

/* ---- the other operations ------------------------------------------------------------------- */

static bool is_healthy(hf_custody *custody, char ret_detail[HF_DETAIL_LEN])
{
    hf_cloud *cloud = (hf_cloud *)custody;
    bool is_well = cloud->is_healthy;
    (void)snprintf(ret_detail, HF_DETAIL_LEN,
                   is_well ? "%u keys in the last list" : "the last list failed",
                   (unsigned)cloud->keys);
    return is_well;
}

static void close_cloud(hf_custody *custody)
{
    hf_cloud *cloud = (hf_cloud *)custody;
    void *config = (void *)(uintptr_t)cloud->config;
    hf_name_list_done(&cloud->names);
    hf_net_free(cloud->net);
    if (config != NULL) {
        hf_wipe(config, cloud->config_len);
    }
    free(config);
    hf_wipe(cloud, sizeof *cloud);
    free(cloud);
}

static const hf_custody_ops ops = {.list = list,
                                   .sign = hf_custody_never_signs,
                                   .wrap = hf_custody_never_wraps,
                                   .unwrap = hf_custody_never_wraps,
                                   .is_healthy = is_healthy,
                                   .close = close_cloud};

/* ---- opening -------------------------------------------------------------------------------- */

hf_status hf_cloud_check_url(const char *url, const char *metadata, hf_error *err)
{
    bool is_metadata = metadata != NULL && strcmp(url, metadata) == 0;
    return is_metadata ? hf_ok() : hf_net_check_url(url, err);
}

hf_status hf_cloud_put_field(hf_buf *form, const char *name, const char *value)
{
    hf_status st = hf_buf_putf(form, "%s%s=", hf_buf_len(form) > 0 ? "&" : "", name);
    return hf_failed(st) ? st : hf_url_put_escaped(form, value, false);
}

hf_status hf_cloud_open(const hf_cloud *shape, const char *ca_file, hf_custody **ret_custody,
                        hf_error *err)
{
    hf_net_config net = {.connect_timeout_ms = 0};
    hf_cloud *cloud = calloc(1, sizeof *cloud);
    if (cloud == NULL || shape->config == NULL) {
        free(cloud);
        if (shape->config != NULL) {
            hf_wipe((void *)(uintptr_t)shape->config, shape->config_len);
        }
        free((void *)(uintptr_t)shape->config);
        return hf_fail(err, HF_NOMEM, "out of memory");
    }
    hf_secret_json_init();
    *cloud = *shape;
    cloud->custody.ops = &ops;
    cloud->names.most = SECRETS_MAX;
    hf_status st = hf_str_copy(net.ca_file, sizeof net.ca_file, ca_file);
    st = hf_failed(st) ? hf_fail(err, HF_USAGE, "the path of ca_file is too long")
                       : hf_net_new(&net, &cloud->net, err);
    if (hf_failed(st)) {
        close_cloud(&cloud->custody);
        return st;
    }
    *ret_custody = &cloud->custody;
    return hf_ok();
}
