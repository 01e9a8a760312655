/* Two models in one process: two WEIGHTS_OF_SCALE [LIBSCALE LIBSPREAD]. With TWO_LOADED the libraries are loaded, each
 * apart from the other; otherwise they are linked in. Both ways they use one pool. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "check.h"
#include "ingot.h"

#include <dlfcn.h>

typedef struct functions {
    int32_t (*open)(const char *, ingot_model **);
    int32_t (*close)(ingot_model *);
    int32_t (*create)(ingot_model *, const int64_t *, ingot_context **);
    int32_t (*destroy)(ingot_context *);
    int32_t (*set_threads)(ingot_context *, int32_t);
    int32_t (*bind)(ingot_context *, const int64_t *);
    int32_t (*run_fast)(ingot_context *, void *const *, void *const *);
    void *pool;
} functions;

#ifdef TWO_LOADED
static void *find(void *library, const char *name) {
    void *symbol = dlsym(library, name);
    CHECK(symbol);
    return symbol;
}

static functions load(const char *path, const char *name, void **library) {
    *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!*library) fprintf(stderr, "%s\n", dlerror());
    CHECK(*library);
    functions found;
    *(void **)&found.open = find(*library, name);
    *(void **)&found.close = find(*library, "ingot_close");
    *(void **)&found.create = find(*library, "ingot_context_create");
    *(void **)&found.destroy = find(*library, "ingot_context_destroy");
    *(void **)&found.set_threads = find(*library, "ingot_context_set_threads");
    *(void **)&found.bind = find(*library, "ingot_bind");
    *(void **)&found.run_fast = find(*library, "ingot_run_fast");
    found.pool = find(*library, "ingot_shared_1");
    return found;
}
#else
int32_t scale_open(const char *weights_path, ingot_model **model);
int32_t spread_open(const char *weights_path, ingot_model **model);
#endif

enum { LENGTH = 1000 };

static void run_both(const functions *scale, const functions *spread, const char *weights,
                     int threads) {
    ingot_model *models[2];
    ingot_context *contexts[2];
    const int64_t bound = LENGTH, rows[] = {2, 4}, length[] = {LENGTH};
    CHECK(scale->open(weights, &models[0]) == INGOT_OK && spread->open(NULL, &models[1]) == INGOT_OK);
    CHECK(scale->create(models[0], &bound, &contexts[0]) == INGOT_OK);
    CHECK(spread->create(models[1], &bound, &contexts[1]) == INGOT_OK);
    CHECK(scale->set_threads(contexts[0], 2) == INGOT_OK && spread->set_threads(contexts[1], 3) == INGOT_OK);
    CHECK(thread_count() == threads + 2 + SANITIZER_THREADS);
    static float x[LENGTH], y[LENGTH], z[8], total;
    int64_t steps = 1;
    void *scale_in[] = {x}, *scale_out[] = {z}, *spread_in[] = {x, &steps}, *spread_out[] = {y, &total};
    for (int i = 0; i < LENGTH; i++) x[i] = (float)i;
    CHECK(scale->bind(contexts[0], rows) == INGOT_OK && spread->bind(contexts[1], length) == INGOT_OK);
    for (int round = 0; round < 100; round++) {
        CHECK(scale->run_fast(contexts[0], scale_in, scale_out) == INGOT_OK);
        CHECK(spread->run_fast(contexts[1], spread_in, spread_out) == INGOT_OK);
        for (int i = 0; i < 8; i++) CHECK(z[i] == (float)(2 * i + i % 4 + 1));
        for (int i = 0; i < LENGTH; i++) CHECK(y[i] == (float)i * 0.75f + 1);
    }
    CHECK(thread_count() == threads + 2 + SANITIZER_THREADS);
    CHECK(scale->destroy(contexts[0]) == INGOT_OK && spread->destroy(contexts[1]) == INGOT_OK);
    CHECK(scale->close(models[0]) == INGOT_OK && spread->close(models[1]) == INGOT_OK);
}

int main(int count, char **words) {
    const int threads = thread_count();
#ifdef TWO_LOADED
    CHECK(count == 4);
    void *libraries[2];
    for (int round = 0; round < 3; round++) {
        const functions scale = load(words[2], "scale_open", &libraries[0]);
        const functions spread = load(words[3], "spread_open", &libraries[1]);
        CHECK(scale.pool == spread.pool);
        run_both(&scale, &spread, words[1], threads);
        CHECK(dlclose(libraries[0]) == 0 && dlclose(libraries[1]) == 0);
    }
#else
    CHECK(count == 2);
    functions both = {scale_open,        ingot_close, ingot_context_create, ingot_context_destroy,
                      ingot_context_set_threads, ingot_bind,  ingot_run_fast,       NULL};
    functions other = both;
    other.open = spread_open;
    run_both(&both, &other, words[1], threads);
#endif
    puts("well");
    return 0;
}
