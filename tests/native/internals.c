/* What only the runtime's own file can see: quotas of control groups, the wrap of the epoch, a pool left by a parent, how
 * many threads a context settles for. */
#include "ingot_runtime.c"

#include "check.h"

#include <sys/stat.h>

static void write_file(const char *folder, const char *name, const char *text) {
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "w");
    CHECK(file && fputs(text, file) >= 0 && fclose(file) == 0);
}

static void test_quota(void) {
    char group[] = "/a/b", missing[] = "/x/y/z", root[] = "";
    CHECK(mkdir("groups", 0700) == 0 && mkdir("groups/a", 0700) == 0 && mkdir("groups/a/b", 0700) == 0);
    CHECK(group_quota("groups", missing, true) == INT32_MAX);
    write_file("groups/a/b", "cpu.max", "max 100000\n");
    write_file("groups/a", "cpu.max", "250000 100000\n");
    write_file("groups", "cpu.max", "800000 100000\n");
    CHECK(group_quota("groups", group, true) == 3);
    CHECK(group_quota("groups", root, true) == 8);
    memcpy(group, "/a/b", sizeof group);
    write_file("groups/a/b", "cpu.cfs_quota_us", "-1\n");
    write_file("groups/a/b", "cpu.cfs_period_us", "100000\n");
    write_file("groups/a", "cpu.cfs_quota_us", "20000\n");
    write_file("groups/a", "cpu.cfs_period_us", "100000\n");
    CHECK(group_quota("groups", group, false) == 1);
    CHECK(usable_processors() >= 1);
}

static _Atomic int64_t sum;

static void add(void *const *p, const int64_t *s, int64_t begin, int64_t end) {
    (void)p, (void)s;
    for (int64_t i = begin; i < end; i++) atomic_fetch_add(&sum, i);
}

static void run_regions(int count) {
    for (int i = 0; i < count; i++) {
        atomic_store(&sum, 0);
        ingot_parallel(3, add, NULL, NULL, 100, 1);
        CHECK(atomic_load(&sum) == 4950);
    }
}

static void test_epoch_wrap(void) {
    ingot_pool *pool = pool_get();
    CHECK(pool);
    atomic_store(&pool->word, ~(uint64_t)0 << (EPOCH_SHIFT + 4));
    pool_grow(pool, 3);
    CHECK(atomic_load(&pool->workers) == 2);
    run_regions(200);
    CHECK(word_epoch(atomic_load(&pool->word)) < 200);
}

static void test_pool_of_a_parent(void) {
    ingot_pool *pool = pool_get();
    pool->process = getpid() + 1;
    run_regions(20);
    CHECK(pool_get() != pool && atomic_load(&pool_get()->workers) == 2);
}

static int64_t clock_ns = 1;

/* A run of `ns`, after a pause. */
static void ran(ingot_trial *trial, int64_t ns, int64_t pause) {
    const int64_t start = clock_ns += pause;
    clock_ns += ns;
    const bool timed = trial_times(trial);
    trial_ran(trial, 4, timed ? start : 0, timed ? clock_ns : 0);
}

/* The level that a trial on four threads settles for, where a run at level i takes ns[i], and the first of a level longer;
 * `runs` are those it took. */
static int32_t settle(ingot_trial *trial, const int64_t ns[3], int32_t *runs) {
    for (*runs = 0; !trial->settled; ++*runs) {
        CHECK(trial->level >= 0 && trial->level < 3);
        ran(trial, ns[trial->level] + (trial->runs ? 0 : 1000000), 0);
    }
    return trial->level;
}

/* How many runs of `ns`, each after a pause, pass until the next trial. */
static int32_t wait_for_trial(ingot_trial *trial, int64_t ns, int64_t pause) {
    int32_t runs = 0;
    for (; trial->settled; runs++) ran(trial, ns, pause);
    return runs;
}

static void test_trial(void) {
    const int64_t most[] = {100, 150, 250}, middle[] = {120, 100, 170}, one[] = {98, 102, 101}, equal[] = {98, 150, 100};
    const int64_t large[] = {TRIAL_NS + 1, 1, 1}, again[] = {TRIAL_NS + 1, 2 * TRIAL_NS, 3 * TRIAL_NS};
    const int64_t pause = TRIAL_REDUCED_NS / 100;
    ingot_trial trial = {0};
    int32_t runs;
    CHECK(settle(&trial, most, &runs) == 0 && runs == TRIAL_RUNS + 2 * 2);
    CHECK(wait_for_trial(&trial, 120, pause) == TRIAL_EVERY && trial.level == 0);
    CHECK(settle(&trial, one, &runs) == 2 && runs == 3 * TRIAL_RUNS);
    runs = wait_for_trial(&trial, 120, pause);
    CHECK(runs >= 100 && runs < 100 + TRIAL_CHECK + 1 && trial.level == 2);
    CHECK(settle(&trial, one, &runs) == 2 && runs == 3 * TRIAL_RUNS);
    CHECK(wait_for_trial(&trial, 200, 0) == TRIAL_SLOW && trial.level == 2);
    CHECK(settle(&trial, equal, &runs) == 2 && runs == 2 * TRIAL_RUNS + 2);
    CHECK(wait_for_trial(&trial, 200, 0) == TRIAL_SLOW && trial.level == 2);
    CHECK(settle(&trial, most, &runs) == 0 && runs == 2 * TRIAL_RUNS + 2);
    ran(&trial, 200, 0);
    ran(&trial, 110, 0);
    CHECK(trial.settled && !trial_times(&trial));
    trial = (ingot_trial){.level = 2, .from = 2};
    CHECK(settle(&trial, again, &runs) == 0);
    trial = (ingot_trial){0};
    CHECK(settle(&trial, middle, &runs) == 1);
    trial = (ingot_trial){0};
    CHECK(settle(&trial, large, &runs) == 0 && runs == TRIAL_RUNS);
}

int main(void) {
    CHECK(setenv("INGOT_THREADS", "3", 1) == 0);
    test_quota();
    test_trial();
    test_epoch_wrap();
    test_pool_of_a_parent();
    puts("well");
    return 0;
}
