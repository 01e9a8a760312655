/* The runtime's tests that need C: program CASE WEIGHTS, where WEIGHTS is the weights file of scale. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "check.h"
#include "ingot_abi.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/wait.h>
#include <unistd.h>

int32_t scale_open(const char *weights_path, ingot_model **model);
int32_t spread_open(const char *weights_path, ingot_model **model);
int32_t keep_open(const char *weights_path, ingot_model **model);
extern const ingot_desc scale_desc;

enum { ROWS = 7, LENGTH = 1003 };

static const char *weights;

static ingot_tensor tensor(int32_t dtype, int32_t rank, void *data, uint64_t bytes, int64_t first, int64_t second) {
    ingot_tensor made = {sizeof made, dtype, rank, 0, data, bytes, {first, second}};
    return made;
}

static ingot_model *open_scale(void) {
    ingot_model *model = NULL;
    CHECK(scale_open(weights, &model) == INGOT_OK && model);
    return model;
}

static ingot_model *open_spread(void) {
    ingot_model *model = NULL;
    CHECK(spread_open(NULL, &model) == INGOT_OK && model);
    return model;
}

static ingot_context *create(ingot_model *model, int64_t bound, int32_t threads) {
    ingot_context *context = NULL;
    CHECK(ingot_context_create(model, &bound, &context) == INGOT_OK && context);
    CHECK(ingot_context_set_threads(context, threads) == INGOT_OK);
    return context;
}

static int32_t run_scale(ingot_context *context, int64_t rows) {
    float x[ROWS * 4], y[ROWS * 4];
    CHECK(rows <= ROWS);
    for (int i = 0; i < 4 * rows; i++) x[i] = (float)i;
    ingot_tensor in = tensor(INGOT_FLOAT32, 2, x, (uint64_t)rows * 16, rows, 4);
    ingot_tensor out = tensor(0, 0, y, sizeof y, 0, 0);
    const int32_t status = ingot_run(context, &in, &out);
    if (status != INGOT_OK) return status;
    CHECK(out.dtype == INGOT_FLOAT32 && out.rank == 2 && out.dims[0] == rows && out.dims[1] == 4);
    for (int i = 0; i < 4 * rows; i++) CHECK(y[i] == 2 * x[i] + (float)(i % 4 + 1));
    return INGOT_OK;
}

static void fill(float *x, int64_t n, int seed) {
    for (int64_t i = 0; i < n; i++) x[i] = (float)((i * 37 + seed * 101) % 211) / 16;
}

static int32_t run_spread(ingot_context *context, float *x, int64_t n, int64_t steps, float *y, float *total) {
    ingot_tensor in[] = {tensor(INGOT_FLOAT32, 1, x, (uint64_t)n * 4, n, 0), tensor(INGOT_INT64, 0, &steps, 8, 0, 0)};
    ingot_tensor out[] = {tensor(0, 0, y, (uint64_t)n * 4, 0, 0), tensor(0, 0, total, 4, 0, 0)};
    return ingot_run(context, in, out);
}

static void expect_spread(const float *x, int64_t n, int64_t steps, const float *y, float total) {
    float sum = 0;
    for (int64_t i = 0; i < n; i++) {
        volatile float value = x[i];
        for (int64_t j = 0; j < steps; j++) {
            volatile const float scaled = value * 0.75f;
            value = scaled + 1;
        }
        CHECK(y[i] == value);
        sum += y[i];
    }
    CHECK(total == sum);
}

#if defined(__x86_64__)
/* Whether /proc/cpuinfo lists the feature. */
static int has_feature(const char *name) {
    static char text[8192];
    FILE *file = fopen("/proc/cpuinfo", "r");
    text[file ? fread(text, 1, sizeof text - 1, file) : 0] = 0;
    fclose(file);
    const char *found = strstr(text, name);
    return found && (found[strlen(name)] == ' ' || found[strlen(name)] == '\n');
}
#endif

static void case_lifecycle(void) {
    CHECK(ingot_version() == INGOT_VERSION);
    CHECK(strcmp(ingot_status_name(INGOT_OK), "INGOT_OK") == 0);
    CHECK(strcmp(ingot_status_name(INGOT_E_VALUE), "INGOT_E_VALUE") == 0);
    CHECK(strcmp(ingot_status_name(INGOT_E_SHAPE), "INGOT_E_SHAPE") == 0);
    CHECK(strcmp(ingot_status_name(1), "unknown") == 0 && strcmp(ingot_status_name(-999), "unknown") == 0);
    CHECK(strcmp(ingot_last_error(), "") == 0);
    CHECK(ingot_open(NULL, NULL, NULL) == INGOT_E_ARGUMENT && ingot_last_error()[0]);
    ingot_desc other = scale_desc;
    ingot_model *model = NULL;
    other.abi = INGOT_ABI + 1;
    CHECK(ingot_open(&other, weights, &model) == INGOT_E_ABI && !model);
    other = scale_desc;
    other.symbol_count = 0;
    CHECK(ingot_open(&other, weights, &model) == INGOT_E_ABI && !model);
#if defined(__x86_64__)
    for (int i = 0; i < 2; i++) {
        other = scale_desc;
        other.target = i ? "avx512" : "avx2";
        const int runs = has_feature(i ? " avx512vl" : " avx2");
        CHECK(ingot_open(&other, weights, &model) == (runs ? INGOT_OK : INGOT_E_TARGET) && !model == !runs);
        CHECK(ingot_close(model) == INGOT_OK);
    }
#endif

    model = open_scale();
    ingot_tensor_info info = {.struct_size = sizeof info};
    CHECK(ingot_input_count(model) == 1 && ingot_output_count(model) == 1 && ingot_symbol_count(model) == 1);
    CHECK(ingot_input_info(model, 0, &info) == INGOT_OK);
    CHECK(strcmp(info.name, "x") == 0 && info.rank == 2 && info.dims[0] == -1 && info.dims[1] == 4);
    CHECK(info.dtype == INGOT_FLOAT32);
    CHECK(ingot_output_info(model, 0, &info) == INGOT_OK && strcmp(info.name, "y") == 0);
    CHECK(ingot_input_info(model, 1, &info) == INGOT_E_ARGUMENT);
    CHECK(ingot_output_info(model, -1, &info) == INGOT_E_ARGUMENT);
    info.struct_size = 4;
    CHECK(ingot_input_info(model, 0, &info) == INGOT_E_ARGUMENT);
    CHECK(strcmp(ingot_symbol_name(model, 0), "n") == 0 && !ingot_symbol_name(model, 1));

    ingot_context *context = NULL;
    CHECK(ingot_context_create(model, NULL, &context) == INGOT_E_ARGUMENT && !context);
    int64_t bound = -1;
    CHECK(ingot_context_create(model, &bound, &context) == INGOT_E_ARGUMENT && !context);
    bound = INT64_MAX;
    CHECK(ingot_context_create(model, &bound, &context) == INGOT_E_OVERFLOW && !context);
    context = create(model, ROWS, 1);
    CHECK(ingot_context_set_threads(context, -1) == INGOT_E_ARGUMENT);
    CHECK(ingot_close(model) == INGOT_E_BUSY);
    CHECK(run_scale(context, ROWS) == INGOT_OK);
    CHECK(ingot_context_destroy(context) == INGOT_OK && ingot_context_destroy(NULL) == INGOT_OK);
    CHECK(ingot_close(model) == INGOT_OK && ingot_close(NULL) == INGOT_OK);
    CHECK(ingot_input_count(NULL) == INGOT_E_ARGUMENT && ingot_run(NULL, NULL, NULL) == INGOT_E_ARGUMENT);
}

static void case_shapes(void) {
    ingot_model *model = open_scale();
    ingot_context *context = create(model, 4, 1);
    _Alignas(16) float x[64] = {0}, y[64];
    void *in_data[] = {x}, *out_data[] = {y};
    ingot_tensor_info info = {.struct_size = sizeof info};
    CHECK(ingot_run_fast(context, in_data, out_data) == INGOT_E_UNBOUND);
    CHECK(ingot_bound_output_info(context, 0, &info) == INGOT_E_UNBOUND);
    const int64_t dims[] = {3, 4}, wide[] = {3, 5}, many[] = {5, 4}, negative[] = {-3, 4};
    CHECK(ingot_bind(context, NULL) == INGOT_E_ARGUMENT);
    CHECK(ingot_bind(context, wide) == INGOT_E_SHAPE && ingot_bind(context, negative) == INGOT_E_SHAPE);
    CHECK(ingot_bind(context, many) == INGOT_E_CAPACITY);
    CHECK(ingot_bind(context, dims) == INGOT_OK);
    CHECK(ingot_bound_output_info(context, 0, &info) == INGOT_OK && info.dims[0] == 3 && info.dims[1] == 4);
    CHECK(ingot_bound_output_info(context, 1, &info) == INGOT_E_ARGUMENT);
    for (int i = 0; i < 12; i++) x[i] = (float)i;
    CHECK(ingot_run_fast(context, in_data, out_data) == INGOT_OK);
    for (int i = 0; i < 12; i++) CHECK(y[i] == (float)(2 * i + i % 4 + 1));
    CHECK(ingot_bind(context, many) == INGOT_E_CAPACITY);
    CHECK(ingot_run_fast(context, in_data, out_data) == INGOT_OK);

    ingot_tensor out = tensor(0, 0, y, sizeof y, 0, 0);
    ingot_tensor in = tensor(INGOT_INT32, 2, x, 48, 3, 4);
    CHECK(ingot_run(context, &in, &out) == INGOT_E_DTYPE && strstr(ingot_last_error(), "int32 instead of float32"));
    in = tensor(INGOT_FLOAT32, 1, x, 48, 3, 4);
    CHECK(ingot_run(context, &in, &out) == INGOT_E_RANK);
    in = tensor(INGOT_FLOAT32, 2, x, 48, 3, 5);
    CHECK(ingot_run(context, &in, &out) == INGOT_E_SHAPE);
    in = tensor(INGOT_FLOAT32, 2, x, 48, 5, 4);
    CHECK(ingot_run(context, &in, &out) == INGOT_E_SHAPE);
    in = tensor(INGOT_FLOAT32, 2, x, sizeof x, 5, 4);
    CHECK(ingot_run(context, &in, &out) == INGOT_E_CAPACITY);
    in = tensor(INGOT_FLOAT32, 2, x, sizeof x, INT64_MAX, 4);
    CHECK(ingot_run(context, &in, &out) == INGOT_E_OVERFLOW);
    in = tensor(INGOT_FLOAT32, 2, NULL, 48, 3, 4);
    CHECK(ingot_run(context, &in, &out) == INGOT_E_ARGUMENT);
    in = tensor(INGOT_FLOAT32, 2, (char *)x + 2, 48, 3, 4);
    CHECK(ingot_run(context, &in, &out) == INGOT_E_ARGUMENT);
    in = tensor(INGOT_FLOAT32, 2, x, 48, 3, 4);
    out.bytes = 47;
    CHECK(ingot_run(context, &in, &out) == INGOT_E_CAPACITY && out.dims[0] == 3 && out.rank == 2);
    in.struct_size = 8;
    CHECK(ingot_run(context, &in, &out) == INGOT_E_ARGUMENT);
    in = tensor(INGOT_FLOAT32, 2, NULL, 0, 0, 4);
    out = tensor(0, 0, NULL, 0, 0, 0);
    CHECK(ingot_run(context, &in, &out) == INGOT_OK && out.dims[0] == 0 && out.dims[1] == 4);
    CHECK(run_scale(context, 4) == INGOT_OK);
    CHECK(ingot_context_destroy(context) == INGOT_OK && ingot_close(model) == INGOT_OK);
}

static void case_values(void) {
    ingot_model *model = open_spread();
    ingot_context *context = create(model, LENGTH, 1);
    static float x[LENGTH], y[LENGTH];
    float total;
    fill(x, LENGTH, 1);
    CHECK(run_spread(context, x, LENGTH, -1, y, &total) == INGOT_E_VALUE);
    CHECK(strstr(ingot_last_error(), "INGOT_E_VALUE"));
    CHECK(run_spread(context, x, LENGTH, 1001, y, &total) == INGOT_E_INDEX);
    CHECK(run_spread(context, x, LENGTH, 5, y, &total) == INGOT_OK);
    expect_spread(x, LENGTH, 5, y, total);
    CHECK(ingot_context_destroy(context) == INGOT_OK && ingot_close(model) == INGOT_OK);
}

static void case_data_dependent(void) {
    ingot_model *model = NULL;
    CHECK(keep_open(NULL, &model) == INGOT_OK);
    ingot_context *context = NULL;
    const int64_t bounds[] = {5, -1}, dims[] = {5};
    CHECK(ingot_context_create(model, bounds, &context) == INGOT_OK);
    float x[] = {1, -1, 2, 0, 3}, kept[5];
    void *in_data[] = {x}, *out_data[] = {kept};
    ingot_tensor_info info = {.struct_size = sizeof info};
    for (int round = 0; round < 3; round++) {
        CHECK(ingot_bind(context, dims) == INGOT_OK);
        CHECK(ingot_bound_output_info(context, 0, &info) == INGOT_OK && info.dims[0] == 5);
        CHECK(ingot_run_fast(context, in_data, out_data) == INGOT_OK);
        CHECK(ingot_bound_output_info(context, 0, &info) == INGOT_OK && info.dims[0] == 3);
        ingot_tensor in = tensor(INGOT_FLOAT32, 1, x, sizeof x, 5, 0), out = tensor(0, 0, kept, sizeof kept, 0, 0);
        CHECK(ingot_run(context, &in, &out) == INGOT_OK && out.dims[0] == 3);
        CHECK(kept[0] == 1 && kept[1] == 2 && kept[2] == 3);
        out.bytes = 12;
        CHECK(ingot_run(context, &in, &out) == INGOT_E_CAPACITY && out.dims[0] == 5);
    }
    CHECK(ingot_context_destroy(context) == INGOT_OK && ingot_close(model) == INGOT_OK);
}

static int allocations_left, live_blocks;
static size_t live_bytes;

static void *counted_alloc(size_t bytes, size_t alignment) {
    if (allocations_left == 0) return NULL;
    allocations_left--;
    void *memory = NULL;
    if (posix_memalign(&memory, alignment, bytes)) return NULL;
    live_blocks++;
    live_bytes += bytes;
    return memory;
}

static void counted_free(void *memory, size_t bytes) {
    live_blocks--;
    live_bytes -= bytes;
    free(memory);
}

static void case_failing_allocator(void) {
    CHECK(ingot_set_allocator(counted_alloc, NULL) == INGOT_E_ARGUMENT);
    CHECK(ingot_set_allocator(counted_alloc, counted_free) == INGOT_OK);
    int failures = 0, round = 0;
    for (int failed = 1; failed; round++) {
        CHECK(round < 100);
        allocations_left = round;
        failed = 0;
        ingot_model *model = NULL;
        ingot_context *context = NULL;
        int64_t bound = 100000;
        int32_t status = scale_open(weights, &model);
        CHECK(status == INGOT_OK || (status == INGOT_E_MEMORY && !model && ingot_last_error()[0]));
        if (status == INGOT_OK) {
            status = ingot_context_create(model, &bound, &context);
            CHECK(status == INGOT_OK || (status == INGOT_E_MEMORY && !context));
        }
        if (status == INGOT_OK) {
            status = ingot_context_set_threads(context, 2);
            CHECK(status == INGOT_OK);
            CHECK(run_scale(context, ROWS) == INGOT_OK && run_scale(context, 0) == INGOT_OK);
        }
        failed = status != INGOT_OK;
        failures += failed;
        CHECK(ingot_context_destroy(context) == INGOT_OK && ingot_close(model) == INGOT_OK);
        CHECK(live_blocks == 0 && live_bytes == 0);
    }
    CHECK(failures == 3);
    CHECK(ingot_set_allocator(NULL, NULL) == INGOT_OK);
}

static void case_caller_memory(void) {
    ingot_model *model = open_scale();
    CHECK(ingot_set_allocator(counted_alloc, counted_free) == INGOT_OK);
    allocations_left = 0;
    const int64_t bound = ROWS;
    size_t bytes = 0;
    ingot_context *context = NULL, *second = NULL;
    CHECK(ingot_context_create(model, &bound, &context) == INGOT_E_MEMORY);
    CHECK(ingot_context_size(model, &bound, NULL) == INGOT_E_ARGUMENT);
    CHECK(ingot_context_size(model, &bound, &bytes) == INGOT_OK && bytes >= ROWS * 16);
    static _Alignas(64) unsigned char memory[2][4096];
    CHECK(bytes <= sizeof memory[0]);
    memset(memory, 0xa5, sizeof memory);
    CHECK(ingot_context_init(model, memory[0] + 8, bytes, &bound, &context) == INGOT_E_ARGUMENT);
    CHECK(ingot_context_init(model, memory[0], bytes - 1, &bound, &context) == INGOT_E_MEMORY && !context);
    CHECK(ingot_context_init(model, memory[0], bytes, &bound, &context) == INGOT_OK);
    CHECK(ingot_context_init(model, memory[1], bytes, &bound, &second) == INGOT_OK);
    CHECK(run_scale(context, ROWS) == INGOT_OK && run_scale(second, 2) == INGOT_OK);
    CHECK(run_scale(context, 1) == INGOT_OK);
    CHECK(ingot_context_destroy(context) == INGOT_OK);
    CHECK(run_scale(context, 1) == INGOT_E_ARGUMENT);
    CHECK(ingot_close(model) == INGOT_E_BUSY && ingot_context_destroy(second) == INGOT_OK);
    for (size_t i = bytes; i < sizeof memory[0]; i++) CHECK(memory[0][i] == 0xa5 && memory[1][i] == 0xa5);
    CHECK(ingot_close(model) == INGOT_OK && ingot_set_allocator(NULL, NULL) == INGOT_OK && live_blocks == 0);
}

typedef struct job {
    ingot_model *model;
    ingot_context *context;
    int seed, good, busy;
} job;

static void *own_context(void *argument) {
    job *mine = argument;
    ingot_context *context = create(mine->model, LENGTH, 1 + mine->seed % 3);
    float x[LENGTH], y[LENGTH], total;
    for (int round = 0; round < 60; round++) {
        const int64_t n = LENGTH - (round * 17 + mine->seed) % 300;
        fill(x, n, mine->seed + round);
        CHECK(run_spread(context, x, n, 20, y, &total) == INGOT_OK);
        expect_spread(x, n, 20, y, total);
    }
    CHECK(ingot_context_destroy(context) == INGOT_OK);
    return NULL;
}

static void *same_context(void *argument) {
    job *mine = argument;
    float x[LENGTH], y[LENGTH], total;
    fill(x, LENGTH, mine->seed);
    for (int round = 0; round < 200; round++) {
        const int32_t status = run_spread(mine->context, x, LENGTH, 20, y, &total);
        CHECK(status == INGOT_OK || status == INGOT_E_BUSY);
        if (status == INGOT_OK) expect_spread(x, LENGTH, 20, y, total);
        *(status == INGOT_OK ? &mine->good : &mine->busy) += 1;
    }
    return NULL;
}

static void on_threads(int count, void *(*function)(void *), job *jobs) {
    pthread_t threads[8];
    for (int i = 0; i < count; i++) CHECK(pthread_create(&threads[i], NULL, function, &jobs[i]) == 0);
    for (int i = 0; i < count; i++) CHECK(pthread_join(threads[i], NULL) == 0);
}

static void case_contexts_on_threads(void) {
    ingot_model *model = open_spread();
    job jobs[4];
    for (int i = 0; i < 4; i++) jobs[i] = (job){model, NULL, i, 0, 0};
    on_threads(4, own_context, jobs);
    CHECK(ingot_close(model) == INGOT_OK);
}

static void case_busy_context(void) {
    ingot_model *model = open_spread();
    ingot_context *context = create(model, LENGTH, 2);
    job jobs[3];
    for (int i = 0; i < 3; i++) jobs[i] = (job){model, context, i, 0, 0};
    on_threads(3, same_context, jobs);
    CHECK(jobs[0].good + jobs[1].good + jobs[2].good > 0);
    CHECK(ingot_context_destroy(context) == INGOT_OK && ingot_close(model) == INGOT_OK);
}

static _Atomic int visits[LENGTH];
static _Atomic int64_t shortest;

static void visit(void *const *p, const int64_t *s, int64_t begin, int64_t end) {
    (void)p;
    CHECK(0 <= begin && begin < end && end <= s[0]);
    for (int64_t i = begin; i < end; i++) atomic_fetch_add(&visits[i], 1);
    int64_t least = atomic_load(&shortest);
    while (end - begin < least && !atomic_compare_exchange_weak(&shortest, &least, end - begin)) {}
}

static void case_ranges(void) {
    ingot_model *model = open_spread();
    ingot_context *context = create(model, LENGTH, 0);
    const int64_t sizes[] = {0, 1, 2, 3, 4, 5, 7, 8, 9, 63, 64, 65, LENGTH}, grains[] = {-1, 1, 2, 8, 100, 5000};
    for (int threads = 1; threads < 9; threads++)
        for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
            for (size_t j = 0; j < sizeof grains / sizeof grains[0]; j++) {
                for (int64_t k = 0; k < LENGTH; k++) atomic_store(&visits[k], 0);
                atomic_store(&shortest, INT64_MAX);
                ingot_parallel(threads, visit, NULL, &sizes[i], sizes[i], grains[j]);
                for (int64_t k = 0; k < LENGTH; k++) CHECK(atomic_load(&visits[k]) == (k < sizes[i]));
            }
    float x[LENGTH], serial[LENGTH], parallel[LENGTH], serial_total, total;
    fill(x, LENGTH, 3);
    CHECK(ingot_context_set_threads(context, 1) == INGOT_OK);
    CHECK(run_spread(context, x, LENGTH, 50, serial, &serial_total) == INGOT_OK);
    for (int threads = 0; threads < 9; threads++) {
        CHECK(ingot_context_set_threads(context, threads) == INGOT_OK);
        CHECK(run_spread(context, x, LENGTH, 50, parallel, &total) == INGOT_OK);
        CHECK(memcmp(serial, parallel, sizeof serial) == 0 && total == serial_total);
    }
    CHECK(ingot_context_destroy(context) == INGOT_OK && ingot_close(model) == INGOT_OK);
}

enum { WAVE = 12, WAVES = 50 };
static _Atomic int64_t done;

/* Each task of a wave finds all those of the waves before it done. */
static void follow(void *const *p, const int64_t *s, int64_t begin, int64_t end) {
    (void)p, (void)s;
    CHECK(begin / WAVE == (end - 1) / WAVE);
    for (int64_t i = begin; i < end; i++) {
        CHECK(atomic_load(&done) >= i / WAVE * WAVE);
        atomic_fetch_add(&visits[i], 1);
        atomic_fetch_add(&done, 1);
    }
}

static void list(void *const *p, const int64_t *s, int64_t begin, int64_t end) {
    (void)s;
    for (int64_t i = begin; i < end; i++) ((int64_t *)p[0])[atomic_fetch_add(&done, 1)] = i;
}

static void case_waves(void) {
    ingot_model *model = open_spread();
    ingot_context *context = create(model, LENGTH, 0);
    for (int threads = 1; threads < 6; threads++)
        for (int64_t grain = 1; grain <= WAVE; grain++) {
            for (int64_t k = 0; k < LENGTH; k++) atomic_store(&visits[k], 0);
            atomic_store(&done, 0);
            ingot_parallel_waves(threads, follow, NULL, NULL, WAVES * WAVE, WAVE, grain);
            for (int64_t k = 0; k < LENGTH; k++) CHECK(atomic_load(&visits[k]) == (k < WAVES * WAVE));
        }
    int64_t order[9];
    void *const p[] = {order};
    const int64_t wanted[] = {0, 1, 2, 5, 4, 3, 6, 7, 8};
    atomic_store(&done, 0);
    ingot_parallel_waves(1, list, p, NULL, 9, 3, 1);
    CHECK(memcmp(order, wanted, sizeof order) == 0);
    ingot_parallel_waves(4, list, p, NULL, 0, 0, 1);
    CHECK(atomic_load(&done) == 9);
    CHECK(ingot_context_destroy(context) == INGOT_OK && ingot_close(model) == INGOT_OK);
}

static void nested(void *const *p, const int64_t *s, int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; i++) ingot_parallel(4, visit, p, s, s[0], 1);
}

static void case_nested(void) {
    ingot_model *model = open_spread();
    ingot_context *context = create(model, LENGTH, 0);
    const int64_t n = 40;
    ingot_parallel(4, nested, NULL, &n, 8, 1);
    for (int64_t k = 0; k < n; k++) CHECK(atomic_load(&visits[k]) == 8);
    CHECK(ingot_context_destroy(context) == INGOT_OK && ingot_close(model) == INGOT_OK);
}

static void run_in_child(ingot_context *context, int expected_threads) {
    static float x[LENGTH], y[LENGTH];
    float total;
    fill(x, LENGTH, 5);
    const pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        for (int i = 0; i < 20; i++) {
            CHECK(run_spread(context, x, LENGTH, 30, y, &total) == INGOT_OK);
            expect_spread(x, LENGTH, 30, y, total);
        }
        const int64_t n = LENGTH;
        ingot_parallel(expected_threads, visit, NULL, &n, n, 1);
        for (int64_t k = 0; k < n; k++) CHECK(atomic_load(&visits[k]) == 1);
        CHECK(thread_count() == expected_threads);
        _exit(0);
    }
    int status = 0;
    CHECK(run_spread(context, x, LENGTH, 30, y, &total) == INGOT_OK);
    expect_spread(x, LENGTH, 30, y, total);
    CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void case_fork(void) {
    ingot_model *model = open_spread();
    ingot_context *context = create(model, LENGTH, 3);
    const int threads = thread_count();
    CHECK(threads == 3);
    for (int i = 0; i < 5; i++) run_in_child(context, threads);
    CHECK(ingot_context_destroy(context) == INGOT_OK && ingot_close(model) == INGOT_OK);
}

static void case_idle(void) {
    ingot_model *model = open_spread();
    ingot_context *context = create(model, LENGTH, 3);
    static float x[LENGTH], y[LENGTH];
    float total;
    fill(x, LENGTH, 5);
    for (int i = 0; i < 50; i++) {
        usleep(i % 5 * 300);
        CHECK(run_spread(context, x, LENGTH, 200, y, &total) == INGOT_OK);
        expect_spread(x, LENGTH, 200, y, total);
    }
    CHECK(ingot_context_destroy(context) == INGOT_OK && ingot_close(model) == INGOT_OK);
}

void count_allocations(int on, int fail) __attribute__((weak));
long allocation_count(void) __attribute__((weak));

static void case_no_allocation(void) {
    CHECK(count_allocations && allocation_count);
    ingot_model *scale = open_scale(), *spread = open_spread();
    ingot_context *small = create(scale, ROWS, 1), *large = create(spread, LENGTH, 2);
    static float x[LENGTH], y[LENGTH];
    float total;
    fill(x, LENGTH, 5);
    const int64_t dims[] = {LENGTH};
    int64_t steps = 3;
    void *in_data[] = {x, &steps}, *out_data[] = {y, &total};
    count_allocations(1, 0);
    void *(*volatile allocate)(size_t) = malloc;
    free(allocate(10));
    CHECK(allocation_count() == 1);
    count_allocations(1, 1);
    CHECK(allocate(10) == NULL);
    count_allocations(1, 1);
    for (int i = 0; i < 200; i++) {
        CHECK(run_scale(small, i % ROWS) == INGOT_OK);
        CHECK(run_spread(large, x, LENGTH - i, 3, y, &total) == INGOT_OK);
        CHECK(ingot_bind(large, dims) == INGOT_OK && ingot_run_fast(large, in_data, out_data) == INGOT_OK);
    }
    const long count = allocation_count();
    count_allocations(0, 0);
    CHECK(count == 0);
    expect_spread(x, LENGTH, 3, y, total);
    CHECK(ingot_context_destroy(small) == INGOT_OK && ingot_context_destroy(large) == INGOT_OK);
    CHECK(ingot_close(scale) == INGOT_OK && ingot_close(spread) == INGOT_OK);
}

#if defined(__x86_64__)
static void halve(void *const *p, const int64_t *s, int64_t begin, int64_t end) {
    (void)s;
    for (int64_t i = begin; i < end; i++) {
        volatile float *value = (float *)p[0] + i;
        for (int j = 0; j < 200; j++) *value = *value * 0.5f;
    }
}

static void case_float_mode(void) {
    ingot_model *model = open_spread();
    ingot_context *context = create(model, LENGTH, 3);
    static float values[LENGTH];
    void *p[] = {values};
    const uint32_t before = __builtin_ia32_stmxcsr();
    for (int round = 0; round < 20; round++) {
        const int flush = round % 2;
        __builtin_ia32_ldmxcsr(flush ? before | 0x8040 : before);
        for (int i = 0; i < LENGTH; i++) values[i] = 0x1p60f;
        ingot_parallel(3, halve, p, NULL, LENGTH, 1);
        __builtin_ia32_ldmxcsr(before);
        for (int i = 0; i < LENGTH; i++) CHECK(values[i] == (flush ? 0 : 0x1p-140f));
    }
    CHECK(ingot_context_destroy(context) == INGOT_OK && ingot_close(model) == INGOT_OK);
}
#else
static void case_float_mode(void) {}
#endif

static const struct {
    const char *name;
    void (*function)(void);
} cases[] = {
    {"lifecycle", case_lifecycle},
    {"shapes", case_shapes},
    {"values", case_values},
    {"data_dependent", case_data_dependent},
    {"failing_allocator", case_failing_allocator},
    {"caller_memory", case_caller_memory},
    {"contexts_on_threads", case_contexts_on_threads},
    {"busy_context", case_busy_context},
    {"ranges", case_ranges},
    {"waves", case_waves},
    {"nested", case_nested},
    {"fork", case_fork},
    {"idle", case_idle},
    {"no_allocation", case_no_allocation},
    {"float_mode", case_float_mode},
};

int main(int count, char **words) {
    CHECK(count == 3);
    weights = words[2];
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        if (strcmp(words[1], cases[i].name) == 0) {
            cases[i].function();
            puts("well");
            return 0;
        }
    fprintf(stderr, "no case %s\n", words[1]);
    return 2;
}
