/* The cases of round.c, which includes this file once. */

static void versions_and_texts(void)
{
    CHECK(strlen(siskin_version_text()) > 0);
    IS(siskin_abi_version(), SISKIN_ABI_VERSION);
    CHECK(strcmp(siskin_result_text(SISKIN_RESULT_OK), "done") == 0);
    CHECK(strcmp(siskin_result_text(SISKIN_RESULT_BUSY), siskin_result_text(SISKIN_RESULT_POISONED)) != 0);
    CHECK(strcmp(siskin_result_text(-1), "unknown result code") == 0);
    CHECK(strcmp(siskin_result_text(12345), "unknown result code") == 0);
}

/* The way of a phone: the library allocates the arena, the app gives callbacks. */
static void whole_round_with_callbacks(void)
{
    struct server server;
    struct store store = store_new();
    siskin_session *session = session_new(NULL, PLENTY);
    siskin_metrics metrics;
    siskin_egress egress;
    siskin_end end;
    char text[200];
    size_t length = 0;
    int seen = 0;
    CHECK(server_start(&server, NULL));

    memset(&end, 0, sizeof end);
    end.struct_size = sizeof end;
    memset(&egress, 0, sizeof egress);
    egress.struct_size = sizeof egress;
    IS(siskin_session_outcome(session, &end), SISKIN_RESULT_NOT_YET);
    IS(siskin_session_egress(session, &egress), SISKIN_RESULT_NOT_YET);
    IS(siskin_session_required_bytes(session, &length), SISKIN_RESULT_OK);
    IS(length, 2 * MAX_FRAME);

    IS(step_to_the_end(session, &server, &store, &seen), SISKIN_RESULT_OK);
    CHECK(seen);
    IS(store.features_len, FEATURES);
    end = end_of(session);
    IS(end.outcome, SISKIN_OUTCOME_ACCEPTED);
    IS(end.retry_ms, 0);
    IS(siskin_session_outcome_text(session, NULL, 0, &length), SISKIN_RESULT_OK);
    IS(siskin_session_outcome_text(session, text, sizeof text, &length), SISKIN_RESULT_OK);
    CHECK(strcmp(text, "the report was counted") == 0 && length == strlen(text) + 1);

    memset(&metrics, 0, sizeof metrics);
    metrics.struct_size = sizeof metrics;
    IS(siskin_session_metrics(session, &metrics), SISKIN_RESULT_OK);
    IS(metrics.examples, EXAMPLES);
    CHECK(metrics.loss > 0.0f && metrics.loss < 2.5f);
    CHECK(metrics.norm > 0.0f);
    IS(metrics.clipped, metrics.norm > 0.5f);

    IS(siskin_session_egress(session, &egress), SISKIN_RESULT_OK);
    IS(egress.struct_size, sizeof egress);
    IS(egress.bytes, reference_report_len);
    IS(egress.round, 0);
    CHECK(egress.clip_norm == 0.5f && egress.noise_multiplier == 0.05f);
    IS(egress.noise_source, SISKIN_NOISE_SOURCE_DEVICE);
    IS(egress.shares, 1);
    CHECK(egress.time_ms > 0 && egress.time_ms <= now_ms());
    /* It takes several frames, so that there is a middle of the upload. */
    CHECK(reference_report_len > 2 * MAX_FRAME);

    IS(siskin_session_required_bytes(session, &required), SISKIN_RESULT_OK);
    CHECK(required > 2 * MAX_FRAME && required < PLENTY);
    IS(siskin_session_free(session), SISKIN_RESULT_OK);
    SERVER_SAYS(&server, COUNTED_ONCE);
}

/* Polls once and moves bytes by hand. Returns the action. */
static int32_t turn(siskin_session *session, struct server *server, struct store *store, int deliver)
{
    siskin_examples examples = examples_of(store);
    siskin_next next;
    memset(&next, 0, sizeof next);
    next.struct_size = sizeof next;
    if (siskin_session_poll(session, now_ms(), &examples, &next) != SISKIN_RESULT_OK) {
        return -1;
    }
    if (next.action == SISKIN_ACTION_SEND && deliver) {
        const uint8_t *bytes = NULL;
        size_t length = 0, at = 0, n;
        IS(siskin_session_outgoing(session, &bytes, &length), SISKIN_RESULT_OK);
        CHECK(length > 0 && length <= MAX_FRAME);
        for (; at < length; at += n) {
            if (net_write(server, bytes + at, length - at, &n) != 0) {
                return -1;
            }
        }
        IS(siskin_session_sent(session), SISKIN_RESULT_OK);
    }
    if (next.action == SISKIN_ACTION_RECEIVE && deliver) {
        uint8_t bytes[300];
        size_t length = 0;
        CHECK(next.until_ms > now_ms());
        if (net_read(server, bytes, sizeof bytes, &length) != 0) {
            return -1;
        }
        IS(siskin_session_receive(session, bytes, length), SISKIN_RESULT_OK);
    }
    return next.action;
}

/* The way of a microcontroller: memory of the app, exactly as much as the plan needs, and no callbacks for bytes. */
static void whole_round_by_hand(void)
{
    struct server server;
    struct store store = store_new();
    uint8_t *arena = malloc(required), plan[2048];
    siskin_session *session;
    size_t length, needed = 0, i;
    ssize_t n;
    int32_t action;
    int seen = 0, work = 0, zero = 1;
    const uint8_t *bytes;

    /* The plan alone says how much that is. */
    CHECK(server_start(&server, "--plan"));
    for (length = 0; (n = read(server.from, plan + length, sizeof plan - length)) > 0; length += (size_t)n) {
    }
    server_finish(&server);
    IS(siskin_plan_required_bytes(plan, length, MAX_FRAME, &needed), SISKIN_RESULT_OK);
    IS(needed, required);
    needed = 4711;
    plan[length / 2] ^= 0xff;
    plan[length - 1] ^= 0xff;
    IS(siskin_plan_required_bytes(plan, length - 3, MAX_FRAME, &needed), SISKIN_RESULT_PLAN);
    IS(siskin_plan_required_bytes(NULL, 0, MAX_FRAME, &needed), SISKIN_RESULT_NULL_POINTER);
    IS(needed, 4711);

    if (arena == NULL) {
        abort();
    }
    memset(arena, 0xa5, required);
    session = session_new(arena, required);
    CHECK(server_start(&server, NULL));
    IS(siskin_session_outgoing(session, &bytes, &length), SISKIN_RESULT_OK);
    IS(length, 0);
    IS(siskin_session_sent(session), SISKIN_RESULT_NOT_YET);
    do {
        action = turn(session, &server, &store, 1);
        work += action == SISKIN_ACTION_WORK;
        compare_report(session, &seen);
    } while (action > 0 && action != SISKIN_ACTION_FINISHED);
    IS(action, SISKIN_ACTION_FINISHED);
    CHECK(seen);
    CHECK(work >= 3 * EXAMPLES / 8);
    IS(end_of(session).outcome, SISKIN_OUTCOME_ACCEPTED);
    IS(siskin_session_free(session), SISKIN_RESULT_OK);
    SERVER_SAYS(&server, COUNTED_ONCE);
    for (i = 0; i < required; i++) {
        zero &= arena[i] == 0;
    }
    CHECK(zero);
    free(arena);
}

static void killed_at_every_poll(void)
{
    int kill_at, deliver, over = 0, kills = 0;
    for (kill_at = 1; !over && kill_at < 500; kill_at++) {
        for (deliver = 0; deliver < 2 && !over; deliver++) {
            struct server server;
            struct store store = store_new();
            siskin_session *session = session_new(NULL, PLENTY);
            int polls = 0, seen = 0;
            int32_t action, outcome;
            CHECK(server_start(&server, NULL));
            do {
                polls++;
                /* Killed before the bytes were moved, or right after. */
                action = turn(session, &server, &store, polls != kill_at || deliver);
                if (polls == kill_at && action != SISKIN_ACTION_FINISHED) {
                    size_t bound, length;
                    uint8_t *probe;
                    siskin_session_save_bound(session, &bound);
                    probe = malloc(bound);
                    if (siskin_session_save(session, probe, bound, &length) == SISKIN_RESULT_OK) {
                        session = save_kill_restore(session);
                        kills++;
                    } else {
                        /* The last answer is in: there is nothing to go on with. */
                        IS(failure().result, SISKIN_RESULT_FINISHED);
                    }
                    free(probe);
                }
                compare_report(session, &seen);
            } while (action > 0 && action != SISKIN_ACTION_FINISHED && polls < 1000);
            over = polls < kill_at;
            CHECK(seen);
            outcome = end_of(session).outcome;
            CHECK(outcome == SISKIN_OUTCOME_ACCEPTED || outcome == SISKIN_OUTCOME_DUPLICATE);
            IS(siskin_session_free(session), SISKIN_RESULT_OK);
            /* Killed between the last piece and its answer, the device sends that piece again: it counts once. */
            IS(server_finish(&server), 0);
            CHECK(strcmp(server.line, COUNTED_ONCE) == 0 || strcmp(server.line, COUNTED_AGAIN) == 0);
        }
    }
    CHECK(over);
    CHECK(kills > 60);
}

/* Killed when a request has left, before its answer was read. How many polls it takes to get there depends on the machine; how
   many requests, does not: the last one is the last piece of the report, which is sent again and counts once. */
static void killed_after_every_request(void)
{
    int kill_at, over = 0, again = 0;
    for (kill_at = 1; !over && kill_at < 100; kill_at++) {
        struct server server;
        struct store store = store_new();
        siskin_session *session = session_new(NULL, PLENTY);
        int requests = 0, polls = 0, seen = 0;
        int32_t action;
        CHECK(server_start(&server, NULL));
        do {
            action = turn(session, &server, &store, 1);
            if (action == SISKIN_ACTION_SEND && ++requests == kill_at) {
                session = save_kill_restore(session);
            }
            compare_report(session, &seen);
        } while (action > 0 && action != SISKIN_ACTION_FINISHED && ++polls < 1000);
        over = requests < kill_at;
        IS(action, SISKIN_ACTION_FINISHED);
        IS(siskin_session_free(session), SISKIN_RESULT_OK);
        IS(server_finish(&server), 0);
        CHECK(strcmp(server.line, COUNTED_ONCE) == 0 || strcmp(server.line, COUNTED_AGAIN) == 0);
        again += strcmp(server.line, COUNTED_AGAIN) == 0;
    }
    CHECK(over);
    CHECK(again > 0);
}

static void killed_in_training_and_in_upload(void)
{
    struct server server;
    struct store store = store_new();
    siskin_session *session = session_new(NULL, required);
    siskin_transport transport = transport_to(&server);
    siskin_examples examples = examples_of(&store);
    siskin_next next;
    int seen = 0, in_training = 0, in_upload = 0;
    memset(&next, 0, sizeof next);
    next.struct_size = sizeof next;
    CHECK(server_start(&server, NULL));
    while (siskin_session_step(session, now_ms(), &transport, &examples, &next) == SISKIN_RESULT_OK &&
           next.action != SISKIN_ACTION_FINISHED) {
        if (next.action == SISKIN_ACTION_WORK && next.done == 7) {
            IS(next.of, 3 * EXAMPLES / 8);
            session = save_kill_restore(session);
            in_training++;
        }
        compare_report(session, &seen);
        /* Half a request is on its way: the frame is cut off, and the server must find the next one. */
        if (seen && in_upload < 4) {
            const uint8_t *bytes;
            size_t length, n;
            if (next.action == SISKIN_ACTION_WORK && siskin_session_outgoing(session, &bytes, &length) == 0 && length == 0) {
                siskin_session_poll(session, now_ms(), &examples, &next);
                siskin_session_outgoing(session, &bytes, &length);
                if (length > 100) {
                    net_write(&server, bytes, 50, &n);
                }
                session = save_kill_restore(session);
                in_upload++;
            }
        }
    }
    IS(in_training, 1);
    IS(in_upload, 4);
    CHECK(seen);
    IS(end_of(session).outcome, SISKIN_OUTCOME_ACCEPTED);
    IS(siskin_session_free(session), SISKIN_RESULT_OK);
    SERVER_SAYS(&server, COUNTED_ONCE);
}

static void arena_one_byte_too_small(void)
{
    struct server server;
    struct store store = store_new();
    siskin_config config = config_new();
    siskin_session *session = session_new(NULL, required - 1), *none = NULL;
    siskin_end end;
    size_t least = 0;

    /* Too small for the plan: known when it arrives, before anything is downloaded. */
    CHECK(server_start(&server, NULL));
    IS(step_to_the_end(session, &server, &store, NULL), SISKIN_RESULT_OK);
    end = end_of(session);
    IS(end.outcome, SISKIN_OUTCOME_ABANDONED);
    IS(end.cause, SISKIN_CAUSE_MEMORY);
    IS(end.limit, required);
    IS(end.got, required - 1);
    CHECK(end.retry_ms >= 11520000 && end.retry_ms <= 17280000);
    IS(store.features_len, 0);
    IS(siskin_session_free(session), SISKIN_RESULT_OK);
    SERVER_SAYS(&server, "accepted 0 late 0 duplicate 0 refused 0 abandoned 1 stepped 0");

    /* Too small for the check-in: known at once. */
    IS(siskin_arena_least_bytes(MAX_FRAME, &least), SISKIN_RESULT_OK);
    IS(least, 2 * MAX_FRAME);
    IS(siskin_session_create(&config, entropy, sizeof entropy, NULL, least - 1, &none), SISKIN_RESULT_ARENA_TOO_SMALL);
    IS(failure().limit, least);
    IS(failure().got, least - 1);
    CHECK(none == NULL);
    IS(siskin_session_create(&config, entropy, sizeof entropy, NULL, 0, &none), SISKIN_RESULT_ARENA_TOO_SMALL);
    session = session_new(NULL, least);
    IS(siskin_session_free(session), SISKIN_RESULT_OK);

    /* Too small for what was saved. */
    store = store_new();
    session = session_new(NULL, required);
    CHECK(server_start(&server, NULL));
    while (turn(session, &server, &store, 1) != SISKIN_ACTION_WORK) {
    }
    {
        uint8_t *saved = malloc(PLENTY);
        size_t length = 0;
        IS(siskin_session_save(session, saved, PLENTY, &length), SISKIN_RESULT_OK);
        IS(siskin_session_restore(&config, saved, length, NULL, required - 1, &none), SISKIN_RESULT_ARENA_TOO_SMALL);
        IS(failure().limit, required);
        IS(failure().got, required - 1);
        CHECK(none == NULL);
        free(saved);
    }
    IS(siskin_session_free(session), SISKIN_RESULT_OK);
    server_finish(&server);
}

static void arena_misaligned_or_absent(void)
{
    siskin_config config = config_new();
    siskin_session *session = NULL;
    uint8_t *arena = malloc(PLENTY);
    size_t offset;
    if (arena == NULL) {
        abort();
    }
    memset(arena, 0x5a, PLENTY);
    CHECK((uintptr_t)arena % SISKIN_ARENA_ALIGNMENT == 0);
    for (offset = 1; offset < SISKIN_ARENA_ALIGNMENT; offset++) {
        IS(siskin_session_create(&config, entropy, sizeof entropy, arena + offset, PLENTY - offset, &session),
           SISKIN_RESULT_ARENA_MISALIGNED);
        IS(failure().got, offset);
    }
    CHECK(session == NULL && arena[0] == 0x5a && arena[1] == 0x5a && arena[PLENTY - 1] == 0x5a);
    IS(siskin_session_create(&config, entropy, sizeof entropy, arena, SIZE_MAX, &session), SISKIN_RESULT_ARGUMENT);
    IS(siskin_session_create(&config, entropy, sizeof entropy, NULL, SIZE_MAX / 2 - 15, &session), SISKIN_RESULT_NO_MEMORY);
    CHECK(session == NULL);
    free(arena);
}

static void wrong_configuration(void)
{
    siskin_session *session = NULL;
    siskin_config config = config_new();
    uint8_t zeros[SISKIN_ENTROPY_BYTES];
    char name[64];
    memset(zeros, 0, sizeof zeros);
    memset(name, 'p', sizeof name);
#define REFUSED(code) \
    IS(siskin_session_create(&config, entropy, sizeof entropy, NULL, PLENTY, &session), code), config = config_new()
    IS(siskin_session_create(&config, zeros, sizeof zeros, NULL, PLENTY, &session), SISKIN_RESULT_ENTROPY);
    IS(siskin_session_create(&config, entropy, sizeof entropy - 1, NULL, PLENTY, &session), SISKIN_RESULT_ENTROPY);
    IS(failure().limit, SISKIN_ENTROPY_BYTES);
    config.largest_clip_norm = 0.0f, REFUSED(SISKIN_RESULT_ARGUMENT);
    config.least_noise_multiplier = -1.0f, REFUSED(SISKIN_RESULT_ARGUMENT);
    config.max_frame = 1023, REFUSED(SISKIN_RESULT_ARGUMENT);
    config.max_frame = (1 << 20) + 1, REFUSED(SISKIN_RESULT_ARGUMENT);
    config.retries = 256, REFUSED(SISKIN_RESULT_ARGUMENT);
    config.timeout_ms = 0, REFUSED(SISKIN_RESULT_ARGUMENT);
    config.population_len = 0, REFUSED(SISKIN_RESULT_ARGUMENT);
    config.population = NULL, REFUSED(SISKIN_RESULT_NULL_POINTER);
    config.population = "\xff\xfe", config.population_len = 2, REFUSED(SISKIN_RESULT_ARGUMENT);
    config.population = name, config.population_len = 49, REFUSED(SISKIN_RESULT_ARGUMENT);
    IS(failure().limit, 48);
    IS(failure().got, 49);
    /* As the default leaves it, the floor is not chosen. */
    siskin_config_default(&config);
    config.population = "p", config.population_len = 1, REFUSED(SISKIN_RESULT_ARGUMENT);
    CHECK(session == NULL);
#undef REFUSED
}

static void null_pointers(void)
{
    struct server server;
    struct store store = store_new();
    siskin_config config = config_new();
    siskin_session *session = session_new(NULL, PLENTY), *none = NULL;
    siskin_transport transport;
    siskin_examples examples = examples_of(&store), half = examples;
    siskin_next next;
    siskin_metrics metrics;
    siskin_egress egress;
    siskin_end end;
    uint8_t buffer[4096];
    const uint8_t *bytes = NULL;
    size_t n = 4711;
    memset(&server, 0, sizeof server);
    transport = transport_to(&server);
    next.struct_size = sizeof next;
    metrics.struct_size = sizeof metrics;
    egress.struct_size = sizeof egress;
    end.struct_size = sizeof end;
#define NULL_REFUSED(call) IS(call, SISKIN_RESULT_NULL_POINTER)
    NULL_REFUSED(siskin_config_default(NULL));
    NULL_REFUSED(siskin_failure_get(NULL));
    NULL_REFUSED(siskin_failure_text((char *)buffer, sizeof buffer, NULL));
    NULL_REFUSED(siskin_arena_least_bytes(MAX_FRAME, NULL));
    NULL_REFUSED(siskin_plan_required_bytes(NULL, 5, MAX_FRAME, &n));
    NULL_REFUSED(siskin_plan_required_bytes(buffer, 5, MAX_FRAME, NULL));
    NULL_REFUSED(siskin_session_create(NULL, entropy, sizeof entropy, NULL, PLENTY, &none));
    NULL_REFUSED(siskin_session_create(&config, NULL, sizeof entropy, NULL, PLENTY, &none));
    NULL_REFUSED(siskin_session_create(&config, entropy, sizeof entropy, NULL, PLENTY, NULL));
    NULL_REFUSED(siskin_session_restore(NULL, buffer, sizeof buffer, NULL, PLENTY, &none));
    NULL_REFUSED(siskin_session_restore(&config, NULL, sizeof buffer, NULL, PLENTY, &none));
    NULL_REFUSED(siskin_session_restore(&config, buffer, sizeof buffer, NULL, PLENTY, NULL));
    NULL_REFUSED(siskin_session_poll(NULL, 0, &examples, &next));
    NULL_REFUSED(siskin_session_poll(session, 0, NULL, &next));
    NULL_REFUSED(siskin_session_poll(session, 0, &examples, NULL));
    NULL_REFUSED(siskin_session_step(NULL, 0, &transport, &examples, &next));
    NULL_REFUSED(siskin_session_step(session, 0, NULL, &examples, &next));
    NULL_REFUSED(siskin_session_step(session, 0, &transport, NULL, &next));
    NULL_REFUSED(siskin_session_step(session, 0, &transport, &examples, NULL));
    half.count = NULL;
    NULL_REFUSED(siskin_session_poll(session, 0, &half, &next));
    half = examples, half.read = NULL;
    NULL_REFUSED(siskin_session_poll(session, 0, &half, &next));
    transport.read = NULL;
    NULL_REFUSED(siskin_session_step(session, 0, &transport, &examples, &next));
    transport = transport_to(&server), transport.write = NULL;
    NULL_REFUSED(siskin_session_step(session, 0, &transport, &examples, &next));
    NULL_REFUSED(siskin_session_outgoing(NULL, &bytes, &n));
    NULL_REFUSED(siskin_session_outgoing(session, NULL, &n));
    NULL_REFUSED(siskin_session_outgoing(session, &bytes, NULL));
    NULL_REFUSED(siskin_session_sent(NULL));
    NULL_REFUSED(siskin_session_receive(NULL, buffer, 1));
    NULL_REFUSED(siskin_session_receive(session, NULL, 1));
    IS(siskin_session_receive(session, NULL, 0), SISKIN_RESULT_OK);
    NULL_REFUSED(siskin_session_save_bound(NULL, &n));
    NULL_REFUSED(siskin_session_save_bound(session, NULL));
    NULL_REFUSED(siskin_session_save(NULL, buffer, sizeof buffer, &n));
    NULL_REFUSED(siskin_session_save(session, NULL, sizeof buffer, &n));
    NULL_REFUSED(siskin_session_save(session, buffer, sizeof buffer, NULL));
    NULL_REFUSED(siskin_session_required_bytes(NULL, &n));
    NULL_REFUSED(siskin_session_required_bytes(session, NULL));
    NULL_REFUSED(siskin_session_report(NULL, &bytes, &n));
    NULL_REFUSED(siskin_session_report(session, NULL, &n));
    NULL_REFUSED(siskin_session_report(session, &bytes, NULL));
    NULL_REFUSED(siskin_session_outcome(NULL, &end));
    NULL_REFUSED(siskin_session_outcome(session, NULL));
    NULL_REFUSED(siskin_session_outcome_text(NULL, (char *)buffer, sizeof buffer, &n));
    NULL_REFUSED(siskin_session_metrics(NULL, &metrics));
    NULL_REFUSED(siskin_session_metrics(session, NULL));
    NULL_REFUSED(siskin_session_egress(NULL, &egress));
    NULL_REFUSED(siskin_session_egress(session, NULL));
#undef NULL_REFUSED
    /* Nothing was written, and the session has not moved: it still wants to check in. */
    CHECK(none == NULL && bytes == NULL && n == 4711);
    IS(siskin_session_poll(session, 0, &examples, &next), SISKIN_RESULT_OK);
    IS(next.action, SISKIN_ACTION_SEND);
    IS(siskin_session_free(NULL), SISKIN_RESULT_OK);
    IS(siskin_session_free(session), SISKIN_RESULT_OK);
}

static void struct_sizes(void)
{
    struct store store = store_new();
    struct {
        siskin_config config;
        uint64_t later;
    } newer;
    siskin_config config = config_new();
    siskin_session *session = session_new(NULL, PLENTY), *other = NULL;
    siskin_examples examples = examples_of(&store);
    siskin_next next;
    memset(&next, 0x5a, sizeof next);
    next.struct_size = sizeof next - 1;
    IS(siskin_session_poll(session, 0, &examples, &next), SISKIN_RESULT_STRUCT_SIZE);
    IS(failure().limit, sizeof next);
    IS(failure().got, sizeof next - 1);
    next.struct_size = 0x5a5a5a5a;
    IS(siskin_session_poll(session, 0, &examples, &next), SISKIN_RESULT_STRUCT_SIZE);
    IS(next.action, 0x5a5a5a5a);
    next.struct_size = sizeof next;
    examples.struct_size = 0;
    IS(siskin_session_poll(session, 0, &examples, &next), SISKIN_RESULT_STRUCT_SIZE);
    config.struct_size--;
    IS(siskin_session_create(&config, entropy, sizeof entropy, NULL, PLENTY, &other), SISKIN_RESULT_STRUCT_SIZE);
    CHECK(other == NULL);
    /* An app that was compiled with a newer header: fine as long as it does not use what this library does not know. */
    memset(&newer, 0, sizeof newer);
    newer.config = config_new();
    newer.config.struct_size = sizeof newer;
    newer.later = 1;
    IS(siskin_session_create(&newer.config, entropy, sizeof entropy, NULL, PLENTY, &other), SISKIN_RESULT_STRUCT_SIZE);
    newer.later = 0;
    IS(siskin_session_create(&newer.config, entropy, sizeof entropy, NULL, PLENTY, &other), SISKIN_RESULT_OK);
    IS(siskin_session_free(other), SISKIN_RESULT_OK);
    IS(siskin_session_free(session), SISKIN_RESULT_OK);
}

static void short_buffers(void)
{
    struct server server;
    struct store store = store_new();
    siskin_session *session = session_new(NULL, PLENTY);
    size_t bound = 0, length = 4711, i;
    uint8_t *buffer;
    char text[8];
    int untouched = 1;
    CHECK(server_start(&server, NULL));
    while (turn(session, &server, &store, 1) != SISKIN_ACTION_WORK) {
    }
    IS(siskin_session_save_bound(session, &bound), SISKIN_RESULT_OK);
    buffer = malloc(bound);
    if (buffer == NULL) {
        abort();
    }
    memset(buffer, 0x5a, bound);
    IS(siskin_session_save(session, buffer, bound - 1, &length), SISKIN_RESULT_BUFFER_TOO_SMALL);
    IS(failure().result, SISKIN_RESULT_BUFFER_TOO_SMALL);
    IS(failure().limit, bound);
    IS(failure().got, bound - 1);
    IS(siskin_session_save(session, buffer, 0, &length), SISKIN_RESULT_BUFFER_TOO_SMALL);
    for (i = 0; i < bound; i++) {
        untouched &= buffer[i] == 0x5a;
    }
    CHECK(untouched);
    IS(length, 4711);
    memset(text, 'x', sizeof text);
    IS(siskin_failure_text(text, sizeof text, &length), SISKIN_RESULT_BUFFER_TOO_SMALL);
    CHECK(text[0] == 'x' && length == 4711);
    /* Asking for a failure does not replace it. */
    IS(failure().limit, bound);
    IS(siskin_failure_text(NULL, 0, &length), SISKIN_RESULT_OK);
    CHECK(length > 8 && length < 200);
    free(buffer);
    IS(siskin_session_free(session), SISKIN_RESULT_OK);
    server_finish(&server);
}

static void damaged_saves(void)
{
    struct server server;
    struct store store = store_new();
    siskin_config config = config_new();
    siskin_session *session = session_new(NULL, PLENTY), *none = NULL;
    uint8_t *saved = malloc(PLENTY);
    size_t length = 0, i;
    CHECK(server_start(&server, NULL));
    while (turn(session, &server, &store, 1) != SISKIN_ACTION_WORK) {
    }
    IS(siskin_session_save(session, saved, PLENTY, &length), SISKIN_RESULT_OK);
    for (i = 0; i < 200; i++) {
        size_t at = i < 60 ? i : i * 7919 % length;
        saved[at] ^= (uint8_t)(1u << (i % 8));
        IS(siskin_session_restore(&config, saved, length, NULL, PLENTY, &none), SISKIN_RESULT_SAVED_BYTES);
        saved[at] ^= (uint8_t)(1u << (i % 8));
    }
    for (i = 0; i < length; i += 997) {
        IS(siskin_session_restore(&config, saved, i, NULL, PLENTY, &none), SISKIN_RESULT_SAVED_BYTES);
    }
    CHECK(none == NULL);
    for (i = 0; i < length; i++) {
        saved[i] = (uint8_t)(i * i + 3);
    }
    IS(siskin_session_restore(&config, saved, length, NULL, PLENTY, &none), SISKIN_RESULT_SAVED_BYTES);
    CHECK(none == NULL);
    free(saved);
    IS(siskin_session_free(session), SISKIN_RESULT_OK);
    server_finish(&server);
}

/* An app that was updated while its session was saved may have a higher floor. */
static void restored_under_another_floor(void)
{
    struct server server;
    struct store store = store_new();
    siskin_config config = config_new();
    siskin_session *session = session_new(NULL, PLENTY), *restored = NULL;
    uint8_t *saved = malloc(PLENTY);
    size_t length = 0;
    CHECK(server_start(&server, NULL));
    while (turn(session, &server, &store, 1) != SISKIN_ACTION_WORK) {
    }
    IS(siskin_session_save(session, saved, PLENTY, &length), SISKIN_RESULT_OK);
    IS(siskin_session_free(session), SISKIN_RESULT_OK);
    config.least_noise_multiplier = 0.5f;
    IS(siskin_session_restore(&config, saved, length, NULL, PLENTY, &restored), SISKIN_RESULT_POLICY);
    CHECK(failure().limit == 0.5 && failure().got == (double)0.05f);
    config = config_new();
    config.largest_clip_norm = 0.25f;
    IS(siskin_session_restore(&config, saved, length, NULL, PLENTY, &restored), SISKIN_RESULT_POLICY);
    config = config_new();
    config.population = "test/other";
    IS(siskin_session_restore(&config, saved, length, NULL, PLENTY, &restored), SISKIN_RESULT_POLICY);
    CHECK(restored == NULL);
    config = config_new();
    config.least_noise_multiplier = 0.0f;
    IS(siskin_session_restore(&config, saved, length, NULL, PLENTY, &restored), SISKIN_RESULT_OK);
    IS(step_to_the_end(restored, &server, &store, NULL), SISKIN_RESULT_OK);
    IS(siskin_session_free(restored), SISKIN_RESULT_OK);
    free(saved);
    SERVER_SAYS(&server, COUNTED_ONCE);
}

static void overlapping_buffers(void)
{
    siskin_config config = config_new();
    siskin_session *session, *none = NULL;
    uint8_t *arena = malloc(PLENTY);
    size_t length = 4711;
    if (arena == NULL) {
        abort();
    }
    session = session_new(arena, PLENTY / 2);
    IS(siskin_session_receive(session, arena + 100, 10), SISKIN_RESULT_OVERLAP);
    IS(siskin_session_receive(session, arena + PLENTY / 2 - 1, 1), SISKIN_RESULT_OVERLAP);
    IS(siskin_session_save(session, arena + PLENTY / 4, PLENTY / 2, &length), SISKIN_RESULT_OVERLAP);
    IS(length, 4711);
    memset(arena + PLENTY / 2, 0, PLENTY / 2);
    IS(siskin_session_receive(session, arena + PLENTY / 2, 10), SISKIN_RESULT_OK);
    IS(siskin_session_save(session, arena + PLENTY / 2, PLENTY / 2, &length), SISKIN_RESULT_OK);
    IS(siskin_session_free(session), SISKIN_RESULT_OK);
    IS(siskin_session_restore(&config, arena + PLENTY / 2, length, arena, PLENTY, &none), SISKIN_RESULT_OVERLAP);
    IS(siskin_session_restore(&config, arena + PLENTY / 2, length, arena, PLENTY / 2, &none), SISKIN_RESULT_OK);
    IS(siskin_session_free(none), SISKIN_RESULT_OK);
    free(arena);
}

/* Runs a session that must end as stated. */
static siskin_end ends(const char *argument, siskin_config config, struct store store, const char *counts)
{
    struct server server;
    siskin_session *session = NULL;
    siskin_end end;
    uint8_t buffer[1];
    size_t length = 0;
    IS(siskin_session_create(&config, entropy, sizeof entropy, NULL, PLENTY, &session), SISKIN_RESULT_OK);
    CHECK(server_start(&server, argument));
    IS(step_to_the_end(session, &server, &store, NULL), SISKIN_RESULT_OK);
    end = end_of(session);
    /* What is over stays over. */
    IS(step_to_the_end(session, &server, &store, NULL), SISKIN_RESULT_OK);
    IS(siskin_session_save(session, buffer, PLENTY, &length), SISKIN_RESULT_FINISHED);
    IS(length, 0);
    IS(siskin_session_free(session), SISKIN_RESULT_OK);
    SERVER_SAYS(&server, counts);
    return end;
}

static void endings(void)
{
    const char *given_back = "accepted 0 late 0 duplicate 0 refused 0 abandoned 1 stepped 0";
    const char *nothing = "accepted 0 late 0 duplicate 0 refused 0 abandoned 0 stepped 0";
    struct store store = store_new();
    siskin_config config = config_new();
    siskin_end end;

    end = ends("--late", config, store, "accepted 0 late 1 duplicate 0 refused 0 abandoned 0 stepped 0");
    IS(end.outcome, SISKIN_OUTCOME_LATE);
    IS(end.retry_ms, 0);

    config.population = "test/other";
    end = ends(NULL, config, store, nothing);
    IS(end.outcome, SISKIN_OUTCOME_REJECTED);
    IS(end.reason, SISKIN_REASON_UNKNOWN_POPULATION);
    CHECK(end.retry_ms >= 11520000 && end.retry_ms <= 17280000);

    config = config_new();
    config.least_noise_multiplier = 0.25f;
    end = ends(NULL, config, store, given_back);
    IS(end.outcome, SISKIN_OUTCOME_ABANDONED);
    IS(end.cause, SISKIN_CAUSE_POLICY);
    CHECK(end.limit == 0.25 && end.got == (double)0.05f);

    config = config_new();
    config.largest_upload = 1000;
    end = ends(NULL, config, store, given_back);
    IS(end.cause, SISKIN_CAUSE_POLICY);
    IS(end.limit, 1000);
    IS(end.got, 1 << 16);

    config = config_new();
    store.count = 0;
    end = ends(NULL, config, store, given_back);
    IS(end.cause, SISKIN_CAUSE_NO_EXAMPLES);

    store = store_new(), store.fail_at = 3;
    end = ends(NULL, config, store, given_back);
    IS(end.cause, SISKIN_CAUSE_STORE);
    IS(end.code, -5);

    store = store_new(), store.label_at = 40;
    end = ends(NULL, config, store, given_back);
    IS(end.cause, SISKIN_CAUSE_STORE);
    IS(end.limit, CLASSES);
    IS(end.got, CLASSES);

    store = store_new(), store.forget_at = 11;
    end = ends(NULL, config, store, given_back);
    IS(end.cause, SISKIN_CAUSE_STORE);
    IS(end.code, 0);
}

static void callbacks_that_fail(void)
{
    struct server server;
    struct store store = store_new();
    siskin_session *session = session_new(NULL, PLENTY);
    siskin_transport transport;
    siskin_examples examples = examples_of(&store);
    siskin_next next;
    int seen = 0, i, failures = 0;
    int32_t result;

    /* A callback that uses the session, even to free it, is told that it is in use. */
    store.reenter = session;
    CHECK(server_start(&server, NULL));
    /* The connection breaks now and then; the session goes on over the next one. */
    for (i = 0; i < 200; i++) {
        server.fail_read_at = 1;
        result = step_to_the_end(session, &server, &store, &seen);
        if (result != SISKIN_RESULT_TRANSPORT) {
            break;
        }
        IS(failure().code, 77);
        failures++;
    }
    IS(result, SISKIN_RESULT_OK);
    CHECK(failures > 3);
    IS(store.reenter_result, SISKIN_RESULT_BUSY);
    IS(store.reenter_free, SISKIN_RESULT_BUSY);
    CHECK(seen);
    IS(end_of(session).outcome, SISKIN_OUTCOME_ACCEPTED);
    IS(siskin_session_free(session), SISKIN_RESULT_OK);
    SERVER_SAYS(&server, COUNTED_ONCE);

    /* A connection that is gone for good. */
    session = session_new(NULL, PLENTY);
    store.reenter = NULL;
    CHECK(server_start(&server, NULL));
    server_finish(&server);
    transport = transport_to(&server);
    memset(&next, 0, sizeof next);
    next.struct_size = sizeof next;
    IS(siskin_session_step(session, now_ms(), &transport, &examples, &next), SISKIN_RESULT_TRANSPORT);
    IS(failure().code, 2);
    IS(next.action, SISKIN_ACTION_NONE);
    IS(siskin_session_free(session), SISKIN_RESULT_OK);
}
