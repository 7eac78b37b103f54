/* One connection after the other; a new one is taken when the last is over. */
#include "proxy.h"

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/base.h"

#define TICK_MS 5
#define CHUNK 65536

static struct sockaddr_in loopback(uint16_t port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return address;
}

static int dial(uint16_t port)
{
    struct sockaddr_in address = loopback(port);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    HF_ASSERT(fd >= 0);
    if (connect(fd, (const struct sockaddr *)(const void *)&address, sizeof address) != 0) {
        (void)close(fd);
        return -1;
    }
    return fd;
}

static bool send_all(int fd, const uint8_t *bytes, size_t len)
{
    while (len > 0) {
        ssize_t n = send(fd, bytes, len, MSG_NOSIGNAL);
        if (n <= 0) {
            return false;
        }
        bytes += n;
        len -= (size_t)n;
    }
    return true;
}

/* Passes on what there is; false when the connection is over. */
static bool pass(proxy *self, int from, int to, bool up)
{
    static _Thread_local uint8_t chunk[CHUNK];
    atomic_llong *left = up ? &self->up_left : &self->down_left;
    ssize_t n = recv(from, chunk, sizeof chunk, 0);
    if (n <= 0) {
        return false;
    }
    if (!up && atomic_load(&self->deaf)) {
        return true;
    }
    long long allowed = atomic_load(left);
    bool cut = n >= allowed;
    size_t len = cut ? (size_t)allowed : (size_t)n;
    (void)atomic_fetch_add(up ? &self->up_bytes : &self->down_bytes, (long long)len);
    if (!send_all(to, chunk, len)) {
        return false;
    }
    if (cut) {
        atomic_store(left, PROXY_NEVER);
        (void)atomic_fetch_add(&self->cuts, 1);
    } else if (allowed != PROXY_NEVER) {
        (void)atomic_fetch_sub(left, n);
    }
    return !cut;
}

static void serve(proxy *self, int client, int server)
{
    bool alive = true;
    while (alive && !atomic_load(&self->over)) {
        struct pollfd fds[] = {{.fd = client, .events = POLLIN}, {.fd = server, .events = POLLIN}};
        if (atomic_load(&self->silent)) {
            (void)poll(NULL, 0, TICK_MS);
            continue;
        }
        (void)poll(fds, 2, TICK_MS);
        if (fds[0].revents != 0) {
            alive = pass(self, client, server, true);
        }
        if (alive && fds[1].revents != 0) {
            alive = pass(self, server, client, false);
        }
    }
}

static void *run(void *context)
{
    proxy *self = context;
    while (!atomic_load(&self->over)) {
        struct pollfd fd = {.fd = self->listener, .events = POLLIN};
        if (poll(&fd, 1, TICK_MS) <= 0 || atomic_load(&self->silent)) {
            continue;
        }
        int client = accept4(self->listener, NULL, NULL, SOCK_CLOEXEC);
        int server = dial(self->server_port);
        if (client >= 0 && server >= 0) {
            const int on = 1;
            (void)setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
            (void)setsockopt(server, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
            serve(self, client, server);
        }
        if (client >= 0) {
            (void)close(client);
        }
        if (server >= 0) {
            (void)close(server);
        }
    }
    return NULL;
}

void proxy_start(proxy *self, uint16_t server_port)
{
    struct sockaddr_in address = loopback(0);
    socklen_t len = sizeof address;
    memset(self, 0, sizeof *self);
    self->server_port = server_port;
    atomic_store(&self->up_left, PROXY_NEVER);
    atomic_store(&self->down_left, PROXY_NEVER);
    self->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    HF_ASSERT(self->listener >= 0);
    HF_ASSERT(bind(self->listener, (const struct sockaddr *)(const void *)&address, len) == 0);
    HF_ASSERT(listen(self->listener, 16) == 0);
    HF_ASSERT(getsockname(self->listener, (struct sockaddr *)(void *)&address, &len) == 0);
    self->port = ntohs(address.sin_port);
    HF_ASSERT(pthread_create(&self->thread, NULL, run, self) == 0);
}

void proxy_stop(proxy *self)
{
    atomic_store(&self->over, true);
    HF_ASSERT(pthread_join(self->thread, NULL) == 0);
    (void)close(self->listener);
}
