/* Models, contexts and the process-wide thread pool. Linux, C11 with GNU extensions. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "ingot_abi.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#if defined(__x86_64__)
#include <cpuid.h>
#endif

#define API __attribute__((weak, visibility("default")))

enum {
    MODEL_MAGIC = 0x4d4f444c,
    CONTEXT_MAGIC = 0x43545854,
    CACHE_LINE = 64,
    HUGE_PAGE = 2 << 20,
    SYMBOLS = 1024,
    POOL_THREADS = 512, /* also the limit of the bit fields in the pool's word */
    WORKER_STACK = 4 << 20,
    WAKE_FANOUT = 4,
    STEPS_PER_THREAD = 16,
    SPIN_NS = 50000,
    SPIN_CROWDED_NS = 2000,
    PUT_ASIDE_NS = 200000,
    TRIAL_RUNS = 4,
    TRIAL_EVERY = 512,
    TRIAL_REDUCED_NS = 250000000,
    TRIAL_CHECK = 16,
    TRIAL_SLOW = 3,
    TRIAL_NS = 10000000,
};

struct ingot_model {
    uint32_t magic;
    const ingot_desc *desc;
    const unsigned char *weights;
    void *mapping;
    size_t mapping_bytes;
    int32_t output_rank_sum;
    ingot_free_function release;
    _Atomic int64_t contexts;
};

/* How many of its threads a context runs on: `threads >> level`. A trial runs TRIAL_RUNS on the present level and on each
 * other, down to one thread, and the fastest stays, or one of fewer threads that is nearly as fast: processors may lie so
 * far apart that a small model loses by a second one. The next trial comes after TRIAL_EVERY runs, where not all threads
 * are used after TRIAL_REDUCED_NS, or when some runs take a quarter longer, as a virtual machine may move its
 * processors. Runs on all threads that are longer than TRIAL_NS try nothing else.
 * from: the level before the trial; chosen: the best of it so far, and best: nanoseconds of its fastest run; least: of
 * the fastest run at `level`; since: when it was settled. */
typedef struct ingot_trial {
    bool settled;
    int32_t runs, level, from, chosen, slow;
    int64_t least, best, since;
} ingot_trial;

/* bound: the symbols of the last bind; live: what run sees and may change; scratch: symbols of a bind under way. */
struct ingot_context {
    uint32_t magic;
    int32_t threads;
    ingot_model *model;
    _Atomic uint32_t busy;
    bool is_bound, owns_memory;
    ingot_trial trial;
    ingot_free_function release;
    size_t header_bytes, arena_bytes;
    unsigned char *arena;
    int64_t *bounds, *bound, *live, *scratch;
    int64_t *output_dims, *scratch_dims;
    uint64_t *output_bytes;
    void **inputs, **outputs;
};

static _Thread_local char last_error[512];

__attribute__((format(printf, 2, 3))) static int32_t fail(int32_t status, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(last_error, sizeof last_error, format, arguments);
    va_end(arguments);
    return status;
}

API const char *ingot_last_error(void) { return last_error; }

API uint32_t ingot_version(void) { return INGOT_VERSION; }

API const char *ingot_status_name(int32_t status) {
    static const char *const names[] = {
        "INGOT_OK",         "INGOT_E_ARGUMENT", "INGOT_E_MEMORY",   "INGOT_E_FILE",
        "INGOT_E_WEIGHTS",  "INGOT_E_ABI",      "INGOT_E_TARGET",   "INGOT_E_DTYPE",
        "INGOT_E_RANK",     "INGOT_E_SHAPE",    "INGOT_E_CAPACITY", "INGOT_E_BUSY",
        "INGOT_E_UNBOUND",  "INGOT_E_OVERFLOW", "INGOT_E_INDEX",    "INGOT_E_VALUE",
    };
    const int32_t count = sizeof names / sizeof names[0];
    return status <= 0 && status > -count ? names[-status] : "unknown";
}

static void *default_alloc(size_t bytes, size_t alignment) {
    if (bytes < HUGE_PAGE) {
        void *memory = NULL;
        if (alignment < sizeof(void *)) alignment = sizeof(void *);
        return posix_memalign(&memory, alignment, bytes) ? NULL : memory;
    }
    size_t room;
    if (__builtin_add_overflow(bytes, (size_t)HUGE_PAGE, &room)) return NULL;
    unsigned char *start = mmap(NULL, room, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (start == MAP_FAILED) return NULL;
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    const size_t used = (bytes + page - 1) & ~(page - 1);
    const size_t before = -(uintptr_t)start & (HUGE_PAGE - 1);
    if (before) munmap(start, before);
    if (HUGE_PAGE - before > used - bytes) munmap(start + before + used, room - before - used);
    madvise(start + before, used, MADV_HUGEPAGE);
    return start + before;
}

static void default_free(void *memory, size_t bytes) {
    if (bytes < HUGE_PAGE)
        free(memory);
    else
        munmap(memory, bytes);
}

static ingot_alloc_function current_alloc = default_alloc;
static ingot_free_function current_free = default_free;

API int32_t ingot_set_allocator(ingot_alloc_function alloc, ingot_free_function release) {
    if (!alloc != !release) return fail(INGOT_E_ARGUMENT, "give both functions of an allocator, or neither");
    current_alloc = alloc ? alloc : default_alloc;
    current_free = release ? release : default_free;
    return INGOT_OK;
}

static int32_t dtype_bits(int32_t dtype) {
    static const unsigned char bits[] = {0,  32, 8,  8,  16, 16, 32,  32 * 2, 128, 8, 16, 64, 32,
                                         64, 64, 128, 16, 8,  8,  8,   8,      8, 8, 8,  8,  8,  8};
    return dtype > 0 && dtype < (int32_t)sizeof bits ? bits[dtype] : 0;
}

static const char *dtype_name(int32_t dtype) {
    static const char *const names[] = {
        "undefined", "float32",    "uint8",          "int8",         "uint16",         "int16",  "int32",
        "int64",     "string",     "bool",           "float16",      "float64",        "uint32", "uint64",
        "complex64", "complex128", "bfloat16",       "float8e4m3fn", "float8e4m3fnuz", "float8e5m2",
        "float8e5m2fnuz",          "uint4",          "int4",         "float4e2m1",     "float8e8m0",
        "uint2",     "int2",
    };
    return dtype >= 0 && dtype < (int32_t)(sizeof names / sizeof names[0]) ? names[dtype] : "unknown";
}

static uintptr_t dtype_alignment(int32_t dtype) {
    const int32_t bytes = dtype_bits(dtype) / 8;
    return bytes >= 16 || dtype == INGOT_COMPLEX64 ? (uintptr_t)bytes / 2 : bytes ? (uintptr_t)bytes : 1;
}

/* The bytes of a dense tensor; false on overflow. */
static bool tensor_bytes(int32_t dtype, int32_t rank, const int64_t *dims, uint64_t *bytes) {
    uint64_t elements = 1;
    bool overflow = false;
    for (int32_t i = 0; i < rank; i++) {
        if (dims[i] == 0) {
            *bytes = 0;
            return true;
        }
        overflow |= dims[i] < 0 || __builtin_mul_overflow(elements, (uint64_t)dims[i], &elements);
    }
    uint64_t bits;
    overflow |= __builtin_mul_overflow(elements, (uint64_t)dtype_bits(dtype), &bits) ||
                bits > (uint64_t)INT64_MAX - 7;
    *bytes = overflow ? 0 : (bits + 7) / 8;
    return !overflow;
}

/* Whether this processor has the instructions of `target`; true for a target it knows nothing of. */
static bool target_runs(const char *target) {
#if defined(__x86_64__)
    const bool bf16 = strcmp(target, "avx512_bf16") == 0;
    const bool avx512 = bf16 || strcmp(target, "avx512") == 0;
    if (!avx512 && strcmp(target, "avx2") != 0) return true;
    const uint32_t fma = 1u << 12, movbe = 1u << 22, osxsave = 1u << 27, avx = 1u << 28, f16c = 1u << 29;
    const uint32_t bmi1 = 1u << 3, avx2 = 1u << 5, bmi2 = 1u << 8;
    const uint32_t f = 1u << 16, dq = 1u << 17, cd = 1u << 28, bw = 1u << 30, vl = 1u << 31;
    const uint32_t want1 = fma | movbe | osxsave | avx | f16c;
    const uint32_t want7 = bmi1 | avx2 | bmi2 | (avx512 ? f | dq | cd | bw | vl : 0);
    uint32_t a, b, c, d;
    if (!__get_cpuid(1, &a, &b, &c, &d) || (c & want1) != want1) return false;
    uint32_t low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    const uint32_t state = avx512 ? 0xe6 : 0x06;
    if ((low & state) != state) return false;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || (b & want7) != want7) return false;
    return !bf16 || (__get_cpuid_count(7, 1, &a, &b, &c, &d) && (a & 1u << 5));
#else
    (void)target;
    return true;
#endif
}

static bool port_valid(const ingot_port *port, int32_t symbols, bool is_output) {
    if (!port->name || dtype_bits(port->dtype) == 0 || port->rank < 0 || port->rank > INGOT_MAX_RANK) return false;
    for (int32_t i = 0; i < port->rank; i++) {
        const int64_t dim = port->dims[i];
        if (dim < 0 && !(is_output && dim == INGOT_DIM_COMPUTED) && dim < -(int64_t)symbols) return false;
    }
    return true;
}

static bool desc_valid(const ingot_desc *desc) {
    if (desc->input_count < 0 || desc->output_count < 0) return false;
    if (desc->symbol_count < 0 || desc->symbol_count > SYMBOLS) return false;
    if (!desc->arena_bytes || !desc->output_dims || !desc->run || !desc->name || !desc->target) return false;
    for (int32_t i = 0; i < desc->input_count; i++)
        if (!port_valid(&desc->inputs[i], desc->symbol_count, false)) return false;
    for (int32_t i = 0; i < desc->output_count; i++)
        if (!port_valid(&desc->outputs[i], desc->symbol_count, true)) return false;
    return true;
}

/* Writes the path of <name>.weights beside the library or program that holds `desc`. */
static bool weights_beside(const ingot_desc *desc, char path[PATH_MAX]) {
    Dl_info info;
    const char *file = dladdr(desc, &info) ? info.dli_fname : NULL;
    char program[PATH_MAX];
    if (!file || !strchr(file, '/')) {
        const ssize_t length = readlink("/proc/self/exe", program, sizeof program - 1);
        if (length <= 0) return false;
        program[length] = 0;
        file = program;
    }
    const char *slash = strrchr(file, '/');
    const int folder = slash ? (int)(slash - file + 1) : 0;
    const int length = snprintf(path, PATH_MAX, "%.*s%s.weights", folder, file, desc->name);
    return length > 0 && length < PATH_MAX;
}

static int32_t map_weights(ingot_model *model, const char *path) {
    const ingot_desc *desc = model->desc;
    const int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0) return fail(INGOT_E_FILE, "%s: cannot open the weights: %s", path, strerror(errno));
    int32_t status = INGOT_OK;
    unsigned char head[48];
    uint64_t bytes = 0;
    const uint64_t expected = desc->weights_bytes + INGOT_WEIGHTS_HEADER;
    const off_t size = lseek(file, 0, SEEK_END);
    const ssize_t got = size < 0 ? -1 : pread(file, head, sizeof head, 0);
    for (int i = 0; i < 8; i++) bytes |= (uint64_t)head[8 + i] << (8 * i);
    if (got < 0)
        status = fail(INGOT_E_FILE, "%s: cannot read the weights: %s", path, strerror(errno));
    else if (got < (ssize_t)sizeof head || memcmp(head, INGOT_WEIGHTS_MAGIC, 8) != 0)
        status = fail(INGOT_E_WEIGHTS, "%s: this is no weights file of ingot", path);
    else if (bytes != desc->weights_bytes || memcmp(head + 16, desc->weights_digest, 32) != 0)
        status = fail(INGOT_E_WEIGHTS, "%s: these weights belong to another model than %s", path, desc->name);
    else if ((uint64_t)size != expected)
        status = fail(INGOT_E_WEIGHTS, "%s: the file has %lld bytes instead of %llu", path, (long long)size,
                      (unsigned long long)expected);
    if (status == INGOT_OK) {
        void *mapping = mmap(NULL, expected, PROT_READ, MAP_SHARED, file, 0);
        if (mapping == MAP_FAILED) {
            status = fail(INGOT_E_FILE, "%s: cannot map the weights: %s", path, strerror(errno));
        } else {
            madvise(mapping, expected, MADV_WILLNEED);
            model->mapping = mapping;
            model->mapping_bytes = expected;
            model->weights = (const unsigned char *)mapping + INGOT_WEIGHTS_HEADER;
        }
    }
    close(file);
    return status;
}

API int32_t ingot_open(const ingot_desc *desc, const char *weights_path, ingot_model **model) {
    if (!desc || !model) return fail(INGOT_E_ARGUMENT, "ingot_open: desc or model is NULL");
    *model = NULL;
    if (desc->abi != INGOT_ABI)
        return fail(INGOT_E_ABI, "the model was built for runtime interface %u, this runtime has %u", desc->abi,
                    (unsigned)INGOT_ABI);
    if (!desc_valid(desc)) return fail(INGOT_E_ABI, "the model's description is malformed");
    if (!target_runs(desc->target))
        return fail(INGOT_E_TARGET, "%s was built for %s, which this processor cannot run", desc->name, desc->target);
    ingot_model *made = current_alloc(sizeof *made, CACHE_LINE);
    if (!made) return fail(INGOT_E_MEMORY, "no memory for a model");
    memset(made, 0, sizeof *made);
    made->magic = MODEL_MAGIC;
    made->desc = desc;
    made->release = current_free;
    for (int32_t i = 0; i < desc->output_count; i++) made->output_rank_sum += desc->outputs[i].rank;
    int32_t status = INGOT_OK;
    char path[PATH_MAX];
    if (!weights_path && (desc->embedded_weights || desc->weights_bytes == 0))
        made->weights = desc->embedded_weights;
    else if (!weights_path && !weights_beside(desc, path))
        status = fail(INGOT_E_FILE, "%s: cannot tell where the weights are", desc->name);
    else
        status = map_weights(made, weights_path ? weights_path : path);
    if (status == INGOT_OK)
        *model = made;
    else
        made->release(made, sizeof *made);
    return status;
}

static bool is_model(const ingot_model *model) { return model && model->magic == MODEL_MAGIC; }

static int32_t no_model(void) { return fail(INGOT_E_ARGUMENT, "this is no open model"); }

API int32_t ingot_close(ingot_model *model) {
    if (!model) return INGOT_OK;
    if (!is_model(model)) return no_model();
    const long long contexts = (long long)atomic_load_explicit(&model->contexts, memory_order_acquire);
    if (contexts) return fail(INGOT_E_BUSY, "%s still has %lld contexts", model->desc->name, contexts);
    if (model->mapping) munmap(model->mapping, model->mapping_bytes);
    model->magic = 0;
    model->release(model, sizeof *model);
    return INGOT_OK;
}

API int32_t ingot_input_count(const ingot_model *model) {
    return is_model(model) ? model->desc->input_count : no_model();
}

API int32_t ingot_output_count(const ingot_model *model) {
    return is_model(model) ? model->desc->output_count : no_model();
}

API int32_t ingot_symbol_count(const ingot_model *model) {
    return is_model(model) ? model->desc->symbol_count : no_model();
}

API const char *ingot_symbol_name(const ingot_model *model, int32_t index) {
    if (!is_model(model) || index < 0 || index >= model->desc->symbol_count) return NULL;
    return model->desc->symbol_names[index];
}

static int32_t port_info(const ingot_port *ports, int32_t count, int32_t index, const int64_t *dims,
                         ingot_tensor_info *info) {
    if (!info || info->struct_size < sizeof *info)
        return fail(INGOT_E_ARGUMENT, "set struct_size of ingot_tensor_info to its sizeof");
    if (index < 0 || index >= count) return fail(INGOT_E_ARGUMENT, "there is no tensor %d of %d", index, count);
    const ingot_port *port = &ports[index];
    info->dtype = port->dtype;
    info->rank = port->rank;
    info->reserved = 0;
    info->name = port->name;
    memset(info->dims, 0, sizeof info->dims);
    for (int32_t i = 0; i < port->rank; i++) info->dims[i] = dims ? dims[i] : port->dims[i];
    return INGOT_OK;
}

API int32_t ingot_input_info(const ingot_model *model, int32_t index, ingot_tensor_info *info) {
    if (!is_model(model)) return no_model();
    return port_info(model->desc->inputs, model->desc->input_count, index, NULL, info);
}

API int32_t ingot_output_info(const ingot_model *model, int32_t index, ingot_tensor_info *info) {
    if (!is_model(model)) return no_model();
    return port_info(model->desc->outputs, model->desc->output_count, index, NULL, info);
}

/* Reserves `count` items of 8 bytes; with base NULL it only counts. */
static void *take(unsigned char *base, size_t *used, size_t count) {
    void *part = base ? base + *used : NULL;
    *used += count * 8;
    return part;
}

_Static_assert(sizeof(void *) <= 8 && sizeof(uint64_t) == 8, "take() hands out items of 8 bytes");

/* Lays the context out in memory that starts with it; NULL: only the bytes, a multiple of 64. */
static size_t context_layout(const ingot_model *model, ingot_context *context) {
    const ingot_desc *desc = model->desc;
    const size_t symbols = (size_t)desc->symbol_count, ranks = (size_t)model->output_rank_sum;
    unsigned char *base = (unsigned char *)context;
    ingot_context unused;
    ingot_context *c = context ? context : &unused;
    size_t used = (sizeof *c + 7) & ~(size_t)7;
    c->bounds = take(base, &used, symbols);
    c->bound = take(base, &used, symbols);
    c->live = take(base, &used, symbols);
    c->scratch = take(base, &used, symbols);
    c->output_dims = take(base, &used, ranks);
    c->scratch_dims = take(base, &used, ranks);
    c->output_bytes = take(base, &used, (size_t)desc->output_count);
    c->inputs = take(base, &used, (size_t)desc->input_count);
    c->outputs = take(base, &used, (size_t)desc->output_count);
    return (used + CACHE_LINE - 1) & ~(size_t)(CACHE_LINE - 1);
}

static bool is_named(const ingot_desc *desc, int32_t symbol) {
    for (int32_t i = 0; i < desc->input_count; i++)
        for (int32_t j = 0; j < desc->inputs[i].rank; j++)
            if (desc->inputs[i].dims[j] == -1 - (int64_t)symbol) return true;
    return false;
}

/* Checks the caller's bounds, writes them with those that follow from them into `all`, and sizes the arena. */
static int32_t arena_size(const ingot_model *model, const int64_t *bounds, int64_t *all, size_t *arena) {
    const ingot_desc *desc = model->desc;
    if (desc->symbol_count && !bounds)
        return fail(INGOT_E_ARGUMENT, "%s has symbols: give a bound for each", desc->name);
    for (int32_t i = 0; i < desc->symbol_count; i++) {
        all[i] = desc->bound_symbols && !is_named(desc, i) ? 0 : bounds[i];
        if (all[i] < 0) return fail(INGOT_E_ARGUMENT, "the bound of %s is negative", desc->symbol_names[i]);
    }
    if (desc->bound_symbols) desc->bound_symbols(all);
    const int64_t bytes = desc->arena_bytes(all);
    if (bytes == INGOT_ARENA_NEGATIVE)
        return fail(INGOT_E_SHAPE, "%s: for these sizes a tensor inside the model has a negative size", desc->name);
    if (bytes < 0 || (uint64_t)bytes > SIZE_MAX / 2)
        return fail(INGOT_E_OVERFLOW, "%s: the working memory for these bounds overflows", desc->name);
    *arena = (size_t)bytes;
    return INGOT_OK;
}

API int32_t ingot_context_size(const ingot_model *model, const int64_t *symbol_bounds, size_t *bytes) {
    if (!is_model(model)) return no_model();
    if (!bytes) return fail(INGOT_E_ARGUMENT, "ingot_context_size: bytes is NULL");
    int64_t bounds[SYMBOLS];
    size_t arena;
    const int32_t status = arena_size(model, symbol_bounds, bounds, &arena);
    if (status == INGOT_OK) *bytes = context_layout(model, NULL) + arena;
    return status;
}

/* Makes a context at `memory` with its arena; `bounds` are those that arena_size wrote. */
static ingot_context *context_place(ingot_model *model, void *memory, const int64_t *bounds, unsigned char *arena,
                                    size_t arena_bytes) {
    const size_t header = context_layout(model, NULL);
    memset(memory, 0, header);
    ingot_context *context = memory;
    context_layout(model, context);
    context->magic = CONTEXT_MAGIC;
    context->threads = 1;
    context->model = model;
    context->header_bytes = header;
    context->arena = arena;
    context->arena_bytes = arena_bytes;
    memcpy(context->bounds, bounds, sizeof *bounds * (size_t)model->desc->symbol_count);
    atomic_fetch_add_explicit(&model->contexts, 1, memory_order_relaxed);
    return context;
}

API int32_t ingot_context_init(ingot_model *model, void *memory, size_t bytes, const int64_t *symbol_bounds,
                               ingot_context **context) {
    if (!context) return fail(INGOT_E_ARGUMENT, "ingot_context_init: context is NULL");
    *context = NULL;
    if (!is_model(model)) return no_model();
    if (!memory || (uintptr_t)memory % CACHE_LINE)
        return fail(INGOT_E_ARGUMENT, "the memory of a context must be aligned to %d", CACHE_LINE);
    int64_t bounds[SYMBOLS];
    size_t arena;
    const int32_t status = arena_size(model, symbol_bounds, bounds, &arena);
    if (status != INGOT_OK) return status;
    const size_t header = context_layout(model, NULL);
    if (bytes < header || bytes - header < arena)
        return fail(INGOT_E_MEMORY, "a context takes %zu bytes, there are %zu", header + arena, bytes);
    *context = context_place(model, memory, bounds, (unsigned char *)memory + header, arena);
    return INGOT_OK;
}

API int32_t ingot_context_create(ingot_model *model, const int64_t *symbol_bounds, ingot_context **context) {
    if (!context) return fail(INGOT_E_ARGUMENT, "ingot_context_create: context is NULL");
    *context = NULL;
    if (!is_model(model)) return no_model();
    int64_t bounds[SYMBOLS];
    size_t arena_bytes;
    const int32_t status = arena_size(model, symbol_bounds, bounds, &arena_bytes);
    if (status != INGOT_OK) return status;
    const ingot_free_function release = current_free;
    const size_t header = context_layout(model, NULL);
    void *memory = current_alloc(header, CACHE_LINE);
    if (!memory) return fail(INGOT_E_MEMORY, "no memory for a context of %zu bytes", header);
    unsigned char *arena = NULL;
    if (arena_bytes) arena = current_alloc(arena_bytes, arena_bytes < HUGE_PAGE ? CACHE_LINE : HUGE_PAGE);
    if (arena_bytes && !arena) {
        release(memory, header);
        return fail(INGOT_E_MEMORY, "no memory for the %zu bytes that a context works in", arena_bytes);
    }
    ingot_context *made = context_place(model, memory, bounds, arena, arena_bytes);
    made->owns_memory = true;
    made->release = release;
    *context = made;
    return INGOT_OK;
}

/* Takes the context for this thread; context_leave gives it back. */
static int32_t context_enter(ingot_context *context) {
    if (!context || context->magic != CONTEXT_MAGIC) return fail(INGOT_E_ARGUMENT, "this is no live context");
    if (atomic_exchange_explicit(&context->busy, 1, memory_order_acquire))
        return fail(INGOT_E_BUSY, "the context is in use on another thread");
    return INGOT_OK;
}

static int32_t context_leave(ingot_context *context, int32_t status) {
    atomic_store_explicit(&context->busy, 0, memory_order_release);
    return status;
}

API int32_t ingot_context_destroy(ingot_context *context) {
    if (!context) return INGOT_OK;
    const int32_t status = context_enter(context);
    if (status != INGOT_OK) return status;
    context->magic = 0;
    _Atomic int64_t *contexts = &context->model->contexts;
    if (context->owns_memory) {
        const ingot_free_function release = context->release;
        if (context->arena) release(context->arena, context->arena_bytes);
        release(context, context->header_bytes);
    }
    atomic_fetch_sub_explicit(contexts, 1, memory_order_release);
    return INGOT_OK;
}

/* Binds the symbols that one input's dimensions name into `scratch`, where -1 is a symbol not met yet. */
static int32_t bind_input(const ingot_desc *desc, const ingot_port *port, const int64_t *dims, int64_t *scratch) {
    for (int32_t i = 0; i < port->rank; i++) {
        const int64_t wanted = port->dims[i];
        if (dims[i] < 0)
            return fail(INGOT_E_SHAPE, "input %s: dimension %d is %lld", port->name, i, (long long)dims[i]);
        if (wanted >= 0) {
            if (dims[i] != wanted)
                return fail(INGOT_E_SHAPE, "input %s: dimension %d is %lld instead of %lld", port->name, i,
                            (long long)dims[i], (long long)wanted);
            continue;
        }
        int64_t *symbol = &scratch[-1 - wanted];
        if (*symbol >= 0 && *symbol != dims[i])
            return fail(INGOT_E_SHAPE, "input %s: dimension %d is %lld, but %s is %lld already", port->name, i,
                        (long long)dims[i], desc->symbol_names[-1 - wanted], (long long)*symbol);
        *symbol = dims[i];
    }
    return INGOT_OK;
}

static size_t symbols_bytes(const ingot_desc *desc) { return sizeof(int64_t) * (size_t)desc->symbol_count; }

/* Completes the symbols in `scratch`, checks them against the context, and makes them the bound ones. */
static int32_t bind_symbols(ingot_context *context) {
    const ingot_desc *desc = context->model->desc;
    int64_t *scratch = context->scratch;
    for (int32_t i = 0; i < desc->symbol_count; i++) {
        if (scratch[i] > context->bounds[i])
            return fail(INGOT_E_CAPACITY, "%s is %lld, the context was made for at most %lld", desc->symbol_names[i],
                        (long long)scratch[i], (long long)context->bounds[i]);
        if (scratch[i] < 0) scratch[i] = desc->bound_symbols ? 0 : context->bounds[i];
    }
    if (desc->bound_symbols) desc->bound_symbols(scratch);
    if (context->is_bound && memcmp(scratch, context->bound, symbols_bytes(desc)) == 0) {
        if (desc->bound_symbols) desc->output_dims(scratch, context->output_dims);
        return INGOT_OK;
    }
    const int64_t arena = desc->arena_bytes(scratch);
    if (arena == INGOT_ARENA_NEGATIVE)
        return fail(INGOT_E_SHAPE, "%s: for these sizes a tensor inside the model has a negative size", desc->name);
    if (arena < 0) return fail(INGOT_E_OVERFLOW, "%s: the working memory for these shapes overflows", desc->name);
    if ((uint64_t)arena > context->arena_bytes)
        return fail(INGOT_E_CAPACITY, "these shapes take %lld bytes to work in, the context has %zu",
                    (long long)arena, context->arena_bytes);
    desc->output_dims(scratch, context->scratch_dims);
    const int64_t *dims = context->scratch_dims;
    uint64_t ignored;
    for (int32_t i = 0; i < desc->output_count; dims += desc->outputs[i++].rank)
        if (!tensor_bytes(desc->outputs[i].dtype, desc->outputs[i].rank, dims, &ignored))
            return fail(INGOT_E_OVERFLOW, "the size of output %s overflows", desc->outputs[i].name);
    dims = context->scratch_dims;
    for (int32_t i = 0; i < desc->output_count; dims += desc->outputs[i++].rank)
        tensor_bytes(desc->outputs[i].dtype, desc->outputs[i].rank, dims, &context->output_bytes[i]);
    memcpy(context->output_dims, context->scratch_dims, sizeof(int64_t) * (size_t)context->model->output_rank_sum);
    if (!context->is_bound || memcmp(context->bound, scratch, symbols_bytes(desc))) context->trial = (ingot_trial){0};
    memcpy(context->bound, scratch, symbols_bytes(desc));
    context->is_bound = true;
    return INGOT_OK;
}

static void scratch_clear(ingot_context *context) {
    for (int32_t i = 0; i < context->model->desc->symbol_count; i++) context->scratch[i] = -1;
}

API int32_t ingot_bind(ingot_context *context, const int64_t *dims) {
    int32_t status = context_enter(context);
    if (status != INGOT_OK) return status;
    const ingot_desc *desc = context->model->desc;
    scratch_clear(context);
    for (int32_t i = 0; i < desc->input_count && status == INGOT_OK; dims += desc->inputs[i++].rank) {
        if (!dims && desc->inputs[i].rank)
            status = fail(INGOT_E_ARGUMENT, "ingot_bind: dims is NULL");
        else
            status = bind_input(desc, &desc->inputs[i], dims, context->scratch);
    }
    if (status == INGOT_OK) status = bind_symbols(context);
    return context_leave(context, status);
}

static int64_t *dims_of_output(ingot_context *context, int32_t index) {
    int64_t *dims = context->output_dims;
    for (int32_t i = 0; i < index; i++) dims += context->model->desc->outputs[i].rank;
    return dims;
}

API int32_t ingot_bound_output_info(ingot_context *context, int32_t index, ingot_tensor_info *info) {
    int32_t status = context_enter(context);
    if (status != INGOT_OK) return status;
    const ingot_desc *desc = context->model->desc;
    if (!context->is_bound)
        status = fail(INGOT_E_UNBOUND, "the shapes are not known: call ingot_bind or ingot_run first");
    else
        status = port_info(desc->outputs, desc->output_count, index,
                           index > 0 && index < desc->output_count ? dims_of_output(context, index)
                                                                   : context->output_dims,
                           info);
    return context_leave(context, status);
}

static _Thread_local const char *stop_reason;

API int32_t ingot_stop(int32_t status, const char *reason) {
    stop_reason = reason;
    return status;
}

static int64_t now_ns(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

static bool trial_times(const ingot_trial *trial) {
    return !trial->settled || trial->slow || trial->runs % TRIAL_CHECK == 0;
}

/* After a run from `start`, 0 where it was not to be timed, to `end`. A level that is clearly slower is given up early. */
static void trial_ran(ingot_trial *trial, int32_t threads, int64_t start, int64_t end) {
    const int64_t ns = end - start;
    trial->runs++;
    if (trial->settled) {
        if (start) trial->slow = ns > trial->best + trial->best / 4 ? trial->slow + 1 : 0;
        const bool due = trial->level ? start && end - trial->since > TRIAL_REDUCED_NS : trial->runs == TRIAL_EVERY;
        if (trial->slow == TRIAL_SLOW || due) *trial = (ingot_trial){.level = trial->level, .from = trial->level};
        return;
    }
    if (trial->runs == 1 || ns < trial->least) trial->least = ns;
    const bool first = trial->level == trial->from;
    const bool hopeless = !first && trial->runs > 1 && trial->least > trial->best + trial->best / 16;
    if (trial->runs < TRIAL_RUNS && !hopeless) return;
    const int64_t margin = trial->level > trial->chosen ? trial->best / 16 : -trial->best / 16;
    if (first || trial->least < trial->best + margin) {
        trial->best = trial->least;
        trial->chosen = trial->level;
    }
    trial->runs = 0;
    trial->level = first ? 0 : trial->level + 1;
    if (trial->level == trial->from) trial->level++;
    trial->settled = threads >> trial->level == 0 || (trial->from == 0 && trial->best > TRIAL_NS);
    if (!trial->settled) return;
    trial->level = trial->chosen;
    trial->since = end;
}

static int32_t run_bound(ingot_context *context, void *const *inputs, void *const *outputs) {
    const ingot_desc *desc = context->model->desc;
    for (int32_t i = 0; i < desc->symbol_count; i++) context->live[i] = context->bound[i];
    ingot_trial *trial = &context->trial;
    const ingot_frame frame = {context->arena, context->model->weights, inputs, outputs, context->live,
                               context->threads >> trial->level};
    stop_reason = NULL;
    const int64_t start = context->threads > 1 && trial_times(trial) ? now_ns() : 0;
    const int32_t status = desc->run(&frame);
    if (context->threads > 1) trial_ran(trial, context->threads, start, start ? now_ns() : 0);
    if (status != INGOT_OK)
        return fail(status, "%s stopped while running: %s", desc->name,
                    stop_reason ? stop_reason : ingot_status_name(status));
    if (desc->bound_symbols) desc->output_dims(context->live, context->output_dims);
    return INGOT_OK;
}

/* Whether every string has its bytes somewhere. */
static bool strings_valid(const ingot_string *strings, uint64_t count) {
    for (uint64_t i = 0; i < count; i++)
        if ((!strings[i].data && strings[i].bytes) || strings[i].bytes > INT64_MAX) return false;
    return true;
}

static int32_t take_input(ingot_context *context, int32_t index, const ingot_tensor *tensor) {
    const ingot_desc *desc = context->model->desc;
    const ingot_port *port = &desc->inputs[index];
    if (tensor->dtype != port->dtype)
        return fail(INGOT_E_DTYPE, "input %s is %s instead of %s", port->name, dtype_name(tensor->dtype),
                    dtype_name(port->dtype));
    if (tensor->rank != port->rank)
        return fail(INGOT_E_RANK, "input %s has %d dimensions instead of %d", port->name, tensor->rank, port->rank);
    const int32_t status = bind_input(desc, port, tensor->dims, context->scratch);
    if (status != INGOT_OK) return status;
    uint64_t bytes;
    if (!tensor_bytes(port->dtype, port->rank, tensor->dims, &bytes))
        return fail(INGOT_E_OVERFLOW, "the size of input %s overflows", port->name);
    if (tensor->bytes < bytes)
        return fail(INGOT_E_SHAPE, "input %s has %llu bytes, its shape needs %llu", port->name,
                    (unsigned long long)tensor->bytes, (unsigned long long)bytes);
    if ((!tensor->data && bytes) || (uintptr_t)tensor->data % dtype_alignment(port->dtype))
        return fail(INGOT_E_ARGUMENT, "input %s: the data is NULL or misaligned", port->name);
    if (port->dtype == INGOT_STRING && !strings_valid(tensor->data, bytes / sizeof(ingot_string)))
        return fail(INGOT_E_ARGUMENT, "input %s: a string is NULL or its length no length", port->name);
    context->inputs[index] = tensor->data;
    return INGOT_OK;
}

static void describe_output(ingot_context *context, int32_t index, const int64_t *dims, ingot_tensor *tensor) {
    const ingot_port *port = &context->model->desc->outputs[index];
    tensor->dtype = port->dtype;
    tensor->rank = port->rank;
    for (int32_t i = 0; i < INGOT_MAX_RANK; i++) tensor->dims[i] = i < port->rank ? dims[i] : 0;
}

static int32_t take_output(ingot_context *context, int32_t index, const ingot_tensor *tensor) {
    const ingot_port *port = &context->model->desc->outputs[index];
    const uint64_t bytes = context->output_bytes[index];
    if (tensor->bytes < bytes)
        return fail(INGOT_E_CAPACITY, "output %s takes %llu bytes, there are %llu", port->name,
                    (unsigned long long)bytes, (unsigned long long)tensor->bytes);
    if ((!tensor->data && bytes) || (uintptr_t)tensor->data % dtype_alignment(port->dtype))
        return fail(INGOT_E_ARGUMENT, "output %s: the data is NULL or misaligned", port->name);
    context->outputs[index] = tensor->data;
    return INGOT_OK;
}

static ingot_tensor *tensor_at(const ingot_tensor *first, int32_t index) {
    return (ingot_tensor *)((uintptr_t)first + (uintptr_t)index * first->struct_size);
}

static bool tensors_valid(const ingot_tensor *first, int32_t count) {
    if (count && (!first || first->struct_size < sizeof *first || first->struct_size % 8)) return false;
    for (int32_t i = 1; i < count; i++)
        if (tensor_at(first, i)->struct_size != first->struct_size) return false;
    return true;
}

static int32_t run_checked(ingot_context *context, const ingot_tensor *inputs, ingot_tensor *outputs) {
    const ingot_desc *desc = context->model->desc;
    if (!tensors_valid(inputs, desc->input_count) || !tensors_valid(outputs, desc->output_count))
        return fail(INGOT_E_ARGUMENT, "give every tensor, with struct_size set to its sizeof");
    scratch_clear(context);
    int32_t status = INGOT_OK;
    for (int32_t i = 0; i < desc->input_count && status == INGOT_OK; i++)
        status = take_input(context, i, tensor_at(inputs, i));
    if (status == INGOT_OK) status = bind_symbols(context);
    if (status != INGOT_OK) return status;
    const int64_t *dims = context->output_dims;
    for (int32_t i = 0; i < desc->output_count; dims += desc->outputs[i++].rank)
        describe_output(context, i, dims, tensor_at(outputs, i));
    for (int32_t i = 0; i < desc->output_count && status == INGOT_OK; i++)
        status = take_output(context, i, tensor_at(outputs, i));
    if (status == INGOT_OK) status = run_bound(context, context->inputs, context->outputs);
    if (status != INGOT_OK || !desc->bound_symbols) return status;
    dims = context->output_dims;
    for (int32_t i = 0; i < desc->output_count; dims += desc->outputs[i++].rank)
        describe_output(context, i, dims, tensor_at(outputs, i));
    return INGOT_OK;
}

API int32_t ingot_run(ingot_context *context, const ingot_tensor *inputs, ingot_tensor *outputs) {
    const int32_t status = context_enter(context);
    return status != INGOT_OK ? status : context_leave(context, run_checked(context, inputs, outputs));
}

API int32_t ingot_run_fast(ingot_context *context, void *const *inputs, void *const *outputs) {
    const int32_t status = context_enter(context);
    if (status != INGOT_OK) return status;
    if (!context->is_bound)
        return context_leave(context, fail(INGOT_E_UNBOUND, "call ingot_bind or ingot_run before ingot_run_fast"));
    return context_leave(context, run_bound(context, inputs, outputs));
}

/* One region of parallel work at a time. `word` says all about it: epoch, a new one for each region; threads, how many
 * take part; waiting, the caller sleeps until the last worker leaves; open, workers may still join; active, how many
 * are inside. The other fields of the region are written only while nobody can be inside.
 *
 * Thread i of n owns the i-th of n ranges of tasks. It takes its own range in steps and then helps others with theirs,
 * so the caller never waits for a worker that has not started. */
enum { ACTIVE_BITS = 10, OPEN_BIT = 10, WAITING_BIT = 11, THREADS_SHIFT = 12, EPOCH_SHIFT = 22, TAKEN_BITS = 16 };

#define WORD_OPEN ((uint64_t)1 << OPEN_BIT)
#define WORD_WAITING ((uint64_t)1 << WAITING_BIT)

static uint32_t word_active(uint64_t word) { return (uint32_t)(word & ((1u << ACTIVE_BITS) - 1)); }

static int32_t word_threads(uint64_t word) { return (int32_t)(word >> THREADS_SHIFT & ((1u << ACTIVE_BITS) - 1)); }

static uint64_t word_epoch(uint64_t word) { return word >> EPOCH_SHIFT; }

typedef struct ingot_worker {
    _Alignas(CACHE_LINE) _Atomic uint32_t asleep;
    int32_t id;
    uint64_t float_mode;
    struct ingot_pool *pool;
} ingot_worker;

/* epoch << TAKEN_BITS | steps taken from the range in that epoch */
typedef struct ingot_counter {
    _Alignas(CACHE_LINE) _Atomic uint64_t taken;
} ingot_counter;

typedef struct ingot_region {
    ingot_kernel kernel;
    void *const *p;
    const int64_t *s;
    int64_t first, tasks, step;
    bool backward; /* each range from its end */
    uint64_t float_mode;
} ingot_region;

/* Lives in memory that a fork wipes: all zeros is a pool without threads. */
typedef struct ingot_pool {
    _Alignas(CACHE_LINE) _Atomic uint64_t word;
    _Alignas(CACHE_LINE) ingot_region region;
    _Alignas(CACHE_LINE) _Atomic uint32_t owned;
    _Alignas(CACHE_LINE) _Atomic int32_t workers;
    _Atomic int32_t limit;
    _Atomic int64_t spin_ns;
    _Atomic uint32_t growing, full, left;
    int64_t process; /* the process that made the pool where a fork cannot wipe it, else 0 */
    ingot_worker worker[POOL_THREADS];
    ingot_counter counter[POOL_THREADS];
} ingot_pool;

/* The one object that all ingot libraries of a process share, loaded or linked in whatever way: the pool, and the
 * function that its threads run, which is in the library whose object won and which therefore stays loaded. */
typedef struct ingot_shared {
    _Atomic(ingot_pool *) pool;
    void *(*worker)(void *);
} ingot_shared;

static void *worker_main(void *argument) __asm__("ingot_pool_worker_main") __attribute__((used));

#if __SIZEOF_POINTER__ == 8
#define POINTER_DIRECTIVE ".quad"
#else
#define POINTER_DIRECTIVE ".long"
#endif
__asm__(".pushsection .data.rel.ingot_shared_1,\"awG\",%progbits,ingot_shared_1,comdat\n"
        ".balign 16\n"
        ".globl ingot_shared_1\n"
        ".type ingot_shared_1, %gnu_unique_object\n"
        "ingot_shared_1:\n" POINTER_DIRECTIVE " 0\n" POINTER_DIRECTIVE " ingot_pool_worker_main\n"
        ".size ingot_shared_1, . - ingot_shared_1\n"
        ".popsection\n");
extern ingot_shared ingot_shared_1 __attribute__((visibility("default")));

static void relax(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("isb");
#endif
}

static void futex_wait(_Atomic uint32_t *word, uint32_t value) {
    syscall(SYS_futex, (void *)word, FUTEX_WAIT_PRIVATE, value, NULL, NULL, 0);
}

static void futex_wake(_Atomic uint32_t *word) {
    syscall(SYS_futex, (void *)word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

/* Rounding and flushing of the calling thread. Workers take over the caller's, so that all give the same results. */
static uint64_t float_mode(void) {
#if defined(__x86_64__)
    uint32_t mode;
    __asm__ volatile("stmxcsr %0" : "=m"(mode));
    return mode & ~0x3fu;
#elif defined(__aarch64__)
    uint64_t mode;
    __asm__ volatile("mrs %0, fpcr" : "=r"(mode));
    return mode;
#else
    return 0;
#endif
}

static void set_float_mode(uint64_t mode) {
#if defined(__x86_64__)
    const uint32_t word = (uint32_t)mode;
    __asm__ volatile("ldmxcsr %0" : : "m"(word));
#elif defined(__aarch64__)
    __asm__ volatile("msr fpcr, %0" : : "r"(mode));
#else
    (void)mode;
#endif
}

/* Runs every step of the region that nobody has taken, those of range `id` first. */
static void work(ingot_pool *pool, uint64_t epoch, int32_t threads, int32_t id) {
    const ingot_region region = pool->region;
    const int64_t share = region.tasks / threads, extra = region.tasks % threads;
    for (int32_t turn = 0; turn < threads; turn++) {
        const int32_t range = id + turn < threads ? id + turn : id + turn - threads;
        const int64_t low = share * range + (range < extra ? range : extra);
        const int64_t high = low + share + (range < extra);
        _Atomic uint64_t *counter = &pool->counter[range].taken;
        uint64_t taken = atomic_load_explicit(counter, memory_order_relaxed);
        for (;;) {
            const uint64_t steps = taken >> TAKEN_BITS == epoch ? taken & (((uint64_t)1 << TAKEN_BITS) - 1) : 0;
            const int64_t before = (int64_t)steps * region.step;
            if (before >= high - low) break;
            if (!atomic_compare_exchange_weak_explicit(counter, &taken, epoch << TAKEN_BITS | (steps + 1),
                                                       memory_order_relaxed, memory_order_relaxed))
                continue;
            const int64_t count = high - low - before < region.step ? high - low - before : region.step;
            const int64_t begin = region.first + (region.backward ? high - before - count : low + before);
            region.kernel(region.p, region.s, begin, begin + count);
            taken = epoch << TAKEN_BITS | (steps + 1);
        }
    }
}

/* Wakes those sleepers that thread `id` of the region is to wake: a tree, so that nobody wakes more than a few. */
static void wake(ingot_pool *pool, int32_t id, int32_t threads) {
    for (int32_t i = id * WAKE_FANOUT + 1; i <= id * WAKE_FANOUT + WAKE_FANOUT && i < threads; i++) {
        _Atomic uint32_t *asleep = &pool->worker[i].asleep;
        if (atomic_load(asleep) && atomic_exchange(asleep, 0)) futex_wake(asleep);
    }
}

static bool may_join(const ingot_worker *self, uint64_t word, uint64_t seen) {
    return word_epoch(word) != seen && word & WORD_OPEN && self->id < word_threads(word);
}

/* Takes part in the region that `word` tells of, if it is still open. */
static bool join(ingot_pool *pool, ingot_worker *self, uint64_t word) {
    const uint64_t epoch = word_epoch(word);
    while (!atomic_compare_exchange_weak(&pool->word, &word, word + 1))
        if (word_epoch(word) != epoch || !(word & WORD_OPEN)) return false;
    const int32_t threads = word_threads(word);
    wake(pool, self->id, threads);
    if (self->float_mode != pool->region.float_mode) set_float_mode(self->float_mode = pool->region.float_mode);
    work(pool, epoch, threads, self->id);
    const uint64_t before = atomic_fetch_sub_explicit(&pool->word, 1, memory_order_acq_rel);
    if (before & WORD_WAITING && word_active(before) == 1) {
        atomic_fetch_add_explicit(&pool->left, 1, memory_order_release);
        futex_wake(&pool->left);
    }
    return true;
}

/* Spins, and then sleeps, until there is a region to join; returns its word. A worker that was put aside while it spun
 * spins less from then on, as there must be more threads than processors. */
static uint64_t next_region(ingot_pool *pool, ingot_worker *self, uint64_t seen, int64_t *spin) {
    const int64_t start = now_ns();
    for (int64_t last = start, now = start; now - start <= *spin; last = now) {
        for (int i = 0; i < 32; i++) {
            const uint64_t word = atomic_load_explicit(&pool->word, memory_order_acquire);
            if (may_join(self, word, seen)) return word;
            relax();
        }
        sched_yield();
        now = now_ns();
        if (now - last > PUT_ASIDE_NS && *spin > SPIN_CROWDED_NS) *spin /= 2;
    }
    for (;;) {
        atomic_store(&self->asleep, 1);
        const uint64_t word = atomic_load(&pool->word);
        if (may_join(self, word, seen)) {
            atomic_store(&self->asleep, 0);
            return word;
        }
        while (atomic_load(&self->asleep)) futex_wait(&self->asleep, 1);
    }
}

static void *worker_main(void *argument) {
    ingot_worker *self = argument;
    ingot_pool *pool = self->pool;
    const int64_t full_spin = atomic_load_explicit(&pool->spin_ns, memory_order_relaxed);
    int64_t spin = full_spin;
    self->float_mode = float_mode();
    prctl(PR_SET_NAME, "ingot");
    for (uint64_t seen = 0;;) {
        const uint64_t word = next_region(pool, self, seen, &spin);
        seen = word_epoch(word);
        if (join(pool, self, word) && spin < full_spin) spin += full_spin / 64;
    }
    return NULL;
}

/* The text of a small file, "" where it cannot be read. */
static void read_text(const char *path, char *text, size_t room) {
    const int file = open(path, O_RDONLY | O_CLOEXEC);
    const ssize_t length = file < 0 ? 0 : read(file, text, room - 1);
    if (file >= 0) close(file);
    text[length > 0 ? length : 0] = 0;
}

static int64_t processors_of(int64_t quota, int64_t period) {
    return quota > 0 && period > 0 ? (quota + period - 1) / period : INT32_MAX;
}

/* The least quota, in processors rounded up, of the control group `group` and those above it. */
static int64_t group_quota(const char *root, char *group, bool unified) {
    int64_t least = INT32_MAX;
    for (;;) {
        char path[PATH_MAX], text[64];
        int64_t quota, period;
        if (unified) {
            snprintf(path, sizeof path, "%s%s/cpu.max", root, group);
            read_text(path, text, sizeof text);
            char *rest = text;
            quota = strtoll(text, &rest, 10);
            period = strtoll(rest, NULL, 10);
        } else {
            snprintf(path, sizeof path, "%s%s/cpu.cfs_quota_us", root, group);
            read_text(path, text, sizeof text);
            quota = strtoll(text, NULL, 10);
            snprintf(path, sizeof path, "%s%s/cpu.cfs_period_us", root, group);
            read_text(path, text, sizeof text);
            period = strtoll(text, NULL, 10);
        }
        const int64_t processors = processors_of(quota, period);
        if (processors < least) least = processors;
        char *slash = strrchr(group, '/');
        if (!slash) return least;
        *slash = 0;
    }
}

static int64_t quota_processors(void) {
    char text[4096];
    read_text("/proc/self/cgroup", text, sizeof text);
    int64_t least = INT32_MAX;
    char *rest = NULL;
    for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
        char *controllers = strchr(line, ':');
        char *group = controllers ? strchr(controllers + 1, ':') : NULL;
        if (!group) continue;
        *group++ = 0;
        char listed[256];
        snprintf(listed, sizeof listed, ",%s,", controllers + 1);
        int64_t processors = INT32_MAX;
        if (strcmp(listed, ",,") == 0)
            processors = group_quota("/sys/fs/cgroup", group, true);
        else if (strstr(listed, ",cpu,"))
            processors = group_quota("/sys/fs/cgroup/cpu", group, false);
        if (processors < least) least = processors;
    }
    return least;
}

/* How many processors this thread may use, by its affinity and its control groups. */
static int32_t usable_processors(void) {
    unsigned long mask[1024 / sizeof(long)];
    const long bytes = syscall(SYS_sched_getaffinity, 0, sizeof mask, mask);
    int64_t count = 0;
    for (long i = 0; i < bytes / (long)sizeof(long); i++)
        for (unsigned long bits = mask[i]; bits; bits &= bits - 1) count++;
    if (count < 1) count = sysconf(_SC_NPROCESSORS_ONLN);
    const int64_t quota = quota_processors();
    if (quota < count) count = quota;
    return count < 1 ? 1 : count > POOL_THREADS ? POOL_THREADS : (int32_t)count;
}

/* The most threads that take part in one region: INGOT_THREADS, else the processors that may be used. */
static int32_t pool_limit(ingot_pool *pool) {
    int32_t limit = atomic_load_explicit(&pool->limit, memory_order_acquire);
    if (limit) return limit;
    const int32_t processors = usable_processors();
    const char *wish = getenv("INGOT_THREADS");
    const long wished = wish ? strtol(wish, NULL, 10) : 0;
    limit = wished < 1 ? processors : wished > POOL_THREADS ? POOL_THREADS : (int32_t)wished;
    const int64_t spin = limit > processors ? SPIN_CROWDED_NS : SPIN_NS;
    atomic_store_explicit(&pool->spin_ns, spin, memory_order_relaxed);
    atomic_store_explicit(&pool->limit, limit, memory_order_release);
    return limit;
}

/* The process's pool, made if need be; NULL without memory for it. */
static ingot_pool *pool_get(void) {
    ingot_pool *pool = atomic_load_explicit(&ingot_shared_1.pool, memory_order_acquire);
    if (__builtin_expect(pool && (!pool->process || pool->process == getpid()), 1)) return pool;
    ingot_pool *made = mmap(NULL, sizeof *made, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (made == MAP_FAILED) return NULL;
    if (madvise(made, sizeof *made, MADV_WIPEONFORK)) made->process = getpid();
    if (atomic_compare_exchange_strong(&ingot_shared_1.pool, &pool, made)) return made;
    munmap(made, sizeof *made);
    return pool;
}

static bool worker_start(ingot_pool *pool, int32_t id) {
    ingot_worker *worker = &pool->worker[id];
    worker->id = id;
    worker->pool = pool;
    pthread_attr_t attributes;
    if (pthread_attr_init(&attributes)) return false;
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pthread_t thread;
    const bool started = pthread_attr_setstacksize(&attributes, WORKER_STACK) == 0 &&
                         pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED) == 0 &&
                         pthread_create(&thread, &attributes, ingot_shared_1.worker, worker) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
    return started;
}

/* Starts workers until `threads` threads can take part, or no more can be had. */
static void pool_grow(ingot_pool *pool, int32_t threads) {
    const int32_t limit = pool_limit(pool);
    const int32_t wanted = (threads < limit ? threads : limit) - 1;
    if (atomic_load_explicit(&pool->workers, memory_order_acquire) >= wanted) return;
    while (atomic_exchange_explicit(&pool->growing, 1, memory_order_acquire)) sched_yield();
    int32_t workers = atomic_load_explicit(&pool->workers, memory_order_relaxed);
    while (workers < wanted && !atomic_load_explicit(&pool->full, memory_order_relaxed)) {
        if (worker_start(pool, workers + 1))
            atomic_store_explicit(&pool->workers, ++workers, memory_order_release);
        else
            atomic_store_explicit(&pool->full, 1, memory_order_relaxed);
    }
    atomic_store_explicit(&pool->growing, 0, memory_order_release);
}

static void wait_for_workers(ingot_pool *pool) {
    const int64_t start = now_ns();
    do {
        for (int i = 0; i < 64; i++) {
            if (word_active(atomic_load_explicit(&pool->word, memory_order_acquire)) == 0) return;
            relax();
        }
        sched_yield();
    } while (now_ns() - start < atomic_load_explicit(&pool->spin_ns, memory_order_relaxed));
    uint64_t word = atomic_fetch_or_explicit(&pool->word, WORD_WAITING, memory_order_acq_rel);
    while (word_active(word)) {
        const uint32_t left = atomic_load_explicit(&pool->left, memory_order_acquire);
        word = atomic_load_explicit(&pool->word, memory_order_acquire);
        if (word_active(word)) futex_wait(&pool->left, left);
    }
}

/* False, with nothing done, where the pool is at work already or has no other thread. */
static bool fork_join(ingot_pool *pool, int32_t threads, ingot_region region, int64_t grain) {
    int32_t most = atomic_load_explicit(&pool->workers, memory_order_acquire) + 1;
    if (__builtin_expect(most < threads && !atomic_load_explicit(&pool->full, memory_order_relaxed), 0)) {
        pool_grow(pool, threads);
        most = atomic_load_explicit(&pool->workers, memory_order_acquire) + 1;
    }
    if (threads > most) threads = most;
    if (threads < 2 || atomic_load_explicit(&pool->owned, memory_order_relaxed) ||
        atomic_exchange_explicit(&pool->owned, 1, memory_order_acquire))
        return false;
    const int64_t range = (region.tasks + threads - 1) / threads;
    const int64_t step = (range + STEPS_PER_THREAD - 1) / STEPS_PER_THREAD;
    region.step = step < grain ? grain : step;
    region.float_mode = float_mode();
    pool->region = region;
    const uint64_t word = atomic_load_explicit(&pool->word, memory_order_relaxed);
    const uint64_t epoch = word_epoch(word + ((uint64_t)1 << EPOCH_SHIFT));
    atomic_store(&pool->word, epoch << EPOCH_SHIFT | (uint64_t)threads << THREADS_SHIFT | WORD_OPEN);
    wake(pool, 0, threads);
    work(pool, epoch, threads, 0);
    if (word_active(atomic_fetch_and_explicit(&pool->word, ~WORD_OPEN, memory_order_acq_rel))) wait_for_workers(pool);
    atomic_store_explicit(&pool->owned, 0, memory_order_release);
    return true;
}

/* How many threads so many tasks are worth. */
static int32_t worth(int32_t threads, int64_t tasks, int64_t grain) {
    const int64_t most = tasks / grain;
    return most < threads ? (int32_t)most : threads;
}

API void ingot_parallel(int32_t threads, ingot_kernel kernel, void *const *p, const int64_t *s, int64_t tasks,
                        int64_t grain) {
    if (tasks <= 0) return;
    if (grain < 1) grain = 1;
    threads = worth(threads, tasks, grain);
    ingot_pool *pool = threads > 1 ? pool_get() : NULL;
    const ingot_region region = {.kernel = kernel, .p = p, .s = s, .tasks = tasks};
    if (!pool || !fork_join(pool, threads, region, grain)) kernel(p, s, 0, tasks);
}

API void ingot_parallel_waves(int32_t threads, ingot_kernel kernel, void *const *p, const int64_t *s, int64_t tasks,
                              int64_t wave, int64_t grain) {
    if (grain < 1) grain = 1;
    threads = worth(threads, wave, grain);
    ingot_pool *pool = threads > 1 ? pool_get() : NULL;
    ingot_region region = {.kernel = kernel, .p = p, .s = s, .tasks = wave};
    for (; region.first < tasks; region.first += wave, region.backward = !region.backward) {
        if (pool && fork_join(pool, threads, region, grain)) continue;
        for (int64_t i = 0; i < wave; i++) {
            const int64_t task = region.first + (region.backward ? wave - 1 - i : i);
            kernel(p, s, task, task + 1);
        }
    }
}

API int32_t ingot_context_set_threads(ingot_context *context, int32_t threads) {
    int32_t status = context_enter(context);
    if (status != INGOT_OK) return status;
    ingot_pool *pool = threads == 1 ? NULL : pool_get();
    if (threads < 0) {
        status = fail(INGOT_E_ARGUMENT, "%d threads", threads);
    } else if (threads != 1 && !pool) {
        status = fail(INGOT_E_MEMORY, "no memory for the pool of threads");
    } else {
        const int32_t limit = pool ? pool_limit(pool) : 1;
        context->threads = threads == 0 || threads > limit ? limit : threads;
        context->trial = (ingot_trial){0};
        if (pool) pool_grow(pool, context->threads);
    }
    return context_leave(context, status);
}

/* The conversions of half floats that a compiler calls where the processor has none. */
#if defined(__x86_64__) && defined(__FLT16_MANT_DIG__) && !defined(__F16C__)
#define HALF __attribute__((weak, visibility("hidden")))

HALF float __extendhfsf2(_Float16 half) {
    uint16_t bits;
    memcpy(&bits, &half, sizeof bits);
    const uint32_t exponent = bits >> 10 & 31, fraction = bits & 1023;
    const float tiny = (float)fraction * 0x1p-24f;
    uint32_t wide = (exponent + (exponent == 31 ? 224 : 112)) << 23 | fraction << 13;
    if (!exponent) memcpy(&wide, &tiny, sizeof wide);
    wide |= (uint32_t)(bits >> 15) << 31;
    float result;
    memcpy(&result, &wide, sizeof result);
    return result;
}

HALF _Float16 __truncsfhf2(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    const uint32_t magnitude = bits & 0x7fffffff, sign = bits >> 31 << 15;
    const float past_half = 0.5f + (value < 0 ? -value : value);
    uint32_t half;
    if (magnitude > 0x7f800000) {
        half = 0x7e00;
    } else if (magnitude >= 0x477ff000) {
        half = 0x7c00;
    } else if (magnitude < 0x38800000) {
        memcpy(&half, &past_half, sizeof half);
        half -= 0x3f000000;
    } else {
        half = (magnitude + 0xfff + (magnitude >> 13 & 1) - (112u << 23)) >> 13;
    }
    const uint16_t all = (uint16_t)(half | sign);
    _Float16 result;
    memcpy(&result, &all, sizeof result);
    return result;
}
#endif
