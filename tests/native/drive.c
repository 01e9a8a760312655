/* Runs compiled models from C: drive MODE MODEL WEIGHTS THREADS FEED OUT.
 *
 * With -DMODELS="X(a) X(b)" the models are linked in and MODEL is a or b; without, MODEL is the name of a library
 * ./lib<name>.so, which is loaded. FEED holds int64 numbers and bytes: the number of runs, the bound of each symbol, then
 * for each run and input its rank, dimensions, number of bytes and those bytes. OUT gets that for each run and output. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "check.h"
#include "ingot.h"

#include <dlfcn.h>
#include <pthread.h>

enum { MOST = 16, WORKERS = 4, ROUNDS = 25 };

typedef struct functions {
    int32_t (*open)(const char *, ingot_model **);
    int32_t (*close)(ingot_model *);
    int32_t (*input_count)(const ingot_model *);
    int32_t (*output_count)(const ingot_model *);
    int32_t (*symbol_count)(const ingot_model *);
    int32_t (*input_info)(const ingot_model *, int32_t, ingot_tensor_info *);
    int32_t (*set_allocator)(ingot_alloc_function, ingot_free_function);
    int32_t (*size)(const ingot_model *, const int64_t *, size_t *);
    int32_t (*init)(ingot_model *, void *, size_t, const int64_t *, ingot_context **);
    int32_t (*create)(ingot_model *, const int64_t *, ingot_context **);
    int32_t (*destroy)(ingot_context *);
    int32_t (*set_threads)(ingot_context *, int32_t);
    int32_t (*bind)(ingot_context *, const int64_t *);
    int32_t (*bound_output_info)(ingot_context *, int32_t, ingot_tensor_info *);
    int32_t (*run)(ingot_context *, const ingot_tensor *, ingot_tensor *);
    int32_t (*run_fast)(ingot_context *, void *const *, void *const *);
    const char *(*last_error)(void);
} functions;

#ifdef MODELS
#define X(name) int32_t name##_open(const char *weights_path, ingot_model **model);
MODELS
#undef X
#define X(name) {#name, name##_open},
static const struct {
    const char *name;
    int32_t (*open)(const char *, ingot_model **);
} models[] = {MODELS};
#undef X

static functions find(const char *name) {
    functions f = {NULL,
                   ingot_close,
                   ingot_input_count,
                   ingot_output_count,
                   ingot_symbol_count,
                   ingot_input_info,
                   ingot_set_allocator,
                   ingot_context_size,
                   ingot_context_init,
                   ingot_context_create,
                   ingot_context_destroy,
                   ingot_context_set_threads,
                   ingot_bind,
                   ingot_bound_output_info,
                   ingot_run,
                   ingot_run_fast,
                   ingot_last_error};
    for (size_t i = 0; i < sizeof models / sizeof models[0]; i++)
        if (strcmp(models[i].name, name) == 0) f.open = models[i].open;
    CHECK(f.open);
    return f;
}
#else
static functions find(const char *name) {
    char text[256];
    snprintf(text, sizeof text, "./lib%s.so", name);
    void *library = dlopen(text, RTLD_NOW | RTLD_LOCAL);
    if (!library) fprintf(stderr, "%s\n", dlerror());
    CHECK(library);
    snprintf(text, sizeof text, "%s_open", name);
    static const char *const names[] = {
        "ingot_close",          "ingot_input_count",   "ingot_output_count",        "ingot_symbol_count",
        "ingot_input_info",     "ingot_set_allocator", "ingot_context_size",        "ingot_context_init",
        "ingot_context_create", "ingot_context_destroy", "ingot_context_set_threads", "ingot_bind",
        "ingot_bound_output_info", "ingot_run",        "ingot_run_fast",            "ingot_last_error"};
    functions f;
    void **slots = (void **)&f;
    slots[0] = dlsym(library, text);
    CHECK(slots[0]);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        slots[i + 1] = dlsym(library, names[i]);
        CHECK(slots[i + 1]);
    }
    return f;
}
#endif

#ifdef COUNT_ALLOCATIONS
void count_allocations(int on, int fail);
long allocation_count(void);
#else
static void count_allocations(int on, int fail) { (void)on, (void)fail; }
static long allocation_count(void) { return 0; }
#endif

typedef struct array {
    int64_t rank, dims[INGOT_MAX_RANK], bytes;
    void *data;
} array;

typedef struct job {
    functions f;
    ingot_model *model;
    int32_t inputs, outputs, symbols, threads, alone;
    int64_t runs, bounds[MOST];
    array *fed, *made;
} job;

static void read_bytes(FILE *file, void *to, size_t bytes) { CHECK(fread(to, 1, bytes, file) == bytes); }

static void *block(int64_t bytes) {
    void *memory = malloc((size_t)bytes);
    CHECK(memory || !bytes);
    return memory;
}

static void read_feed(job *j, const char *path) {
    FILE *file = fopen(path, "rb");
    CHECK(file);
    read_bytes(file, &j->runs, 8);
    read_bytes(file, j->bounds, 8 * (size_t)j->symbols);
    j->fed = calloc((size_t)(j->runs * j->inputs) + 1, sizeof *j->fed);
    j->made = calloc((size_t)(j->runs * j->outputs) + 1, sizeof *j->made);
    CHECK(j->fed && j->made);
    for (int64_t i = 0; i < j->runs * j->inputs; i++) {
        array *a = &j->fed[i];
        read_bytes(file, &a->rank, 8);
        CHECK(a->rank <= INGOT_MAX_RANK);
        read_bytes(file, a->dims, 8 * (size_t)a->rank);
        read_bytes(file, &a->bytes, 8);
        a->data = block(a->bytes);
        read_bytes(file, a->data, (size_t)a->bytes);
    }
    CHECK(fgetc(file) == EOF);
    fclose(file);
}

static void expect(const job *j, int32_t status, int32_t wanted) {
    if (status != wanted) fprintf(stderr, "status %d: %s\n", status, j->f.last_error());
    CHECK(status == wanted);
}

static int64_t element_bytes(int32_t dtype) {
    switch (dtype) {
    case INGOT_FLOAT64:
    case INGOT_INT64:
    case INGOT_UINT64: return 8;
    case INGOT_FLOAT32:
    case INGOT_INT32:
    case INGOT_UINT32: return 4;
    case INGOT_FLOAT16:
    case INGOT_INT16:
    case INGOT_UINT16: return 2;
    default: return 1;
    }
}

static void dims_of(const job *j, int64_t run, int64_t *dims) {
    for (int32_t i = 0; i < j->inputs; i++)
        for (int64_t k = 0; k < j->fed[run * j->inputs + i].rank; k++) *dims++ = j->fed[run * j->inputs + i].dims[k];
}

/* The outputs of one run, each in a block of exactly its size. */
static void run_once(const job *j, ingot_context *context, int64_t run, array *made) {
    int64_t dims[MOST * INGOT_MAX_RANK];
    ingot_tensor in[MOST], out[MOST];
    ingot_tensor_info info = {.struct_size = sizeof info};
    dims_of(j, run, dims);
    expect(j, j->f.bind(context, dims), INGOT_OK);
    for (int32_t i = 0; i < j->inputs; i++) {
        const array *a = &j->fed[run * j->inputs + i];
        expect(j, j->f.input_info(j->model, i, &info), INGOT_OK);
        in[i] = (ingot_tensor){sizeof in[i], info.dtype, (int32_t)a->rank, 0, a->data, (uint64_t)a->bytes, {0}};
        memcpy(in[i].dims, a->dims, sizeof in[i].dims);
    }
    for (int32_t i = 0; i < j->outputs; i++) {
        expect(j, j->f.bound_output_info(context, i, &info), INGOT_OK);
        made[i].rank = info.rank;
        made[i].bytes = element_bytes(info.dtype);
        for (int32_t k = 0; k < info.rank; k++) made[i].bytes *= made[i].dims[k] = info.dims[k];
        made[i].data = block(made[i].bytes);
        out[i] = (ingot_tensor){.struct_size = sizeof out[i], .data = made[i].data, .bytes = (uint64_t)made[i].bytes};
    }
    count_allocations(j->alone, 1);
    expect(j, j->f.run(context, in, out), INGOT_OK);
    CHECK(allocation_count() == 0);
    count_allocations(0, 0);
    for (int32_t i = 0; i < j->outputs; i++) CHECK(memcmp(out[i].dims, made[i].dims, 8 * (size_t)made[i].rank) == 0);
}

static void expect_same(const job *j, const array *a, const array *b) {
    for (int32_t i = 0; i < j->outputs; i++) {
        CHECK(a[i].rank == b[i].rank && a[i].bytes == b[i].bytes);
        CHECK(memcmp(a[i].dims, b[i].dims, 8 * (size_t)a[i].rank) == 0);
        CHECK(a[i].bytes == 0 || memcmp(a[i].data, b[i].data, (size_t)a[i].bytes) == 0);
    }
}

static void release(const job *j, array *made) {
    for (int32_t i = 0; i < j->outputs; i++) free(made[i].data);
    memset(made, 0, sizeof *made * (size_t)j->outputs);
}

static void run_all(const job *j, ingot_context *context) {
    expect(j, j->f.set_threads(context, j->threads), INGOT_OK);
    for (int64_t run = 0; run < j->runs; run++) run_once(j, context, run, &j->made[run * j->outputs]);
    array again[MOST] = {{0}};
    void *in[MOST], *out[MOST];
    run_once(j, context, 0, again);
    for (int32_t i = 0; i < j->inputs; i++) in[i] = j->fed[i].data;
    for (int32_t i = 0; i < j->outputs; i++) {
        out[i] = again[i].data;
        if (again[i].bytes) memset(out[i], 0xa5, (size_t)again[i].bytes);
    }
    count_allocations(j->alone, 1);
    expect(j, j->f.run_fast(context, in, out), INGOT_OK);
    CHECK(allocation_count() == 0);
    count_allocations(0, 0);
    expect_same(j, again, j->made);
    release(j, again);
}

static void mode_run(const job *j) {
    ingot_context *context = NULL;
    expect(j, j->f.create(j->model, j->bounds, &context), INGOT_OK);
    run_all(j, context);
    expect(j, j->f.close(j->model), INGOT_E_BUSY);
    expect(j, j->f.destroy(context), INGOT_OK);
}

static void *work(void *argument) {
    const job *j = argument;
    ingot_context *context = NULL;
    array made[MOST] = {{0}};
    expect(j, j->f.create(j->model, j->bounds, &context), INGOT_OK);
    expect(j, j->f.set_threads(context, j->threads), INGOT_OK);
    for (int64_t round = 0; round < ROUNDS; round++) {
        const int64_t run = round % j->runs;
        run_once(j, context, run, made);
        expect_same(j, made, &j->made[run * j->outputs]);
        release(j, made);
    }
    expect(j, j->f.destroy(context), INGOT_OK);
    return NULL;
}

static void mode_threads(job *j) {
    pthread_t workers[WORKERS];
    mode_run(j);
    j->alone = 0;
    for (int i = 0; i < WORKERS; i++) CHECK(pthread_create(&workers[i], NULL, work, j) == 0);
    for (int i = 0; i < WORKERS; i++) CHECK(pthread_join(workers[i], NULL) == 0);
}

static _Atomic long allowed, alive;

static void *scarce(size_t bytes, size_t alignment) {
    if (allowed-- <= 0) return NULL;
    alive++;
    void *memory = NULL;
    CHECK(posix_memalign(&memory, alignment < sizeof(void *) ? sizeof(void *) : alignment, bytes) == 0);
    return memory;
}

static void give_back(void *memory, size_t bytes) {
    (void)bytes;
    alive--;
    free(memory);
}

static void mode_memory(const job *j) {
    ingot_context *context = NULL;
    size_t bytes = 0;
    CHECK(j->f.set_allocator(scarce, give_back) == INGOT_OK);
    expect(j, j->f.create(j->model, j->bounds, &context), INGOT_E_MEMORY);
    CHECK(!context);
    expect(j, j->f.size(j->model, j->bounds, &bytes), INGOT_OK);
    void *memory = NULL;
    CHECK(bytes && posix_memalign(&memory, 64, bytes) == 0);
    memset(memory, 0xa5, bytes);
    expect(j, j->f.init(j->model, memory, bytes - 1, j->bounds, &context), INGOT_E_MEMORY);
    CHECK(!context);
    expect(j, j->f.init(j->model, memory, bytes, j->bounds, &context), INGOT_OK);
    run_all(j, context);
    expect(j, j->f.destroy(context), INGOT_OK);
    free(memory);
    CHECK(alive == 0);
    CHECK(j->f.set_allocator(NULL, NULL) == INGOT_OK);
}

static void mode_allocator(const job *j, const char *weights) {
    CHECK(j->f.set_allocator(scarce, give_back) == INGOT_OK);
    int32_t status = INGOT_E_MEMORY;
    long n = 0;
    while (status == INGOT_E_MEMORY) {
        ingot_model *model = NULL;
        ingot_context *context = NULL;
        allowed = n++;
        status = j->f.open(weights, &model);
        CHECK((status == INGOT_OK) == (model != NULL));
        if (status == INGOT_OK) status = j->f.create(model, j->bounds, &context);
        CHECK((status == INGOT_OK) == (context != NULL));
        expect(j, j->f.destroy(context), INGOT_OK);
        expect(j, j->f.close(model), INGOT_OK);
        CHECK(alive == 0);
    }
    expect(j, status, INGOT_OK);
    CHECK(n > 1);
    CHECK(j->f.set_allocator(NULL, NULL) == INGOT_OK);
    mode_run(j);
}

/* Runs, and prints what is mapped. */
static void mode_maps(const job *j) {
    mode_run(j);
    FILE *maps = fopen("/proc/self/maps", "r");
    CHECK(maps);
    for (int c = fgetc(maps); c != EOF; c = fgetc(maps)) putchar(c);
    fclose(maps);
}

static void write_made(const job *j, const char *path) {
    FILE *file = fopen(path, "wb");
    CHECK(file);
    for (int64_t i = 0; i < j->runs * j->outputs; i++) {
        const array *a = &j->made[i];
        CHECK(fwrite(&a->rank, 8, 1, file) == 1);
        CHECK(fwrite(a->dims, 8, (size_t)a->rank, file) == (size_t)a->rank);
        CHECK(fwrite(&a->bytes, 8, 1, file) == 1);
        CHECK(fwrite(a->data ? a->data : "", 1, (size_t)a->bytes, file) == (size_t)a->bytes);
    }
    CHECK(fclose(file) == 0);
}

int main(int count, char **words) {
    CHECK(count >= 7 && (count - 1) % 6 == 0);
    for (char **word = words + 1; *word; word += 6) {
        const char *mode = word[0], *weights = word[2];
        job j = {.f = find(word[1]), .threads = atoi(word[3]), .alone = 1};
        expect(&j, j.f.open(weights, &j.model), INGOT_OK);
        j.inputs = j.f.input_count(j.model);
        j.outputs = j.f.output_count(j.model);
        j.symbols = j.f.symbol_count(j.model);
        CHECK(j.inputs <= MOST && j.outputs <= MOST && j.symbols <= MOST);
        read_feed(&j, word[4]);
        if (strcmp(mode, "run") == 0) mode_run(&j);
        else if (strcmp(mode, "threads") == 0) mode_threads(&j);
        else if (strcmp(mode, "memory") == 0) mode_memory(&j);
        else if (strcmp(mode, "allocator") == 0) mode_allocator(&j, weights);
        else if (strcmp(mode, "maps") == 0) mode_maps(&j);
        else CHECK(!"a known mode");
        write_made(&j, word[5]);
        expect(&j, j.f.close(j.model), INGOT_OK);
        for (int64_t i = 0; i < j.runs * j.inputs; i++) free(j.fed[i].data);
        for (int64_t i = 0; i < j.runs * j.outputs; i++) free(j.made[i].data);
        free(j.fed), free(j.made);
    }
    CHECK(alive == 0);
    puts("well");
    return 0;
}
