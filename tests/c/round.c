/* Takes part in whole rounds through the C interface alone, against the reference server in a child process.
 *
 * The environment variable SISKIN_TEST_SERVER or the first argument names the server's program; without them it is looked
 * for in ../release beside this program's folder. Prints what fails, the report's digest, and `N passed, N failed`. */
#define _POSIX_C_SOURCE 200809L

#include "siskin.h"
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static int passed, failed; /* checks of the current case */

static void check(int ok, const char *what, int line)
{
    if (ok) {
        passed++;
    } else {
        failed++;
        printf("FAIL line %d: %s\n", line, what);
    }
}

static void is(long long got, long long expected, const char *what, int line)
{
    if (got == expected) {
        passed++;
    } else {
        char text[256] = "";
        size_t length;
        failed++;
        siskin_failure_text(text, sizeof text, &length);
        printf("FAIL line %d: %s is %lld, expected %lld (last failure: %s)\n", line, what, got, expected, text);
    }
}

#define CHECK(condition) check((condition) != 0, #condition, __LINE__)
#define IS(expression, expected) is((long long)(expression), (long long)(expected), #expression, __LINE__)

/* --- the server, and the way to it --- */

static const char *server_program;

struct server {
    pid_t pid;
    int to, from;
    int fail_read_at; /* this many reads from now, the transport fails with code 77; -1: never */
    char line[256];
};

static int server_start(struct server *server, const char *argument)
{
    int up[2], down[2];
    memset(server, 0, sizeof *server);
    server->fail_read_at = -1;
    if (pipe(up) != 0 || pipe(down) != 0) {
        return 0;
    }
    fflush(stdout);
    server->pid = fork();
    if (server->pid == 0) {
        dup2(up[0], 0);
        dup2(down[1], 1);
        close(up[0]);
        close(up[1]);
        close(down[0]);
        close(down[1]);
        execl(server_program, server_program, argument, (char *)NULL);
        _exit(127);
    }
    close(up[0]);
    close(down[1]);
    server->to = up[1];
    server->from = down[0];
    return server->pid > 0;
}

/* Closes the round; the server's last line is then in `line`. Returns its exit status. */
static int server_finish(struct server *server)
{
    static char bytes[1 << 16];
    size_t filled = 0, start;
    ssize_t n;
    int status = -1;
    close(server->to);
    while ((n = read(server->from, bytes + filled, sizeof bytes - filled)) > 0) {
        filled += (size_t)n;
    }
    close(server->from);
    waitpid(server->pid, &status, 0);
    if (filled > 0 && bytes[filled - 1] == '\n') {
        filled--;
    }
    for (start = filled; start > 0 && bytes[start - 1] != '\n'; start--) {
    }
    /* An answer that nobody read may stand before the line. */
    for (; start + 9 < filled && memcmp(bytes + start, "accepted ", 9) != 0; start++) {
    }
    if (filled - start < sizeof server->line) {
        memcpy(server->line, bytes + start, filled - start);
    }
    return status;
}

static void server_says(struct server *server, const char *expected, int line)
{
    int status = server_finish(server);
    if (status == 0 && strcmp(server->line, expected) == 0) {
        passed++;
    } else {
        failed++;
        printf("FAIL line %d: the server (status %d) says `%s`, expected `%s`\n", line, status, server->line, expected);
    }
}

#define SERVER_SAYS(server, expected) server_says(server, expected, __LINE__)
#define COUNTED_AGAIN "accepted 1 late 0 duplicate 1 refused 0 abandoned 0 stepped 1"
#define COUNTED_ONCE "accepted 1 late 0 duplicate 0 refused 0 abandoned 0 stepped 1"

static int32_t net_read(void *user, uint8_t *bytes, size_t capacity, size_t *length)
{
    struct server *server = user;
    struct pollfd ready;
    ssize_t n;
    if (server->fail_read_at >= 0 && server->fail_read_at-- == 0) {
        return 77;
    }
    ready.fd = server->from;
    ready.events = POLLIN;
    ready.revents = 0;
    if (poll(&ready, 1, 20000) <= 0) {
        *length = 0;
        return 0;
    }
    /* In small pieces, so that frames arrive in parts. */
    n = read(server->from, bytes, capacity < 700 ? capacity : 700);
    if (n <= 0) {
        return 1;
    }
    *length = (size_t)n;
    return 0;
}

static int32_t net_write(void *user, const uint8_t *bytes, size_t length, size_t *written)
{
    struct server *server = user;
    ssize_t n = write(server->to, bytes, length < 333 ? length : 333);
    if (n < 0) {
        return 2;
    }
    *written = (size_t)n;
    return 0;
}

static siskin_transport transport_to(struct server *server)
{
    siskin_transport transport;
    memset(&transport, 0, sizeof transport);
    transport.struct_size = sizeof transport;
    transport.user_data = server;
    transport.read = net_read;
    transport.write = net_write;
    return transport;
}

/* --- the device's own examples --- */

enum { FEATURES = 64, CLASSES = 10, EXAMPLES = 48 };

struct store {
    uint32_t count;
    uint32_t fail_at;          /* reading this example fails with code -5 */
    uint32_t forget_at;        /* the last feature of this one is not written */
    uint32_t label_at;         /* the label of this one is too large */
    siskin_session *reenter;   /* is used from inside the callback */
    int32_t reenter_result, reenter_free;
    size_t features_len;
};

static uint32_t store_count(void *user)
{
    return ((struct store *)user)->count;
}

static int32_t store_read(void *user, uint32_t index, float *features, size_t features_len, uint32_t *label)
{
    struct store *store = user;
    uint32_t state = index * 2654435761u + 12345u, class = index % CLASSES;
    size_t i;
    store->features_len = features_len;
    if (store->reenter != NULL) {
        siskin_metrics metrics;
        metrics.struct_size = sizeof metrics;
        store->reenter_result = siskin_session_metrics(store->reenter, &metrics);
        store->reenter_free = siskin_session_free(store->reenter);
    }
    if (index == store->fail_at) {
        return -5;
    }
    for (i = 0; i < features_len; i++) {
        state = state * 1664525u + 1013904223u;
        if (index == store->forget_at && i + 1 == features_len) {
            break;
        }
        features[i] = (float)(state >> 8) / 16777216.0f - 0.5f + (i % CLASSES == class ? 1.0f : 0.0f);
    }
    *label = index == store->label_at ? CLASSES : class;
    return 0;
}

static struct store store_new(void)
{
    struct store store;
    memset(&store, 0, sizeof store);
    store.count = EXAMPLES;
    store.fail_at = store.forget_at = store.label_at = UINT32_MAX;
    return store;
}

static siskin_examples examples_of(struct store *store)
{
    siskin_examples examples;
    memset(&examples, 0, sizeof examples);
    examples.struct_size = sizeof examples;
    examples.user_data = store;
    examples.count = store_count;
    examples.read = store_read;
    return examples;
}

/* --- the session --- */

enum { MAX_FRAME = 1024, PLENTY = 1 << 20 };

static uint8_t entropy[SISKIN_ENTROPY_BYTES];
static uint64_t reference_report_len;
static uint8_t reference_report[1 << 16];
static size_t required; /* arena bytes of the plan */

static uint64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000u + (uint64_t)now.tv_nsec / 1000000u;
}

static siskin_config config_new(void)
{
    siskin_config config;
    memset(&config, 0, sizeof config);
    config.struct_size = sizeof config;
    IS(siskin_config_default(&config), SISKIN_RESULT_OK);
    config.population = "test/round";
    config.population_len = strlen(config.population);
    config.max_frame = MAX_FRAME;
    config.timeout_ms = 20000;
    config.largest_clip_norm = 1.0f;
    config.least_noise_multiplier = 0.05f;
    return config;
}

static siskin_session *session_new(void *arena, size_t arena_len)
{
    siskin_config config = config_new();
    siskin_session *session = NULL;
    IS(siskin_session_create(&config, entropy, sizeof entropy, arena, arena_len, &session), SISKIN_RESULT_OK);
    return session;
}

static siskin_failure failure(void)
{
    siskin_failure failure;
    failure.struct_size = sizeof failure;
    IS(siskin_failure_get(&failure), SISKIN_RESULT_OK);
    return failure;
}

static siskin_end end_of(const siskin_session *session)
{
    siskin_end end;
    memset(&end, 0, sizeof end);
    end.struct_size = sizeof end;
    IS(siskin_session_outcome(session, &end), SISKIN_RESULT_OK);
    return end;
}

/* Copies the report while it is there; it must be the reference, byte by byte. */
static void compare_report(const siskin_session *session, int *seen)
{
    const uint8_t *bytes;
    size_t length;
    if (*seen || siskin_session_report(session, &bytes, &length) != SISKIN_RESULT_OK) {
        return;
    }
    *seen = 1;
    if (reference_report_len == 0 && length <= sizeof reference_report) {
        memcpy(reference_report, bytes, length);
        reference_report_len = length;
    }
    IS(length, reference_report_len);
    CHECK(length == reference_report_len && memcmp(bytes, reference_report, length) == 0);
}

/* Steps to the end. */
static int32_t step_to_the_end(siskin_session *session, struct server *server, struct store *store, int *report_seen)
{
    siskin_transport transport = transport_to(server);
    siskin_examples examples = examples_of(store);
    siskin_next next;
    int i;
    memset(&next, 0, sizeof next);
    next.struct_size = sizeof next;
    for (i = 0; i < 10000; i++) {
        int32_t result = siskin_session_step(session, now_ms(), &transport, &examples, &next);
        if (result != SISKIN_RESULT_OK || next.action == SISKIN_ACTION_FINISHED) {
            return result;
        }
        if (report_seen != NULL) {
            compare_report(session, report_seen);
        }
    }
    return -1;
}

/* Saves, ends the session as a killed process would, and goes on in a new handle with new memory. */
static siskin_session *save_kill_restore(siskin_session *session)
{
    siskin_config config = config_new();
    siskin_session *restored = NULL;
    size_t bound = 0, length = 0;
    uint8_t *saved;
    IS(siskin_session_save_bound(session, &bound), SISKIN_RESULT_OK);
    saved = malloc(bound);
    if (saved == NULL) {
        abort();
    }
    IS(siskin_session_save(session, saved, bound, &length), SISKIN_RESULT_OK);
    IS(siskin_session_free(session), SISKIN_RESULT_OK);
    IS(siskin_session_restore(&config, saved, length, NULL, required, &restored), SISKIN_RESULT_OK);
    free(saved);
    return restored;
}

#include "round_cases.h"
#include "ledger_cases.h"

#define CASE(name) { #name, name }
static const struct {
    const char *name;
    void (*run)(void);
} cases[] = {
    CASE(versions_and_texts),
    CASE(whole_round_with_callbacks),
    CASE(whole_round_by_hand),
    CASE(killed_at_every_poll),
    CASE(killed_after_every_request),
    CASE(killed_in_training_and_in_upload),
    CASE(arena_one_byte_too_small),
    CASE(arena_misaligned_or_absent),
    CASE(wrong_configuration),
    CASE(null_pointers),
    CASE(struct_sizes),
    CASE(short_buffers),
    CASE(damaged_saves),
    CASE(restored_under_another_floor),
    CASE(overlapping_buffers),
    CASE(endings),
    CASE(callbacks_that_fail),
    CASE(second_participation_too_early),
    CASE(ledgers_and_logs_as_bytes),
};

int main(int argc, char **argv)
{
    size_t i;
    int good = 0, bad = 0;
    uint32_t digest = 2166136261u;
    server_program = argc > 1 ? argv[1] : getenv("SISKIN_TEST_SERVER");
    if (server_program == NULL) {
        const char *slash = strrchr(argv[0], '/');
        static char beside[4096];
        int folder = slash == NULL ? 0 : (int)(slash - argv[0]) + 1;
        snprintf(beside, sizeof beside, "%.*s../release/siskin-test-server", folder, argv[0]);
        server_program = beside;
    }
    if (access(server_program, X_OK) != 0) {
        printf("no server at %s: name its program in SISKIN_TEST_SERVER\n0 passed, 1 failed\n", server_program);
        return 1;
    }
    signal(SIGPIPE, SIG_IGN);
    for (i = 0; i < sizeof entropy; i++) {
        entropy[i] = (uint8_t)(i * 37 + 11);
    }
    for (i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        passed = failed = 0;
        cases[i].run();
        printf("%-34s %6d checks%s\n", cases[i].name, passed + failed, failed > 0 ? ", FAILED" : "");
        fflush(stdout);
        passed > 0 && failed == 0 ? good++ : bad++;
    }
    for (i = 0; i < reference_report_len; i++) {
        digest = (digest ^ reference_report[i]) * 16777619u; /* FNV-1a */
    }
    printf("report of %d bytes, digest %08lx\n", (int)reference_report_len, (unsigned long)digest);
    printf("%d passed, %d failed\n", good, bad);
    return bad == 0 && good > 0 ? 0 : 1;
}
