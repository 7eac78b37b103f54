/* Copies of lines: to services of our own that listen in a temporary place, and to none. */
#include "audit/audit.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#define BOTH (HF_AUDIT_SINK_SYSLOG | HF_AUDIT_SINK_JOURNALD)
#define TWO_LINES "{\"seq\":1}\n{\"seq\":2,\"key\":\"0xab\"}\n"
#define FLOOD 5000

static char folder[64];
static char syslog_path[80];
static char journald_path[80];

static int make_folder(void **state)
{
    (void)state;
    (void)snprintf(folder, sizeof folder, "/tmp/holdfast-sinks-XXXXXX");
    assert_non_null(mkdtemp(folder));
    (void)snprintf(syslog_path, sizeof syslog_path, "%s/log", folder);
    (void)snprintf(journald_path, sizeof journald_path, "%s/journal", folder);
    return 0;
}

static int remove_folder(void **state)
{
    (void)state;
    (void)unlink(syslog_path);
    (void)unlink(journald_path);
    return rmdir(folder);
}

static int listen_at(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct timeval patience = {.tv_sec = 10};
    hf_str_cut(address.sun_path, sizeof address.sun_path, path);
    (void)unlink(path);
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience), 0);
    assert_int_equal(bind(fd, (const struct sockaddr *)&address, sizeof address), 0);
    return fd;
}

static hf_audit_sinks open_sinks(unsigned which)
{
    hf_audit_sinks sinks;
    assert_false(hf_failed(hf_audit_sinks_open(which, &sinks, NULL)));
    assert_string_equal(sinks.syslog_path, "/dev/log");
    assert_string_equal(sinks.journald_path, "/run/systemd/journal/socket");
    sinks.syslog_path = syslog_path;
    sinks.journald_path = journald_path;
    return sinks;
}

static void expect(int fd, const char *text)
{
    char got[HF_AUDIT_LINE_MAX + 256] = {0};
    assert_int_equal(recv(fd, got, sizeof got - 1, 0), (ssize_t)strlen(text));
    assert_string_equal(got, text);
}

static void expect_nothing(int fd)
{
    char got[16];
    assert_int_equal(recv(fd, got, sizeof got, MSG_DONTWAIT), -1);
}

static void write_text(hf_audit_sinks *sinks, const char *text)
{
    hf_audit_sinks_write(sinks, hf_bytes_from(text, strlen(text)));
}

/* One message a line, as each service wants it, without the line's end. */
static void each_line_is_a_message_to_each_service(void **state)
{
    (void)state;
    int syslog = listen_at(syslog_path);
    int journald = listen_at(journald_path);
    hf_audit_sinks sinks = open_sinks(BOTH);
    write_text(&sinks, TWO_LINES);
    expect(syslog, "<85>holdfast-audit: {\"seq\":1}");
    expect(syslog, "<85>holdfast-audit: {\"seq\":2,\"key\":\"0xab\"}");
    expect_nothing(syslog);
    expect(journald, "SYSLOG_IDENTIFIER=holdfast-audit\nPRIORITY=5\nSYSLOG_FACILITY=10\n"
                     "MESSAGE={\"seq\":1}\n"); /* a field without its end is no field */
    expect(journald, "SYSLOG_IDENTIFIER=holdfast-audit\nPRIORITY=5\nSYSLOG_FACILITY=10\n"
                     "MESSAGE={\"seq\":2,\"key\":\"0xab\"}\n");
    expect_nothing(journald);
    assert_int_equal(sinks.lost, 0);
    hf_audit_sinks_close(&sinks);
    hf_audit_sinks_close(&sinks);
    (void)close(syslog);
    (void)close(journald);
}

static void the_longest_line_fits(void **state)
{
    static char line[HF_AUDIT_LINE_MAX + 1];
    (void)state;
    int journald = listen_at(journald_path);
    hf_audit_sinks sinks = open_sinks(HF_AUDIT_SINK_JOURNALD);
    memset(line, 'x', HF_AUDIT_LINE_MAX - 1);
    line[HF_AUDIT_LINE_MAX - 1] = '\n';
    write_text(&sinks, line);
    char got[HF_AUDIT_LINE_MAX + 256];
    assert_true(recv(journald, got, sizeof got, 0) > HF_AUDIT_LINE_MAX - 1);
    assert_int_equal(sinks.lost, 0);
    hf_audit_sinks_close(&sinks);
    (void)close(journald);
}

/* A service that is away loses its copies and nobody else's; one that is started anew is found. */
static void a_service_that_is_away_costs_its_copies_alone(void **state)
{
    (void)state;
    (void)unlink(journald_path);
    int syslog = listen_at(syslog_path);
    hf_audit_sinks sinks = open_sinks(BOTH);
    write_text(&sinks, TWO_LINES);
    assert_int_equal(sinks.lost, 2);
    expect(syslog, "<85>holdfast-audit: {\"seq\":1}");
    (void)close(syslog);
    write_text(&sinks, "{}\n");
    assert_int_equal(sinks.lost, 4);
    syslog = listen_at(syslog_path);
    write_text(&sinks, "{\"again\":1}\n");
    expect(syslog, "<85>holdfast-audit: {\"again\":1}");
    assert_int_equal(sinks.lost, 5);
    hf_audit_sinks_close(&sinks);
    (void)close(syslog);
}

/* One that takes nothing more holds up nobody: what it does not take is counted. */
static void a_service_that_does_not_read_holds_up_nobody(void **state)
{
    uint64_t taken = 0;
    char got[64];
    (void)state;
    int syslog = listen_at(syslog_path);
    hf_audit_sinks sinks = open_sinks(HF_AUDIT_SINK_SYSLOG);
    for (int i = 0; i < FLOOD; i++) {
        write_text(&sinks, "{}\n");
    }
    assert_in_range(sinks.lost, 1, FLOOD - 1);
    while (recv(syslog, got, sizeof got, MSG_DONTWAIT) > 0) {
        taken++;
    }
    assert_int_equal(taken + sinks.lost, FLOOD);
    write_text(&sinks, "{\"then\":1}\n");
    expect(syslog, "<85>holdfast-audit: {\"then\":1}");
    hf_audit_sinks_close(&sinks);
    (void)close(syslog);
}

static void without_sinks_nothing_is_opened(void **state)
{
    hf_audit_sinks sinks;
    (void)state;
    assert_false(hf_failed(hf_audit_sinks_open(0, &sinks, NULL)));
    assert_int_equal(sinks.socket, -1);
    write_text(&sinks, TWO_LINES);
    assert_int_equal(sinks.lost, 0);
    hf_audit_sinks_close(&sinks);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_line_is_a_message_to_each_service),
        cmocka_unit_test(the_longest_line_fits),
        cmocka_unit_test(a_service_that_is_away_costs_its_copies_alone),
        cmocka_unit_test(a_service_that_does_not_read_holds_up_nobody),
        cmocka_unit_test(without_sinks_nothing_is_opened),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
