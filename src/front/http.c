/* libmicrohttpd's side: its callbacks turn into calls on places and exchanges. */
#include "front/server_internal.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <gnutls/gnutls.h>
#include <unistd.h>

/* A connection's memory: headers (at most half of it) and what a read brings of the body. */
#define CONNECTION_BYTES 8192
/* Where requests go that the protector decides. */
#define SIGNING "/api/v1/eth2/sign/"
#define RETRY_AFTER_SECONDS "1"
#define RETRY_LIMITED_SECONDS "3"

/* ---- a request's head ----------------------------------------------------------------------- */

typedef struct head {
    hf_front_request *request;
    uint64_t body_len; /* UINT64_MAX: not announced */
    bool expects_continue;
} head;

static enum MHD_Result take_header(void *context, enum MHD_ValueKind kind, const char *name,
                                   const char *value)
{
    head *h = context;
    (void)kind;
    switch (name[0] | 0x20) {
    case 'a':
        if (strcasecmp(name, "Accept") == 0) {
            h->request->accept = value;
        } else if (strcasecmp(name, "Authorization") == 0) {
            h->request->authorization = value;
        }
        break;
    case 'c':
        if (strcasecmp(name, "Content-Type") == 0) {
            h->request->content_type = value;
        } else if (strcasecmp(name, "Content-Length") == 0 && value != NULL &&
                   hf_failed(hf_num_parse_u64(value, strlen(value), &h->body_len))) {
            h->body_len = UINT64_MAX;
        }
        break;
    case 'e':
        h->expects_continue |= strcasecmp(name, "Expect") == 0;
        break;
    case 'o':
        if (strcasecmp(name, "Origin") == 0) {
            h->request->origin = value != NULL ? value : "";
        }
        break;
    default:
        break;
    }
    return MHD_YES;
}

static enum MHD_Result take_argument(void *context, enum MHD_ValueKind kind, const char *name,
                                     const char *value)
{
    hf_front_request *request = context;
    (void)kind;
    if (strcmp(name, "epoch") == 0) {
        request->query_epoch = value;
    } else if (strcmp(name, "validator_index") == 0) {
        request->query_validator_index = value;
    } else if (strcmp(name, "after") == 0) {
        request->query_after = value;
    } else if (strcmp(name, "limit") == 0) {
        request->query_limit = value;
    }
    return MHD_YES;
}

/* ---- answering ------------------------------------------------------------------------------ */

static bool add_headers(const hf_place *place, struct MHD_Response *response)
{
    const hf_exchange *x = &place->exchange;
    enum MHD_Result ok =
        MHD_add_response_header(response, "Content-Type", hf_content_type(x->content));
    if (ok == MHD_YES && x->status == 503) {
        ok = MHD_add_response_header(response, "Retry-After", RETRY_AFTER_SECONDS);
    }
    if (ok == MHD_YES && x->status == 429) {
        ok = MHD_add_response_header(response, "Retry-After", RETRY_LIMITED_SECONDS);
    }
    if (ok == MHD_YES && x->status == 401) {
        ok = MHD_add_response_header(response, "WWW-Authenticate", "Bearer");
    }
    if (ok == MHD_YES && x->status == 401) { /* for clients that show a URL's password when asked */
        ok = MHD_add_response_header(response, "WWW-Authenticate", "Basic realm=\"holdfast\"");
    }
    if (ok == MHD_YES && x->status == 405) {
        ok = MHD_add_response_header(response, "Allow", x->allow);
    }
    if (ok == MHD_YES && place->server->is_draining) {
        ok = MHD_add_response_header(response, "Connection", "close");
    }
    return ok == MHD_YES;
}

/* The body stays in the place until the library reports the request complete. */
static enum MHD_Result queue_answer(hf_place *place)
{
    const hf_exchange *x = &place->exchange;
    hf_bytes body = hf_front_body(x);
    hf_place_note_refusal(place);
    struct MHD_Response *response = MHD_create_response_from_buffer(
        body.len, (void *)(uintptr_t)body.ptr, MHD_RESPMEM_PERSISTENT);
    if (response == NULL) {
        return MHD_NO;
    }
    enum MHD_Result result = MHD_NO;
    if (add_headers(place, response)) {
        result = MHD_queue_response(place->http, x->status, response);
    }
    MHD_destroy_response(response);
    hf_place_expect_sent(place, body.len);
    return result;
}

void hf_place_resume(hf_place *place)
{
    place->listener->needs_run = true;
    MHD_resume_connection(place->http);
}

/* ---- who is at the other end ---------------------------------------------------------------- */

static void note_address(hf_front_client *client, const struct sockaddr *address)
{
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
    if (address->sa_family == AF_INET6) {
        const struct sockaddr_in6 *six = (const struct sockaddr_in6 *)(const void *)address;
        memcpy(client->address, &six->sin6_addr, sizeof client->address);
        client->port = ntohs(six->sin6_port);
    } else if (address->sa_family == AF_INET) {
        const struct sockaddr_in *four = (const struct sockaddr_in *)(const void *)address;
        memcpy(client->address, mapped, sizeof mapped);
        memcpy(client->address + sizeof mapped, &four->sin_addr, sizeof four->sin_addr);
        client->port = ntohs(four->sin_port);
    }
}

/* Its certificate is known once the handshake is over: with the first request. */
static void note_certificate(hf_place *place)
{
    const hf_tls *tls = place->server->config.tls;
    if (tls == NULL || place->listener->is_metrics || place->client.certificate[0] != '\0' ||
        !hf_tls_wants_clients(tls)) {
        return;
    }
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(place->http, MHD_CONNECTION_INFO_GNUTLS_SESSION);
    if (info != NULL && info->tls_session != NULL) {
        hf_tls_client_name(info->tls_session, place->client.certificate);
    }
}

/* ---- the library's callbacks ---------------------------------------------------------------- */

/* The request line is there; what is returned comes back as *slot in every later call. */
static void *on_request_line(void *context, const char *uri, struct MHD_Connection *http)
{
    (void)context;
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(http, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    hf_place *place = info != NULL ? info->socket_context : NULL;
    if (place != NULL) {
        hf_place_start(place);
    }
    if (place != NULL && strncmp(uri, SIGNING, sizeof SIGNING - 1) == 0) {
        hf_keeper_announce(place->server);
    }
    return place;
}

static enum MHD_Result begin_request(hf_place *place, const char *url, const char *method)
{
    hf_exchange *x = &place->exchange;
    head h = {.request = &x->request, .body_len = UINT64_MAX};
    x->request.path = url;
    x->request.method = hf_method_parse(method);
    x->request.is_metrics = place->listener->is_metrics;
    note_certificate(place);
    x->request.client = &place->client;
    (void)MHD_get_connection_values(place->http, MHD_HEADER_KIND, take_header, &h);
    (void)MHD_get_connection_values(place->http, MHD_GET_ARGUMENT_KIND, take_argument, &x->request);
    place->is_begun = true;
    if (hf_front_admit(x, h.body_len) == HF_NEXT_ASK) {
        return MHD_YES;
    }
    place->is_refused = true;
    /* Reading a short body to its end keeps the connection; a long one is not worth waiting for. */
    if (x->reason == HF_REASON_TOO_LARGE || h.expects_continue ||
        (h.body_len != UINT64_MAX && h.body_len > place->server->config.context.max_body_bytes)) {
        return queue_answer(place);
    }
    return MHD_YES;
}

static enum MHD_Result complete_request(hf_place *place)
{
    hf_exchange *x = &place->exchange;
    if (place->is_refused) {
        return queue_answer(place);
    }
    if (place->is_too_large) {
        (void)hf_front_refuse(x, HF_REASON_TOO_LARGE, NULL);
        return queue_answer(place);
    }
    if (place->large_body != NULL) {
        x->request.body =
            hf_bytes_from(hf_buf_peek(place->large_body), hf_buf_len(place->large_body));
    } else {
        place->body[place->body_len] = 0;
        x->request.body = hf_bytes_from(place->body, place->body_len);
    }
    x->request.received_ns = hf_time_mono_ns();
    hf_place_make_room(place);
    if (hf_front_begin(x) == HF_NEXT_ANSWER || !hf_place_ask(place)) {
        return queue_answer(place);
    }
    MHD_suspend_connection(place->http);
    return MHD_YES;
}

static enum MHD_Result on_request(void *context, struct MHD_Connection *http, const char *url,
                                  const char *method, const char *version, const char *upload,
                                  size_t *upload_len, void **slot)
{
    hf_place *place = *slot;
    (void)context;
    (void)http;
    (void)version;
    if (place == NULL) {
        return MHD_NO;
    }
    if (place->state == HF_PLACE_ANSWERED) {
        return queue_answer(place);
    }
    if (!place->is_begun) {
        return begin_request(place, url, method);
    }
    if (*upload_len > 0) {
        size_t len = *upload_len;
        *upload_len = 0;
        return hf_place_take_body(place, upload, len) ? MHD_YES : MHD_NO;
    }
    return complete_request(place);
}

static void on_completed(void *context, struct MHD_Connection *http, void **slot,
                         enum MHD_RequestTerminationCode code)
{
    hf_place *place = *slot;
    (void)context;
    (void)http;
    (void)code;
    if (place != NULL) {
        hf_place_finish(place);
    }
    *slot = NULL;
}

static void on_connection(void *context, struct MHD_Connection *http, void **socket_context,
                          enum MHD_ConnectionNotificationCode code)
{
    hf_listener *listener = context;
    if (code == MHD_CONNECTION_NOTIFY_CLOSED) {
        if (*socket_context != NULL) {
            hf_place_release(*socket_context);
            *socket_context = NULL;
        }
        return;
    }
    hf_place *place = hf_place_take(listener, http);
    *socket_context = place;
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(http, MHD_CONNECTION_INFO_CONNECTION_FD);
    if (place != NULL && info != NULL) {
        place->fd = info->connect_fd;
    }
    info = MHD_get_connection_info(http, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    if (place != NULL) {
        place->client = (hf_front_client){0};
        if (info != NULL && info->client_addr != NULL) {
            note_address(&place->client, info->client_addr);
        }
    }
    const hf_tls *tls = listener->server->config.tls;
    if (tls != NULL && !listener->is_metrics) {
        info = MHD_get_connection_info(http, MHD_CONNECTION_INFO_GNUTLS_SESSION);
        HF_ASSERT(info != NULL && info->tls_session != NULL);
        hf_tls_attach(tls, info->tls_session);
    }
}

/* The library says why it refused a connection or a request: of use to somebody setting up TLS. */
static void on_library_message(void *context, const char *fmt, va_list ap)
{
    char line[256];
    (void)context;
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    int n = vsnprintf(line, sizeof line, fmt, ap);
#pragma GCC diagnostic pop
    size_t len = n < 0 ? 0 : strcspn(line, "\n");
    hf_log(HF_LOG_DEBUG, "http_library", "%.*s", (int)len, line);
}

/* ---- starting ------------------------------------------------------------------------------- */

static size_t fill_tls_options(const hf_tls *tls, struct MHD_OptionItem options[6])
{
    size_t n = 0;
    options[n++] = (struct MHD_OptionItem){MHD_OPTION_HTTPS_MEM_CERT, 0,
                                           (void *)(uintptr_t)hf_buf_text(tls->cert)};
    options[n++] = (struct MHD_OptionItem){MHD_OPTION_HTTPS_MEM_KEY, 0,
                                           (void *)(uintptr_t)hf_buf_text(tls->key)};
    options[n++] = (struct MHD_OptionItem){MHD_OPTION_HTTPS_PRIORITIES, 0,
                                           (void *)(uintptr_t)HF_TLS_PRIORITIES};
    if (tls->client_ca != NULL) {
        options[n++] = (struct MHD_OptionItem){MHD_OPTION_HTTPS_MEM_TRUST, 0,
                                               (void *)(uintptr_t)hf_buf_text(tls->client_ca)};
    }
    return n;
}

static struct MHD_Daemon *start_daemon(hf_listener *listener, int fd)
{
    const hf_server_config *config = &listener->server->config;
    unsigned flags = MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG |
                     MHD_USE_SUPPRESS_DATE_NO_CLOCK;
    struct MHD_OptionItem options[6];
    size_t n = 0;
    if (config->tls != NULL && !listener->is_metrics) {
        flags |= MHD_USE_TLS;
        n = fill_tls_options(config->tls, options);
    }
    options[n] = (struct MHD_OptionItem){MHD_OPTION_END, 0, NULL};
    return MHD_start_daemon(
        flags, 0, NULL, NULL, on_request, NULL, MHD_OPTION_EXTERNAL_LOGGER, on_library_message,
        NULL, MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_ARRAY, options, MHD_OPTION_CONNECTION_LIMIT,
        (unsigned)listener->limit, MHD_OPTION_CONNECTION_TIMEOUT,
        (unsigned)config->idle_timeout_seconds, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
        (size_t)CONNECTION_BYTES, MHD_OPTION_STRICT_FOR_CLIENT, 1, MHD_OPTION_URI_LOG_CALLBACK,
        on_request_line, NULL, MHD_OPTION_NOTIFY_COMPLETED, on_completed, NULL,
        MHD_OPTION_NOTIFY_CONNECTION, on_connection, listener, MHD_OPTION_END);
}

hf_status hf_listener_open(hf_server *server, int take_fd, bool is_metrics, uint32_t limit,
                           hf_error *err)
{
    hf_listener *listener = &server->listeners[server->listener_count];
    *listener = (hf_listener){.server = server, .is_metrics = is_metrics, .limit = limit};
    /* Several fronts wait on one socket: whoever comes second finds nothing to accept. */
    int flags = fcntl(take_fd, F_GETFL);
    if (flags < 0 || fcntl(take_fd, F_SETFL, flags | O_NONBLOCK) != 0) {
        (void)close(take_fd);
        return hf_fail(err, HF_INTERNAL, "the listening socket cannot be used");
    }
    listener->daemon = start_daemon(listener, take_fd);
    if (listener->daemon == NULL) {
        (void)close(take_fd);
        return hf_fail(err, HF_INTERNAL, "the HTTP library does not start");
    }
    server->listener_count++;
    const union MHD_DaemonInfo *info =
        MHD_get_daemon_info(listener->daemon, MHD_DAEMON_INFO_EPOLL_FD);
    if (info == NULL || info->epoll_fd < 0) {
        return hf_fail(err, HF_INTERNAL, "the HTTP library has no epoll descriptor");
    }
    listener->epoll_fd = info->epoll_fd;
    return hf_ok();
}
