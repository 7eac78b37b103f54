#include "rig.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define PATIENCE_MS 5000

static _Alignas(8) uint8_t frame[HF_IPC_MAX_BYTES];
static unsigned announced;

hf_server_config rig_defaults(void)
{
    return (hf_server_config){
        .context = {.network = *hf_eth_network_find("mainnet"),
                    .request_timeout_ms = 3000,
                    .max_in_flight = 64,
                    .max_body_bytes = 65536,
                    .key_manager_enabled = true,
                    .unix_ms = hf_time_unix_ms},
        .max_connections = 32,
        .idle_timeout_seconds = 75,
        .metrics_fd = -1,
    };
}

static int listen_anywhere(uint16_t *ret_port)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_addr = {.s_addr = htonl(INADDR_LOOPBACK)}};
    socklen_t len = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    HF_ASSERT(fd >= 0 && bind(fd, (struct sockaddr *)&address, len) == 0 && listen(fd, 1024) == 0);
    HF_ASSERT(getsockname(fd, (struct sockaddr *)&address, &len) == 0);
    *ret_port = ntohs(address.sin_port);
    return fd;
}

static _Noreturn void run_child(const hf_server_config *config)
{
    hf_server *server = NULL;
    hf_error err = {0};
    hf_log_init("front", HF_LOG_TEXT, HF_LOG_BROKEN);
    hf_status st = hf_server_new(config, &server, &err);
    if (!hf_failed(st)) {
        st = hf_server_run(server, &err);
    }
    hf_server_free(server);
    exit(hf_failed(st) ? 1 : 0);
}

void rig_start(rig *r, const hf_server_config *config)
{
    hf_server_config mine = *config;
    int keeper[2];
    int control[2];
    HF_ASSERT(!hf_failed(hf_channel_pair(true, keeper)) &&
              !hf_failed(hf_channel_pair(true, control)));
    mine.api_fd = listen_anywhere(&r->port);
    mine.metrics_fd = listen_anywhere(&r->metrics_port);
    mine.keeper_fd = keeper[1];
    mine.control_fd = control[1];
    r->keeper = keeper[0];
    r->control = control[0];
    r->child = fork();
    HF_ASSERT(r->child >= 0);
    if (r->child == 0) {
        (void)close(keeper[0]);
        (void)close(control[0]);
        run_child(&mine);
    }
    (void)close(keeper[1]);
    (void)close(control[1]);
    (void)close(mine.api_fd);
    (void)close(mine.metrics_fd);
}

int rig_wait(rig *r, int timeout_ms)
{
    for (int waited = 0; waited < timeout_ms; waited += 10) {
        int status = 0;
        if (waitpid(r->child, &status, WNOHANG) == r->child) {
            r->child = -1;
            return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
        }
        (void)usleep(10000);
    }
    return -1;
}

void rig_stop(rig *r)
{
    (void)close(r->keeper);
    (void)close(r->control);
    if (r->child > 0) {
        (void)kill(r->child, SIGKILL);
        (void)waitpid(r->child, NULL, 0);
    }
}

int rig_connect(const rig *r, uint16_t port)
{
    (void)r;
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons(port),
                                  .sin_addr = {.s_addr = htonl(INADDR_LOOPBACK)}};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    HF_ASSERT(fd >= 0);
    if (connect(fd, (struct sockaddr *)&address, sizeof address) != 0) {
        (void)close(fd);
        return -1;
    }
    return fd;
}

void rig_send(int fd, const char *text)
{
    size_t len = strlen(text);
    while (len > 0) {
        ssize_t n = send(fd, text, len, MSG_NOSIGNAL);
        if (n <= 0) {
            return; /* the server has closed: the test sees it when it reads */
        }
        text += n;
        len -= (size_t)n;
    }
}

/* One byte at a time keeps the next answer of a pipeline in the socket. */
static bool read_head(int fd, rig_answer *answer)
{
    size_t used = 0;
    for (;;) {
        struct pollfd waiting = {.fd = fd, .events = POLLIN};
        HF_ASSERT(poll(&waiting, 1, PATIENCE_MS) == 1);
        ssize_t n = recv(fd, answer->head + used, 1, 0);
        if (n <= 0) {
            return false;
        }
        used++;
        HF_ASSERT(used + 1 < sizeof answer->head);
        answer->head[used] = '\0';
        if (used >= 4 && strcmp(answer->head + used - 4, "\r\n\r\n") == 0) {
            return true;
        }
    }
}

bool rig_read(int fd, rig_answer *answer)
{
    if (!read_head(fd, answer)) {
        return false;
    }
    HF_ASSERT(sscanf(answer->head, "HTTP/1.%*d %d", &answer->status) == 1);
    const char *length = strcasestr(answer->head, "\r\nContent-Length: ");
    HF_ASSERT(length != NULL && sscanf(length + 18, "%zu", &answer->body_len) == 1);
    HF_ASSERT(answer->body_len < sizeof answer->body);
    size_t used = 0;
    while (used < answer->body_len) {
        ssize_t n = recv(fd, answer->body + used, answer->body_len - used, 0);
        HF_ASSERT(n > 0);
        used += (size_t)n;
    }
    answer->body[used] = '\0';
    return true;
}

void rig_ask(const rig *r, const char *request, rig_answer *answer)
{
    int fd = rig_connect(r, r->port);
    HF_ASSERT(fd >= 0);
    rig_send(fd, request);
    HF_ASSERT(rig_read(fd, answer));
    (void)close(fd);
}

static bool receive(const rig *r, int timeout_ms, int *ret_fd)
{
    struct pollfd waiting = {.fd = r->keeper, .events = POLLIN};
    const hf_frame_header *header = (const void *)frame;
    do {
        size_t len = 0;
        if (poll(&waiting, 1, timeout_ms) != 1 || (waiting.revents & POLLIN) == 0) {
            return false;
        }
        HF_ASSERT(!hf_failed(hf_frame_recv(r->keeper, frame, &len, ret_fd)));
        HF_ASSERT(hf_frame_is_acceptable(frame, len, HF_CHANNEL_FRONT, true));
        announced += header->type == HF_MSG_SOON;
    } while (header->type == HF_MSG_SOON);
    return true;
}

unsigned rig_take_announced(void)
{
    unsigned count = announced;
    announced = 0;
    return count;
}

const hf_frame_header *rig_keeper_take(const rig *r, int *ret_fd)
{
    const hf_frame_header *header = (const void *)frame;
    do {
        HF_ASSERT(receive(r, PATIENCE_MS, ret_fd));
    } while (header->type == HF_MSG_COUNT);
    return header;
}

bool rig_keeper_is_quiet(const rig *r, int for_ms)
{
    return !receive(r, for_ms, NULL);
}

hf_reason rig_keeper_take_count(const rig *r)
{
    HF_ASSERT(receive(r, PATIENCE_MS, NULL));
    const hf_msg_count *count = (const void *)frame;
    HF_ASSERT(count->header.type == HF_MSG_COUNT);
    return (hf_reason)count->reason;
}

void rig_keeper_send(const rig *r, const void *reply)
{
    hf_status st = hf_frame_send(r->keeper, reply);
    while (st.code == HF_UNAVAILABLE) {
        struct pollfd room = {.fd = r->keeper, .events = POLLOUT};
        HF_ASSERT(poll(&room, 1, PATIENCE_MS) == 1);
        st = hf_frame_send(r->keeper, reply);
    }
    HF_ASSERT(!hf_failed(st));
}
