/* y = 2 x + w with x: float32 [n, 4], w: float32 [4] from the weights {1, 2, 3, 4}. */
#include "ingot_abi.h"

static const int64_t shape[] = {-1, 4};
static const ingot_port inputs[] = {{"x", INGOT_FLOAT32, 2, shape}};
static const ingot_port outputs[] = {{"y", INGOT_FLOAT32, 2, shape}};
static const char *const symbols[] = {"n"};

static int64_t arena_bytes(const int64_t *s) {
    int64_t bytes;
    return __builtin_mul_overflow(s[0], 16, &bytes) ? -1 : bytes;
}

static void output_dims(const int64_t *s, int64_t *dims) {
    dims[0] = s[0];
    dims[1] = 4;
}

static int32_t run(const ingot_frame *frame) {
    const float *x = frame->inputs[0], *w = (const float *)(const void *)frame->weights;
    float *y = frame->outputs[0], *twice = (float *)(void *)frame->arena;
    for (int64_t i = 0; i < 4 * frame->symbols[0]; i++) twice[i] = 2 * x[i];
    for (int64_t i = 0; i < 4 * frame->symbols[0]; i++) y[i] = twice[i] + w[i % 4];
    return INGOT_OK;
}

const ingot_desc scale_desc = {
    .abi = INGOT_ABI,
    .name = "scale",
    .version = "1",
    .target = "generic",
    .input_count = 1,
    .output_count = 1,
    .symbol_count = 1,
    .inputs = inputs,
    .outputs = outputs,
    .symbol_names = symbols,
    .weights_bytes = 16,
    .weights_digest = {SCALE_DIGEST},
    .arena_bytes = arena_bytes,
    .output_dims = output_dims,
    .run = run,
};

INGOT_EXPORT int32_t scale_open(const char *weights_path, ingot_model **model) {
    return ingot_open(&scale_desc, weights_path, model);
}
