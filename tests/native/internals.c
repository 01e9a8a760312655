/* What only the runtime's own file can see: quotas of control groups, the wrap of the epoch, a pool left by a parent. */
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

int main(void) {
    CHECK(setenv("INGOT_THREADS", "3", 1) == 0);
    test_quota();
    test_epoch_wrap();
    test_pool_of_a_parent();
    puts("well");
    return 0;
}
