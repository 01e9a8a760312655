/* One identity for each element type: x<number>: [n, 2] -> y<number>: [n, 2], and a scalar float64 pi -> tau = 2 pi. */
#include "ingot_abi.h"

#include <string.h>

static const int64_t shape[] = {-1, 2};
#define PORTS(letter)                                                                                                  \
    {letter "1", 1, 2, shape}, {letter "2", 2, 2, shape}, {letter "3", 3, 2, shape}, {letter "4", 4, 2, shape},        \
        {letter "5", 5, 2, shape}, {letter "6", 6, 2, shape}, {letter "7", 7, 2, shape}, {letter "9", 9, 2, shape},    \
        {letter "10", 10, 2, shape}, {letter "11", 11, 2, shape}, {letter "12", 12, 2, shape},                         \
        {letter "13", 13, 2, shape}, {letter "14", 14, 2, shape}, {letter "15", 15, 2, shape},                         \
        {letter "16", 16, 2, shape}, {letter "19", 19, 2, shape},
static const ingot_port inputs[] = {PORTS("x"){"pi", INGOT_FLOAT64, 0, 0}};
static const ingot_port outputs[] = {PORTS("y"){"tau", INGOT_FLOAT64, 0, 0}};
static const char *const symbols[] = {"n"};
static const int bytes[] = {4, 1, 1, 2, 2, 4, 8, 1, 2, 8, 4, 8, 8, 16, 2, 1};
enum { COUNT = sizeof bytes / sizeof bytes[0] };

static int64_t arena_bytes(const int64_t *s) {
    (void)s;
    return 0;
}

static void output_dims(const int64_t *s, int64_t *dims) {
    for (int i = 0; i < COUNT; i++) {
        dims[2 * i] = s[0];
        dims[2 * i + 1] = 2;
    }
}

static int32_t run(const ingot_frame *frame) {
    for (int i = 0; i < COUNT; i++)
        memcpy(frame->outputs[i], frame->inputs[i], (size_t)(2 * frame->symbols[0] * bytes[i]));
    *(double *)frame->outputs[COUNT] = 2 * *(const double *)frame->inputs[COUNT];
    return INGOT_OK;
}

const ingot_desc kinds_desc = {
    .abi = INGOT_ABI,
    .name = "kinds",
    .version = "1",
    .target = "generic",
    .input_count = COUNT + 1,
    .output_count = COUNT + 1,
    .symbol_count = 1,
    .inputs = inputs,
    .outputs = outputs,
    .symbol_names = symbols,
    .arena_bytes = arena_bytes,
    .output_dims = output_dims,
    .run = run,
};

INGOT_EXPORT int32_t kinds_open(const char *weights_path, ingot_model **model) {
    return ingot_open(&kinds_desc, weights_path, model);
}
