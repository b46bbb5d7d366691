/* Cases of the participation ledger and the egress log; round.c includes this file once. */

/* Plays a whole round with a ledger, which is stored when the session says so. Returns how often that was. */
static int play_with_ledger(const siskin_config *config, uint8_t *ledger, uint64_t clock_ms, uint8_t *log, size_t log_len,
                            struct server *server, const char *argument, siskin_end *end, char *text, size_t text_capacity)
{
    struct store store = store_new();
    siskin_transport transport = transport_to(server);
    siskin_examples examples = examples_of(&store);
    siskin_session *session = NULL;
    siskin_next next;
    uint8_t other[SISKIN_ENTROPY_BYTES], bytes[SISKIN_LEDGER_BYTES];
    size_t length;
    int stored = 0, i;
    memcpy(other, entropy, sizeof other);
    other[0] ^= (uint8_t)clock_ms;
    memset(&next, 0, sizeof next);
    next.struct_size = sizeof next;
    CHECK(server_start(server, argument));
    IS(siskin_session_create(config, other, sizeof other, NULL, PLENTY, &session), SISKIN_RESULT_OK);
    IS(siskin_session_ledger(session, bytes, sizeof bytes), SISKIN_RESULT_NOT_YET);
    IS(siskin_session_persisted(session), SISKIN_RESULT_NOT_YET);
    if (ledger != NULL) {
        IS(siskin_session_use_ledger(session, ledger, SISKIN_LEDGER_BYTES, clock_ms), SISKIN_RESULT_OK);
    }
    for (i = 0; i < 10000 && next.action != SISKIN_ACTION_FINISHED; i++) {
        int32_t result = siskin_session_step(session, now_ms(), &transport, &examples, &next);
        if (result != SISKIN_RESULT_OK) {
            IS(result, SISKIN_RESULT_OK);
            break;
        }
        if (next.action == SISKIN_ACTION_PERSIST) {
            /* Until it is said to be stored, nothing else happens. */
            IS(siskin_session_step(session, now_ms(), &transport, &examples, &next), SISKIN_RESULT_OK);
            IS(next.action, SISKIN_ACTION_PERSIST);
            IS(siskin_session_ledger(session, bytes, sizeof bytes - 1), SISKIN_RESULT_BUFFER_TOO_SMALL);
            IS(failure().limit, SISKIN_LEDGER_BYTES);
            IS(siskin_session_ledger(session, bytes, sizeof bytes), SISKIN_RESULT_OK);
            CHECK(memcmp(bytes, ledger, sizeof bytes) != 0);
            memcpy(ledger, bytes, sizeof bytes);
            IS(siskin_session_log(session, log, log_len), SISKIN_RESULT_OK);
            IS(siskin_session_persisted(session), SISKIN_RESULT_OK);
            IS(siskin_session_persisted(session), SISKIN_RESULT_NOT_YET);
            stored++;
        }
    }
    *end = end_of(session);
    IS(siskin_session_outcome_text(session, text, text_capacity, &length), SISKIN_RESULT_OK);
    if (end->outcome == SISKIN_OUTCOME_ACCEPTED) {
        /* The same report again is no second record. */
        IS(siskin_session_log(session, log, log_len), SISKIN_RESULT_OK);
    } else {
        IS(siskin_session_log(session, log, log_len), SISKIN_RESULT_NOT_YET);
    }
    IS(siskin_session_free(session), SISKIN_RESULT_OK);
    return stored;
}

static siskin_ledger_summary summary_of(const uint8_t *ledger)
{
    siskin_ledger_summary summary;
    memset(&summary, 0, sizeof summary);
    summary.struct_size = sizeof summary;
    IS(siskin_ledger_read(ledger, SISKIN_LEDGER_BYTES, 1e-6, &summary), SISKIN_RESULT_OK);
    return summary;
}

#define GIVEN_BACK "accepted 0 late 0 duplicate 0 refused 0 abandoned 1 stepped 0"

/* The second participation comes too early, in rounds and in time: refused, with both numbers, and nothing is debited. */
static void second_participation_too_early(void)
{
    siskin_config config = config_new();
    siskin_end end;
    struct server server;
    uint8_t ledger[SISKIN_LEDGER_BYTES], before[SISKIN_LEDGER_BYTES];
    uint8_t log[SISKIN_LOG_HEAD_BYTES + 2 * SISKIN_LOG_RECORD_BYTES];
    char text[300];
    double one;
    IS(siskin_ledger_create(ledger, sizeof ledger), SISKIN_RESULT_OK);
    IS(siskin_log_create(log, sizeof log), SISKIN_RESULT_OK);
    IS(summary_of(ledger).participations, 0);
    CHECK(summary_of(ledger).epsilon == 0.0);

    config.min_separation = 3;
    config.min_separation_ms = 3600000;
    IS(play_with_ledger(&config, ledger, 5000000, log, sizeof log, &server, NULL, &end, text, sizeof text), 1);
    IS(end.outcome, SISKIN_OUTCOME_ACCEPTED);
    SERVER_SAYS(&server, COUNTED_ONCE);
    IS(summary_of(ledger).participations, 1);
    IS(summary_of(ledger).sequence, 1);
    one = summary_of(ledger).epsilon;
    CHECK(one > 0.0 && one < 1e9 && summary_of(ledger).epsilon_of_period == one);

    memcpy(before, ledger, sizeof before);
    IS(play_with_ledger(&config, ledger, 90000001, log, sizeof log, &server, NULL, &end, text, sizeof text), 0);
    IS(end.outcome, SISKIN_OUTCOME_ABANDONED);
    IS(end.cause, SISKIN_CAUSE_POLICY);
    CHECK(end.limit == 3.0 && end.got == 0.0);
    CHECK(strstr(text, "round 0 is 0 after round 0, the app wants at least 3") != NULL);
    SERVER_SAYS(&server, GIVEN_BACK);

    config.min_separation = 0;
    IS(play_with_ledger(&config, ledger, 5000002, log, sizeof log, &server, NULL, &end, text, sizeof text), 0);
    IS(end.cause, SISKIN_CAUSE_POLICY);
    CHECK(end.limit == 3600000.0 && end.got >= 0.0 && end.got < 100000.0);
    CHECK(strstr(text, "the app wants at least 3600000") != NULL);
    SERVER_SAYS(&server, GIVEN_BACK);

    config.min_separation_ms = 0;
    config.most_participations = 1;
    IS(play_with_ledger(&config, ledger, 5000003, log, sizeof log, &server, NULL, &end, text, sizeof text), 0);
    CHECK(end.cause == SISKIN_CAUSE_POLICY && end.limit == 1.0 && end.got == 2.0);
    SERVER_SAYS(&server, GIVEN_BACK);

    config.most_participations = 0;
    config.largest_epsilon = one;
    config.dp_delta = 1e-6;
    IS(play_with_ledger(&config, ledger, 5000004, log, sizeof log, &server, NULL, &end, text, sizeof text), 0);
    CHECK(end.cause == SISKIN_CAUSE_POLICY && end.limit == one && end.got > one);
    SERVER_SAYS(&server, GIVEN_BACK);

    /* A bound without a ledger. */
    IS(play_with_ledger(&config, NULL, 5, log, sizeof log, &server, NULL, &end, text, sizeof text), 0);
    IS(end.cause, SISKIN_CAUSE_POLICY);
    CHECK(strstr(text, "there is no ledger") != NULL);
    SERVER_SAYS(&server, GIVEN_BACK);
    CHECK(memcmp(before, ledger, sizeof ledger) == 0);

    config.largest_epsilon = 0.0;
    IS(play_with_ledger(&config, ledger, 5000005, log, sizeof log, &server, NULL, &end, text, sizeof text), 1);
    IS(end.outcome, SISKIN_OUTCOME_ACCEPTED);
    SERVER_SAYS(&server, COUNTED_ONCE);
    IS(summary_of(ledger).participations, 2);
    CHECK(summary_of(ledger).epsilon > one);
}

static void ledgers_and_logs_as_bytes(void)
{
    siskin_config config = config_new();
    siskin_session *session = session_new(NULL, PLENTY);
    siskin_ledger_summary summary;
    siskin_end end;
    struct server server;
    uint8_t ledger[SISKIN_LEDGER_BYTES];
    uint8_t log[SISKIN_LOG_HEAD_BYTES + 2 * SISKIN_LOG_RECORD_BYTES];
    char text[2000], expected[80];
    uint64_t number = 0;
    size_t length = 0, at;
    int i;
    memset(&summary, 0, sizeof summary);
    summary.struct_size = sizeof summary;
    IS(siskin_ledger_create(ledger, sizeof ledger), SISKIN_RESULT_OK);
    for (at = 0; at < sizeof ledger; at += 7) {
        ledger[at] ^= 4;
        IS(siskin_session_use_ledger(session, ledger, sizeof ledger, 1),
           at == 4 ? SISKIN_RESULT_LEDGER_VERSION : SISKIN_RESULT_LEDGER_BYTES);
        IS(siskin_ledger_read(ledger, sizeof ledger, 1e-6, &summary), failure().result);
        ledger[at] ^= 4;
    }
    ledger[4] ^= 4;
    IS(siskin_session_use_ledger(session, ledger, sizeof ledger, 1), SISKIN_RESULT_LEDGER_VERSION);
    CHECK(failure().limit == 1.0 && failure().got == 5.0);
    IS(siskin_ledger_reset(ledger, sizeof ledger, 7, 99), SISKIN_RESULT_LEDGER_VERSION);
    ledger[4] ^= 4;
    IS(siskin_session_use_ledger(session, ledger, sizeof ledger - 1, 1), SISKIN_RESULT_LEDGER_BYTES);
    IS(siskin_session_use_ledger(session, NULL, sizeof ledger, 1), SISKIN_RESULT_NULL_POINTER);
    IS(siskin_ledger_create(ledger, sizeof ledger - 1), SISKIN_RESULT_BUFFER_TOO_SMALL);
    IS(siskin_ledger_create(NULL, sizeof ledger), SISKIN_RESULT_NULL_POINTER);
    IS(siskin_session_use_ledger(NULL, ledger, sizeof ledger, 1), SISKIN_RESULT_NULL_POINTER);
    IS(siskin_session_ledger(NULL, ledger, sizeof ledger), SISKIN_RESULT_NULL_POINTER);
    IS(siskin_session_persisted(NULL), SISKIN_RESULT_NULL_POINTER);
    IS(siskin_session_log(NULL, log, sizeof log), SISKIN_RESULT_NULL_POINTER);
    IS(siskin_ledger_read(NULL, sizeof ledger, 1e-6, &summary), SISKIN_RESULT_NULL_POINTER);
    IS(siskin_ledger_read(ledger, sizeof ledger, 1e-6, NULL), SISKIN_RESULT_NULL_POINTER);
    IS(siskin_log_create(NULL, sizeof log), SISKIN_RESULT_NULL_POINTER);
    IS(siskin_log_json(NULL, sizeof log, text, sizeof text, &length), SISKIN_RESULT_NULL_POINTER);
    IS(siskin_population_number("a", 1, NULL), SISKIN_RESULT_NULL_POINTER);
    IS(siskin_session_use_ledger(session, ledger, sizeof ledger, 1), SISKIN_RESULT_OK);
    IS(siskin_session_ledger(session, NULL, sizeof ledger), SISKIN_RESULT_NULL_POINTER);
    IS(siskin_session_free(session), SISKIN_RESULT_OK);

    /* Lost: only the app starts over, and the ledger remembers it. */
    ledger[100] ^= 1;
    IS(siskin_ledger_reset(ledger, sizeof ledger, 0, 99), SISKIN_RESULT_ARGUMENT);
    IS(siskin_ledger_reset(ledger, sizeof ledger, 7, 99), SISKIN_RESULT_OK);
    summary = summary_of(ledger);
    CHECK(summary.resets == 1 && summary.reset_reason == 7 && summary.forgotten == UINT64_MAX && summary.participations == 0);

    /* Three reports into a log of two. */
    IS(siskin_log_create(log, SISKIN_LOG_HEAD_BYTES + SISKIN_LOG_RECORD_BYTES - 1), SISKIN_RESULT_BUFFER_TOO_SMALL);
    IS(failure().limit, SISKIN_LOG_HEAD_BYTES + SISKIN_LOG_RECORD_BYTES);
    IS(siskin_log_create(log, sizeof log), SISKIN_RESULT_OK);
    IS(siskin_log_json(log, sizeof log, text, sizeof text, &length), SISKIN_RESULT_OK);
    CHECK(strcmp(text, "{\"records\":0,\"missing\":0}\n") == 0 && length == strlen(text) + 1);
    for (i = 1; i <= 3; i++) {
        IS(play_with_ledger(&config, ledger, (uint64_t)i, log, sizeof log, &server, NULL, &end, text, sizeof text), 1);
        SERVER_SAYS(&server, COUNTED_ONCE);
    }
    IS(siskin_log_json(log, sizeof log, NULL, 0, &length), SISKIN_RESULT_OK);
    CHECK(length < sizeof text);
    IS(siskin_log_json(log, sizeof log, text, length - 1, &length), SISKIN_RESULT_BUFFER_TOO_SMALL);
    IS(siskin_log_json(log, sizeof log, text, sizeof text, &length), SISKIN_RESULT_OK);
    IS(siskin_population_number(config.population, config.population_len, &number), SISKIN_RESULT_OK);
    sprintf(expected, "\"population\":\"%08lx%08lx\"", (unsigned long)(number >> 32), (unsigned long)(number & 0xffffffffu));
    CHECK(strstr(text, expected) != NULL);
    CHECK(strstr(text, "\"profile\":\"local\",\"clip_norm\":0.5,\"noise_multiplier\":0.05,\"shares\":1}\n") != NULL);
    CHECK(strstr(text, "\n{\"records\":2,\"missing\":1}\n") != NULL);
    log[0] ^= 1;
    IS(siskin_log_json(log, sizeof log, text, sizeof text, &length), SISKIN_RESULT_LOG_BYTES);

    config.profiles = SISKIN_PROFILE_CENTRAL | SISKIN_PROFILE_DISTRIBUTED;
    IS(play_with_ledger(&config, ledger, 9, log, sizeof log, &server, NULL, &end, text, sizeof text), 0);
    CHECK(end.cause == SISKIN_CAUSE_POLICY && end.limit == 5.0 && end.got == SISKIN_PROFILE_LOCAL);
    SERVER_SAYS(&server, GIVEN_BACK);
    config.profiles = 8;
    session = NULL;
    IS(siskin_session_create(&config, entropy, sizeof entropy, NULL, PLENTY, &session), SISKIN_RESULT_ARGUMENT);
    config = config_new();
    config.largest_epsilon = -1.0;
    IS(siskin_session_create(&config, entropy, sizeof entropy, NULL, PLENTY, &session), SISKIN_RESULT_ARGUMENT);
    config.largest_epsilon = 1.0;
    config.dp_delta = 1.0;
    IS(siskin_session_create(&config, entropy, sizeof entropy, NULL, PLENTY, &session), SISKIN_RESULT_ARGUMENT);
    CHECK(session == NULL);
}
