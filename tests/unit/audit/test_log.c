/* The log in files: mending, rotation, and whatever somebody did to the files between two starts.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "audit/audit.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

static char folder[64];
static hf_audit_config config;

static const char *at(const char *name)
{
    static char path[2][512];
    static unsigned turn;
    turn ^= 1;
    (void)snprintf(path[turn], sizeof path[turn], "%s/%s", folder, name);
    return path[turn];
}

static int make_folder(void **state)
{
    (void)state;
    (void)snprintf(folder, sizeof folder, "/tmp/hf-audit-XXXXXX");
    if (mkdtemp(folder) == NULL) {
        return -1;
    }
    config = (hf_audit_config){.is_strict = true, .node = "n", .key = {1, 2, 3}};
    hf_str_cut(config.path, sizeof config.path, at("audit.log"));
    return 0;
}

static int remove_folder(void **state)
{
    (void)state;
    DIR *dir = opendir(folder);
    const struct dirent *entry;
    while (dir != NULL && (entry = readdir(dir)) != NULL) {
        (void)unlinkat(dirfd(dir), entry->d_name, 0);
    }
    (void)closedir(dir);
    return rmdir(folder);
}

static hf_audit_log *open_log(const hf_audit_head *anchor, hf_audit_opening *opening)
{
    hf_audit_log *log = NULL;
    hf_error err = {HF_OK, ""};
    hf_status st = hf_audit_log_open(&config, anchor, &log, opening, &err);
    if (hf_failed(st)) {
        fail_msg("%s", err.msg);
    }
    return log;
}

static void add_lines(hf_audit_log *log, unsigned n)
{
    hf_error err = {HF_OK, ""};
    for (unsigned i = 0; i < n; i++) {
        hf_audit_event event = {.kind = HF_AUDIT_RESULT, .of = i, .decision = "signed"};
        (void)hf_audit_log_add(log, &event);
        assert_int_equal(hf_audit_log_commit(log, false, &err).code, HF_OK);
    }
}

/* As a kill leaves it: nothing is synced or said any more. */
static hf_audit_head write_lines(unsigned n)
{
    hf_audit_opening opening;
    hf_audit_log *log = open_log(NULL, &opening);
    add_lines(log, n);
    hf_audit_head head = hf_audit_log_head(log);
    hf_audit_log_close(log);
    return head;
}

static size_t size_of(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0 ? (size_t)info.st_size : 0;
}

static void change_byte(const char *path, off_t offset)
{
    char byte;
    int fd = open(path, O_RDWR);
    assert_int_equal(pread(fd, &byte, 1, offset), 1);
    byte = (char)(byte ^ 1);
    assert_int_equal(pwrite(fd, &byte, 1, offset), 1);
    (void)close(fd);
}

static void forget_journal(void)
{
    assert_int_equal(unlink(at("audit.log.journal")), 0);
}

/* All the files of the names given hold, one after the other. */
static hf_audit_check verify(const char *const names[], size_t n)
{
    hf_audit_check check;
    hf_audit_check_init(&check, config.key);
    for (size_t i = 0; i < n && check.fault == HF_AUDIT_SOUND; i++) {
        int fd = open(at(names[i]), O_RDONLY);
        assert_true(fd >= 0);
        assert_int_equal(hf_audit_check_fd(&check, fd, names[i], NULL, NULL, NULL).code, HF_OK);
        (void)close(fd);
    }
    return check;
}

static const char *const the_log[] = {"audit.log"};

static void test_goes_on_where_it_ended(void **state)
{
    hf_audit_opening opening;
    (void)state;
    hf_audit_head head = write_lines(5);
    assert_int_equal(head.seq, 6);
    hf_audit_log *log = open_log(&head, &opening);
    assert_false(opening.is_new || opening.is_broken);
    assert_true(opening.has_anchored_line);
    assert_string_equal(opening.sentence, "");
    add_lines(log, 3);
    hf_audit_log_close(log);
    hf_audit_check check = verify(the_log, 1);
    assert_int_equal(check.fault, HF_AUDIT_SOUND);
    assert_int_equal(check.lines, 9);
    assert_int_equal(size_of(at("audit.log")), check.file_bytes);
}

/* Cut anywhere in the last line: it comes back from the journal, and without that it is dropped. */
static void test_a_torn_last_line(void **state)
{
    hf_audit_opening opening;
    (void)state;
    for (unsigned cut = 1; cut < 100; cut += 30) {
        hf_audit_head head = write_lines(4);
        size_t size = size_of(at("audit.log"));
        assert_int_equal(truncate(at("audit.log"), (off_t)(size - cut)), 0);
        hf_audit_log *log = open_log(&head, &opening);
        assert_true(opening.has_anchored_line);
        assert_int_equal(opening.restored_lines, 1);
        assert_true(opening.dropped_bytes > 0);
        assert_string_not_equal(opening.sentence, "");
        assert_int_equal(hf_audit_log_head(log).seq, head.seq);
        hf_audit_log_close(log);
        assert_int_equal(size_of(at("audit.log")), size);
    }
    hf_audit_head head = write_lines(4);
    forget_journal();
    assert_int_equal(truncate(at("audit.log"), (off_t)size_of(at("audit.log")) - 7), 0);
    hf_audit_log *log = open_log(NULL, &opening);
    assert_int_equal(opening.restored_lines, 0);
    assert_int_equal(hf_audit_log_head(log).seq, head.seq - 1);
    add_lines(log, 1);
    hf_audit_log_close(log);
    assert_int_equal(verify(the_log, 1).fault, HF_AUDIT_SOUND);
}

/* A power cut: the file has lost what the page cache had, or has zeros there. */
static void test_the_journal_gives_back(void **state)
{
    hf_audit_opening opening;
    (void)state;
    hf_audit_log *log = open_log(NULL, &opening);
    size_t size = size_of(at("audit.log"));
    add_lines(log, 50);
    hf_audit_head head = hf_audit_log_head(log);
    hf_audit_log_close(log);
    size_t full = size_of(at("audit.log"));
    assert_int_equal(truncate(at("audit.log"), (off_t)size), 0);
    assert_int_equal(truncate(at("audit.log"), (off_t)full), 0); /* zeros */
    log = open_log(&head, &opening);
    assert_int_equal(opening.restored_lines, 50);
    assert_true(opening.has_anchored_line);
    assert_int_equal(hf_audit_log_head(log).seq, head.seq);
    hf_audit_log_close(log);
    assert_int_equal(verify(the_log, 1).fault, HF_AUDIT_SOUND);
}

static void test_the_journal_goes_round(void **state)
{
    hf_audit_opening opening;
    hf_error err;
    (void)state;
    hf_audit_log *log = open_log(NULL, &opening);
    hf_audit_event event = {.kind = HF_AUDIT_RESULT, .decision = "signed"};
    size_t before_last = 0;
    for (unsigned i = 0; i < 60; i++) { /* 60 groups of 100 KB: more than 4 MB */
        before_last = size_of(at("audit.log"));
        for (unsigned n = 0; n < HF_AUDIT_GROUP_MAX; n++) {
            (void)hf_audit_log_add(log, &event);
        }
        assert_int_equal(hf_audit_log_commit(log, false, &err).code, HF_OK);
    }
    hf_audit_head head = hf_audit_log_head(log);
    hf_audit_log_close(log);
    assert_true(size_of(at("audit.log")) > size_of(at("audit.log.journal")));
    assert_int_equal(truncate(at("audit.log"), (off_t)before_last), 0);
    log = open_log(&head, &opening);
    assert_int_equal(opening.restored_lines, HF_AUDIT_GROUP_MAX);
    assert_true(opening.has_anchored_line);
    hf_audit_log_close(log);
}

/* A change in the middle: the file is kept aside, and the next one goes on with higher numbers. */
static void test_a_changed_line(void **state)
{
    hf_audit_opening opening;
    (void)state;
    hf_audit_head head = write_lines(20);
    forget_journal();
    change_byte(at("audit.log"), (off_t)size_of(at("audit.log")) / 2);
    hf_audit_log *log = open_log(&head, &opening);
    assert_true(opening.is_broken);
    assert_false(opening.has_anchored_line);
    assert_string_not_equal(opening.sentence, "");
    assert_true(size_of(opening.aside) > 0);
    assert_int_equal(hf_audit_log_head(log).seq, head.seq + 1);
    hf_audit_log_close(log);
    assert_int_equal(verify(the_log, 1).fault, HF_AUDIT_SOUND);
}

/* Whole lines cut from the end, or the file of last week: the chain holds, and the anchor tells. */
static void test_an_older_file(void **state)
{
    hf_audit_opening opening;
    (void)state;
    (void)write_lines(5);
    size_t size = size_of(at("audit.log"));
    hf_audit_head head = write_lines(5);
    forget_journal();
    assert_int_equal(truncate(at("audit.log"), (off_t)size), 0);
    hf_audit_log *log = open_log(&head, &opening);
    assert_false(opening.is_broken);
    assert_true(opening.has_anchor);
    assert_false(opening.has_anchored_line);
    assert_non_null(strstr(opening.sentence, "lines are missing"));
    assert_true(size_of(opening.aside) > 0);
    assert_int_equal(hf_audit_log_head(log).seq, head.seq + 1);
    hf_audit_log_close(log);
}

/* The store is older than the log: the anchored line is there, with much behind it. */
static void test_an_older_store(void **state)
{
    hf_audit_opening opening;
    hf_audit_chain chain;
    char line[HF_AUDIT_LINE_MAX];
    const hf_audit_event event = {.kind = HF_AUDIT_RESULT, .decision = "signed"};
    const int64_t noon_us = INT64_C(1795268438000000);
    (void)state;
    for (int64_t later_s = 2; later_s <= 200; later_s += 198) {
        hf_audit_chain_init(&chain, config.key, "n");
        int fd = open(at("audit.log"), O_WRONLY | O_CREAT | O_TRUNC, 0600);
        size_t len = hf_audit_chain_open(&chain, noon_us, line);
        assert_int_equal(write(fd, line, len), len);
        hf_audit_head anchor = chain.head;
        len = hf_audit_chain_write(&chain, &event, noon_us + later_s * 1000000, line);
        assert_int_equal(write(fd, line, len), len);
        (void)close(fd);
        hf_audit_log_close(open_log(&anchor, &opening));
        assert_true(opening.has_anchored_line && !opening.is_broken);
        assert_int_equal(opening.is_ahead, later_s > 100);
        assert_int_equal(opening.sentence[0] != '\0', later_s > 100);
    }
}

/* The same numbers and another history. */
static void test_another_history(void **state)
{
    hf_audit_opening opening;
    (void)state;
    hf_audit_head head = write_lines(5);
    head.mac[3] ^= 1;
    hf_audit_log_close(open_log(&head, &opening));
    assert_false(opening.has_anchored_line);
}

static void test_no_file_at_all(void **state)
{
    hf_audit_opening opening;
    (void)state;
    hf_audit_head head = write_lines(5);
    forget_journal();
    assert_int_equal(unlink(at("audit.log")), 0);
    hf_audit_log *log = open_log(&head, &opening);
    assert_true(opening.is_new);
    assert_false(opening.has_anchored_line);
    assert_int_equal(hf_audit_log_head(log).seq, head.seq + 1);
    hf_audit_log_close(log);
}

static void rename_in(const char *from, const char *to)
{
    assert_int_equal(rename(at(from), at(to)), 0);
}

/* Moved away while it runs (logrotate), and while it does not. */
static void test_the_file_is_moved_away(void **state)
{
    static const char *const all[] = {"audit.log.2", "audit.log.1", "audit.log"};
    hf_audit_opening opening;
    hf_error err;
    (void)state;
    hf_audit_log *log = open_log(NULL, &opening);
    add_lines(log, 3);
    rename_in("audit.log", "audit.log.2");
    add_lines(log, 1);
    assert_int_equal(hf_audit_log_tend(log, false, &err).code, HF_OK);
    assert_int_equal(hf_audit_log_rotations(log), 1);
    add_lines(log, 3);
    hf_audit_head head = hf_audit_log_head(log);
    hf_audit_log_close(log);
    rename_in("audit.log", "audit.log.1");
    log = open_log(&head, &opening);
    assert_false(opening.is_new || opening.is_broken);
    assert_true(opening.has_anchored_line);
    add_lines(log, 3);
    hf_audit_log_close(log);
    hf_audit_check check = verify(all, 3);
    assert_int_equal(check.fault, HF_AUDIT_SOUND);
    assert_int_equal(check.lines, 3 + 10);
    /* a file of the row left out, or in another order */
    static const char *const gap[] = {"audit.log.2", "audit.log"};
    static const char *const turned[] = {"audit.log.1", "audit.log.2", "audit.log"};
    assert_int_equal(verify(gap, 2).fault, HF_AUDIT_NOT_FOLLOWING);
    assert_int_equal(verify(turned, 3).fault, HF_AUDIT_NOT_FOLLOWING);
}

static void test_rotation_by_size(void **state)
{
    hf_audit_opening opening;
    hf_error err;
    (void)state;
    config.rotate_bytes = 2000;
    hf_audit_log *log = open_log(NULL, &opening);
    for (unsigned i = 0; i < 60; i++) {
        add_lines(log, 1);
        assert_int_equal(hf_audit_log_tend(log, i % 7 == 0, &err).code, HF_OK);
    }
    uint64_t rotations = hf_audit_log_rotations(log);
    assert_true(rotations >= 4);
    uint64_t lines = 61 + rotations;
    assert_int_equal(hf_audit_log_head(log).seq, lines);
    hf_audit_log_close(log);
    struct dirent **entries = NULL;
    int n = scandir(folder, &entries, NULL, alphasort);
    hf_audit_check check;
    hf_audit_check_init(&check, config.key);
    for (int turn = 0; turn < 2; turn++) { /* the numbered ones in order, then the log */
        for (int i = 0; i < n; i++) {
            bool is_numbered = strncmp(entries[i]->d_name, "audit.log.0", 11) == 0;
            bool is_log = strcmp(entries[i]->d_name, "audit.log") == 0;
            if (turn == 0 ? is_numbered : is_log) {
                int fd = open(at(entries[i]->d_name), O_RDONLY);
                assert_int_equal(hf_audit_check_fd(&check, fd, "", NULL, NULL, NULL).code, HF_OK);
                (void)close(fd);
            }
        }
    }
    for (int i = 0; i < n; i++) {
        free(entries[i]);
    }
    free(entries);
    assert_int_equal(check.fault, HF_AUDIT_SOUND);
    assert_int_equal(check.lines, lines);
}

/* A crash between the two renames of a rotation: the name is gone, the next file waits. */
static void test_a_crash_in_a_rotation(void **state)
{
    static const char *const both[] = {"audit.log.00000000000000000006", "audit.log"};
    hf_audit_opening opening;
    (void)state;
    hf_audit_head head = write_lines(5);
    rename_in("audit.log", "audit.log.00000000000000000006");
    int fd = open(at("audit.log.next"), O_WRONLY | O_CREAT, 0600);
    assert_int_equal(write(fd, "half", 4), 4);
    (void)close(fd);
    hf_audit_log *log = open_log(&head, &opening);
    assert_true(opening.has_anchored_line);
    add_lines(log, 2);
    hf_audit_log_close(log);
    assert_int_equal(verify(both, 2).fault, HF_AUDIT_SOUND);
}

static void test_cut_while_it_runs(void **state)
{
    hf_audit_opening opening;
    hf_error err;
    (void)state;
    hf_audit_log *log = open_log(NULL, &opening);
    add_lines(log, 10);
    assert_int_equal(truncate(at("audit.log"), 300), 0);
    assert_int_equal(hf_audit_log_tend(log, false, &err).code, HF_OK);
    assert_string_not_equal(hf_audit_log_notice(log), "");
    add_lines(log, 2);
    hf_audit_log_close(log);
    assert_int_equal(verify(the_log, 1).fault, HF_AUDIT_SOUND);
}

/* No room: the group does not count, and the chain goes on when there is some. */
static void test_no_room(void **state)
{
    hf_audit_opening opening;
    hf_error err;
    (void)state;
    struct rlimit limit;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    (void)signal(SIGXFSZ, SIG_IGN);
    config.is_strict = false;
    hf_audit_log *log = open_log(NULL, &opening);
    add_lines(log, 2);
    uint64_t seq = hf_audit_log_head(log).seq;
    struct rlimit small = {size_of(at("audit.log")) + 100, limit.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    hf_audit_event event = {.kind = HF_AUDIT_RESULT, .decision = "signed"};
    (void)hf_audit_log_add(log, &event);
    hf_status st = hf_audit_log_commit(log, true, &err);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    assert_int_equal(st.code, HF_UNAVAILABLE);
    assert_int_equal(hf_audit_log_committed(log).len, 0);
    assert_int_equal(hf_audit_log_head(log).seq, seq);
    add_lines(log, 2);
    assert_int_equal(hf_audit_log_head(log).seq, seq + 2);
    hf_audit_log_close(log);
    assert_int_equal(verify(the_log, 1).fault, HF_AUDIT_SOUND);
}

static void test_the_key(void **state)
{
    uint8_t first[HF_AUDIT_KEY_BYTES];
    uint8_t again[HF_AUDIT_KEY_BYTES];
    hf_error err;
    (void)state;
    assert_int_equal(hf_audit_key_read(at("audit.key"), false, first, &err).code, HF_NOT_FOUND);
    assert_int_equal(hf_audit_key_read(at("audit.key"), true, first, &err).code, HF_OK);
    assert_int_equal(hf_audit_key_read(at("audit.key"), true, again, &err).code, HF_OK);
    assert_memory_equal(first, again, sizeof first);
    assert_int_equal(chmod(at("audit.key"), 0640), 0);
    assert_int_equal(hf_audit_key_read(at("audit.key"), true, again, &err).code, HF_DENIED);
    assert_int_equal(chmod(at("audit.key"), 0600), 0);
    assert_int_equal(truncate(at("audit.key"), 10), 0);
    assert_int_equal(hf_audit_key_read(at("audit.key"), true, again, &err).code, HF_CORRUPT);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, make_folder, remove_folder)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_goes_on_where_it_ended),
        TEST(test_a_torn_last_line),
        TEST(test_the_journal_gives_back),
        TEST(test_the_journal_goes_round),
        TEST(test_a_changed_line),
        TEST(test_an_older_file),
        TEST(test_an_older_store),
        TEST(test_another_history),
        TEST(test_no_file_at_all),
        TEST(test_the_file_is_moved_away),
        TEST(test_rotation_by_size),
        TEST(test_a_crash_in_a_rotation),
        TEST(test_cut_while_it_runs),
        TEST(test_no_room),
        TEST(test_the_key),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
