/* What generated code and the runtime know of each other. No part of the public interface. */
#ifndef INGOT_ABI_H
#define INGOT_ABI_H

#include "ingot.h"

#ifdef __cplusplus
extern "C" {
#endif

#define INGOT_ABI 1

/* Before the definition of what a library shows to its users. */
#define INGOT_EXPORT __attribute__((visibility("default")))

/* Bytes before the data of a weights file: "INGOTW01", u64 little-endian data bytes, SHA-256 of the data, zeros. */
#define INGOT_WEIGHTS_HEADER 4096
#define INGOT_WEIGHTS_MAGIC "INGOTW01"

/* p: buffers; s: scalars; tasks [begin, end). */
typedef void (*ingot_kernel)(void *const *p, const int64_t *s, int64_t begin, int64_t end);

/* dtype: an ingot_dtype. dims[i] >= 0: a literal; -1 - k: symbol k; of outputs also INGOT_DIM_COMPUTED. */
typedef struct ingot_port {
    const char *name;
    int32_t dtype;
    int32_t rank;
    const int64_t *dims;
} ingot_port;

/* One run. arena and weights are aligned to 64 at least; symbols belong to the context and may be written. */
typedef struct ingot_frame {
    unsigned char *arena;
    const unsigned char *weights;
    void *const *inputs;
    void *const *outputs;
    int64_t *symbols;
    int32_t threads;
} ingot_frame;

/* What arena_bytes gives for symbols that would make a tensor inside the model of negative size. */
#define INGOT_ARENA_NEGATIVE (-2)

/* arena_bytes: -1 on overflow; otherwise it must not shrink when a symbol grows.
 * output_dims: the dimensions of all outputs, one output after another.
 * run: INGOT_OK or a negative ingot_status.
 * bound_symbols: NULL when every symbol is a dimension of some input. Otherwise it fills the upper bound of each
 * symbol that is not (a size known only while running) from those that are; run then writes the sizes reached into
 * frame->symbols, and output_dims is asked again. Outputs have room for the bound. */
struct ingot_desc {
    uint32_t abi;
    const char *name, *version, *target;
    int32_t input_count, output_count, symbol_count;
    const ingot_port *inputs, *outputs;
    const char *const *symbol_names;
    uint64_t weights_bytes;
    unsigned char weights_digest[32];
    const unsigned char *embedded_weights;
    int64_t (*arena_bytes)(const int64_t *symbols);
    void (*output_dims)(const int64_t *symbols, int64_t *dims);
    int32_t (*run)(const ingot_frame *frame);
    void (*bound_symbols)(int64_t *symbols);
};

/* For run: gives back `status`, after `reason`, a string literal, is kept for the message of the call that runs. */
int32_t ingot_stop(int32_t status, const char *reason);

/* Calls kernel(p, s, begin, end) on disjoint ranges that cover [0, tasks), on up to `threads` threads of the process's
 * pool, the caller among them; a range has at least `grain` tasks, but for a remainder. threads == 1, tasks <= grain
 * or a pool at work for another context: kernel(p, s, 0, tasks) on the caller. Returns when all tasks are done. */
void ingot_parallel(int32_t threads, ingot_kernel kernel, void *const *p, const int64_t *s, int64_t tasks,
                    int64_t grain);

/* The same in waves of `wave` tasks, a divisor of `tasks`: each starts when the one before it is done. Every second wave
 * runs backward, as what the one before used last is still in the cache. */
void ingot_parallel_waves(int32_t threads, ingot_kernel kernel, void *const *p, const int64_t *s, int64_t tasks,
                          int64_t wave, int64_t grain);

#ifdef __cplusplus
}
#endif
#endif
