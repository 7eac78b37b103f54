#include "proxy.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#define CONNECTIONS_MAX 64
#define CHUNK_BYTES 65536
#define PASS_NEVER UINT64_MAX

struct proxy {
    char url[HF_DUTY_URL_LEN];
    uint16_t server_port, port;
    int listener;
    pthread_t thread;
    int clients[CONNECTIONS_MAX], servers[CONNECTIONS_MAX];
    size_t count;
    uint64_t up, down;         /* atomic */
    uint64_t cut_up, cut_down; /* atomic: chunk number at which to cut */
    bool silent, ending;       /* atomic */
};

static uint16_t port_of(const char *url)
{
    uint64_t port = 0;
    const char *at = strchr(url, '@');
    assert_non_null(at);
    const char *colon = strchr(at, ':');
    assert_non_null(colon);
    size_t len = strspn(colon + 1, "0123456789");
    assert_false(hf_failed(hf_num_parse_u64(colon + 1, len, &port)));
    return (uint16_t)port;
}

static void drop(proxy *px, size_t i)
{
    (void)close(px->clients[i]);
    (void)close(px->servers[i]);
    px->count--;
    px->clients[i] = px->clients[px->count];
    px->servers[i] = px->servers[px->count];
}

static void cut_all(proxy *px)
{
    while (px->count > 0) {
        drop(px, px->count - 1);
    }
}

static void accept_one(proxy *px)
{
    int one = 1;
    int client = accept4(px->listener, NULL, NULL, SOCK_CLOEXEC);
    int server = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons(px->server_port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    if (client < 0 || server < 0 || px->count == CONNECTIONS_MAX ||
        connect(server, (struct sockaddr *)&to, sizeof(to)) != 0) {
        (void)close(client);
        (void)close(server);
        return;
    }
    (void)setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    (void)setsockopt(server, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    px->clients[px->count] = client;
    px->servers[px->count++] = server;
}

/* False when the connection, or all of them, ended. */
static bool relay(proxy *px, int from, int to, uint64_t *counter, uint64_t *cut)
{
    static char chunk[CHUNK_BYTES];
    ssize_t n = recv(from, chunk, sizeof(chunk), 0);
    if (n <= 0) {
        return false;
    }
    uint64_t number = __atomic_add_fetch(counter, 1, __ATOMIC_SEQ_CST);
    if (number >= __atomic_load_n(cut, __ATOMIC_SEQ_CST)) {
        __atomic_store_n(cut, PASS_NEVER, __ATOMIC_SEQ_CST);
        cut_all(px);
        return false;
    }
    for (ssize_t sent = 0; sent < n;) {
        ssize_t part = send(to, chunk + sent, (size_t)(n - sent), MSG_NOSIGNAL);
        if (part <= 0) {
            return false;
        }
        sent += part;
    }
    return true;
}

static void serve(proxy *px, struct pollfd *fds, size_t count)
{
    for (size_t i = count; i-- > 0;) {
        size_t before = px->count;
        bool alive = true;
        if (i < px->count && fds[1 + 2 * i].revents != 0) {
            alive = relay(px, px->clients[i], px->servers[i], &px->up, &px->cut_up);
        }
        if (alive && px->count == before && i < px->count && fds[2 + 2 * i].revents != 0) {
            alive = relay(px, px->servers[i], px->clients[i], &px->down, &px->cut_down);
        }
        if (px->count == 0) {
            return;
        }
        if (!alive && i < px->count) {
            drop(px, i);
        }
    }
}

static void *run(void *arg)
{
    proxy *px = arg;
    while (!__atomic_load_n(&px->ending, __ATOMIC_SEQ_CST)) {
        if (__atomic_load_n(&px->silent, __ATOMIC_SEQ_CST)) {
            sleep_ms(5);
            continue;
        }
        struct pollfd fds[1 + 2 * CONNECTIONS_MAX] = {{.fd = px->listener, .events = POLLIN}};
        size_t count = px->count;
        for (size_t i = 0; i < count; i++) {
            fds[1 + 2 * i] = (struct pollfd){.fd = px->clients[i], .events = POLLIN};
            fds[2 + 2 * i] = (struct pollfd){.fd = px->servers[i], .events = POLLIN};
        }
        if (poll(fds, 1 + 2 * count, 20) <= 0) {
            continue;
        }
        serve(px, fds, count);
        if (fds[0].revents != 0) {
            accept_one(px);
        }
    }
    cut_all(px);
    return NULL;
}

proxy *proxy_start(const char *url)
{
    proxy *px = calloc(1, sizeof(*px));
    assert_non_null(px);
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(at);
    px->server_port = port_of(url);
    px->cut_up = px->cut_down = PASS_NEVER;
    px->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(px->listener, (struct sockaddr *)&at, sizeof(at)), 0);
    assert_int_equal(listen(px->listener, 64), 0);
    assert_int_equal(getsockname(px->listener, (struct sockaddr *)&at, &len), 0);
    px->port = ntohs(at.sin_port);
    support_url_at(url, px->port, px->url);
    assert_int_equal(pthread_create(&px->thread, NULL, run, px), 0);
    return px;
}

void proxy_stop(proxy *px)
{
    __atomic_store_n(&px->ending, true, __ATOMIC_SEQ_CST);
    assert_int_equal(pthread_join(px->thread, NULL), 0);
    (void)close(px->listener);
    free(px);
}

void proxy_url(const proxy *px, char out[HF_DUTY_URL_LEN])
{
    assert_false(hf_failed(hf_str_copy(out, HF_DUTY_URL_LEN, px->url)));
}

uint64_t proxy_chunks_up(const proxy *px)
{
    return __atomic_load_n(&px->up, __ATOMIC_SEQ_CST);
}

uint64_t proxy_chunks_down(const proxy *px)
{
    return __atomic_load_n(&px->down, __ATOMIC_SEQ_CST);
}

void proxy_cut_up_after(proxy *px, uint64_t chunks)
{
    __atomic_store_n(&px->cut_up, proxy_chunks_up(px) + chunks, __ATOMIC_SEQ_CST);
}

void proxy_cut_down_after(proxy *px, uint64_t chunks)
{
    __atomic_store_n(&px->cut_down, proxy_chunks_down(px) + chunks, __ATOMIC_SEQ_CST);
}

void proxy_silent(proxy *px, bool silent)
{
    __atomic_store_n(&px->silent, silent, __ATOMIC_SEQ_CST);
}
