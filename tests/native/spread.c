/* y[i] = x[i] taken `steps` times through v -> v * 0.75 + 1, in parallel; total = the sum of y.
 * x: float32 [n], steps: int64 [], y: float32 [n], total: float32 []. Negative steps are a value error, more than 1000 an
 * index error. Only open takes memory. */
#include "ingot_abi.h"

static const int64_t shape[] = {-1};
static const ingot_port inputs[] = {{"x", INGOT_FLOAT32, 1, shape}, {"steps", INGOT_INT64, 0, 0}};
static const ingot_port outputs[] = {{"y", INGOT_FLOAT32, 1, shape}, {"total", INGOT_FLOAT32, 0, 0}};
static const char *const symbols[] = {"n"};

static int64_t arena_bytes(const int64_t *s) {
    (void)s;
    return 0;
}

static void output_dims(const int64_t *s, int64_t *dims) { dims[0] = s[0]; }

static void kernel(void *const *p, const int64_t *s, int64_t begin, int64_t end) {
    const float *x = p[0];
    float *y = p[1];
    for (int64_t i = begin; i < end; i++) {
        float value = x[i];
        for (int64_t j = 0; j < s[0]; j++) value = value * 0.75f + 1;
        y[i] = value;
    }
}

static int32_t run(const ingot_frame *frame) {
    const int64_t steps = *(const int64_t *)frame->inputs[1];
    if (steps < 0) return INGOT_E_VALUE;
    if (steps > 1000) return INGOT_E_INDEX;
    void *p[] = {frame->inputs[0], frame->outputs[0]};
    float *total = frame->outputs[1];
    ingot_parallel(frame->threads, kernel, p, &steps, frame->symbols[0], 8);
    *total = 0;
    for (int64_t i = 0; i < frame->symbols[0]; i++) *total += ((const float *)frame->outputs[0])[i];
    return INGOT_OK;
}

const ingot_desc spread_desc = {
    .abi = INGOT_ABI,
    .name = "spread",
    .version = "1",
    .target = "generic",
    .input_count = 2,
    .output_count = 2,
    .symbol_count = 1,
    .inputs = inputs,
    .outputs = outputs,
    .symbol_names = symbols,
    .arena_bytes = arena_bytes,
    .output_dims = output_dims,
    .run = run,
};

INGOT_EXPORT int32_t spread_open(const char *weights_path, ingot_model **model) {
    return ingot_open(&spread_desc, weights_path, model);
}
