/* kept: float32 [m] = the positive elements of x: float32 [n], m known only while running. */
#include "ingot_abi.h"

static const int64_t input_shape[] = {-1}, output_shape[] = {-2};
static const ingot_port inputs[] = {{"x", INGOT_FLOAT32, 1, input_shape}};
static const ingot_port outputs[] = {{"kept", INGOT_FLOAT32, 1, output_shape}};
static const char *const symbols[] = {"n", "m"};

static int64_t arena_bytes(const int64_t *s) {
    (void)s;
    return 0;
}

static void output_dims(const int64_t *s, int64_t *dims) { dims[0] = s[1]; }

static void bound_symbols(int64_t *s) { s[1] = s[0]; }

static int32_t run(const ingot_frame *frame) {
    const float *x = frame->inputs[0];
    float *kept = frame->outputs[0];
    int64_t m = 0;
    for (int64_t i = 0; i < frame->symbols[0]; i++)
        if (x[i] > 0) kept[m++] = x[i];
    frame->symbols[1] = m;
    return INGOT_OK;
}

const ingot_desc keep_desc = {
    .abi = INGOT_ABI,
    .name = "keep",
    .version = "1",
    .target = "generic",
    .input_count = 1,
    .output_count = 1,
    .symbol_count = 2,
    .inputs = inputs,
    .outputs = outputs,
    .symbol_names = symbols,
    .arena_bytes = arena_bytes,
    .output_dims = output_dims,
    .run = run,
    .bound_symbols = bound_symbols,
};

INGOT_EXPORT int32_t keep_open(const char *weights_path, ingot_model **model) {
    return ingot_open(&keep_desc, weights_path, model);
}
