@ABOUT@
#include "@name@.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DONE = 0, MODEL_FAILED = 1, BAD_USE = 2, SHOW_ALL = 64, SHOW_FIRST = 8 };

typedef struct options {
    const char *files[@NAME@_INPUT_COUNT + 1];
    int64_t sizes[@NAME@_SYMBOL_COUNT + 1];
    int32_t threads;
} options;

static void stop(int code, const char *what, const char *why) {
    fprintf(stderr, "example: %s: %s\n", what, why);
    exit(code);
}

static void check(int32_t status, const char *what) {
    if (status == INGOT_OK) return;
    fprintf(stderr, "example: %s: %s: %s\n", what, ingot_status_name(status), ingot_last_error());
    exit(MODEL_FAILED);
}

static int64_t parse_count(const char *text, const char *what) {
    char *end = NULL;
    const int64_t value = strtoll(text, &end, 10);
    if (end == text || *end || value < 0) stop(BAD_USE, what, "expected a whole number, 0 or more");
    return value;
}

static void parse_size(const ingot_model *model, const char *text, options *chosen) {
    const char *equals = strrchr(text, '=');
    if (!equals) stop(BAD_USE, text, "--dim takes NAME=VALUE");
    const size_t length = (size_t)(equals - text);
    for (int32_t i = 0; i < @NAME@_SYMBOL_COUNT; i++) {
        const char *name = ingot_symbol_name(model, i);
        if (strlen(name) == length && memcmp(name, text, length) == 0) {
            chosen->sizes[i] = parse_count(equals + 1, text);
            return;
        }
    }
    stop(BAD_USE, text, "the model has no size of that name");
}

static options parse(const ingot_model *model, int count, char **words) {
    options chosen = {.threads = 1};
    int32_t files = 0;
    for (int32_t i = 0; i < @NAME@_SYMBOL_COUNT; i++) chosen.sizes[i] = -1;
    for (int i = 1; i < count; i++) {
        const int is_size = strcmp(words[i], "--dim") == 0, is_threads = strcmp(words[i], "--threads") == 0;
        if ((is_size || is_threads) && i + 1 == count) stop(BAD_USE, words[i], "a value is missing");
        if (is_size)
            parse_size(model, words[++i], &chosen);
        else if (is_threads)
            chosen.threads = (int32_t)parse_count(words[++i], "--threads");
        else if (strncmp(words[i], "--", 2) == 0)
            stop(BAD_USE, words[i], "there are only --dim NAME=VALUE and --threads N");
        else if (files == @NAME@_INPUT_COUNT)
            stop(BAD_USE, words[i], "more files than the model has inputs");
        else
            chosen.files[files++] = words[i];
    }
    if (files && files < @NAME@_INPUT_COUNT) stop(BAD_USE, words[0], "give a file for every input, or none");
    return chosen;
}

static unsigned char *read_file(const char *path, size_t *bytes) {
    FILE *file = fopen(path, "rb");
    if (!file || fseek(file, 0, SEEK_END)) stop(BAD_USE, path, "cannot be read");
    const long length = ftell(file);
    unsigned char *content = length < 0 ? NULL : malloc((size_t)length + 1);
    if (!content) stop(BAD_USE, path, "no memory for it");
    rewind(file);
    if (fread(content, 1, (size_t)length, file) != (size_t)length) stop(BAD_USE, path, "cannot be read");
    fclose(file);
    content[length] = 0;
    *bytes = (size_t)length;
    return content;
}

static int32_t npy_dtype(const char *text) {
    static const struct {
        const char *code;
        int32_t dtype;
    } known[] = {
        {"<f4", INGOT_FLOAT32}, {"<f8", INGOT_FLOAT64}, {"<f2", INGOT_FLOAT16}, {"|b1", INGOT_BOOL},
        {"|u1", INGOT_UINT8},   {"<u2", INGOT_UINT16},  {"<u4", INGOT_UINT32},  {"<u8", INGOT_UINT64},
        {"|i1", INGOT_INT8},    {"<i2", INGOT_INT16},   {"<i4", INGOT_INT32},   {"<i8", INGOT_INT64},
        {"<c8", INGOT_COMPLEX64}, {"<c16", INGOT_COMPLEX128},
    };
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (strncmp(text, known[i].code, strlen(known[i].code)) == 0) return known[i].dtype;
    return 0;
}

/* Finds the value of `key` in the header of an .npy file. */
static const char *npy_value(const char *path, const char *header, const char *key) {
    const char *value = strstr(header, key);
    value = value ? strchr(value, ':') : NULL;
    if (!value) stop(BAD_USE, path, "its .npy header is damaged");
    for (value++; *value == ' ' || *value == '\''; value++) {}
    return value;
}

/* Reads the header of an .npy file into `tensor`; returns where its data starts. */
static size_t read_npy(const char *path, const unsigned char *content, size_t bytes, ingot_tensor *tensor) {
    const size_t lead = bytes > 6 && content[6] >= 2 ? 12 : 10;
    if (bytes < lead) stop(BAD_USE, path, "its .npy header is cut short");
    size_t length = content[8] | (size_t)content[9] << 8;
    if (lead == 12) length |= (size_t)content[10] << 16 | (size_t)content[11] << 24;
    if (length > bytes - lead) stop(BAD_USE, path, "its .npy header is cut short");
    char *header = calloc(length + 1, 1);
    if (!header) stop(BAD_USE, path, "no memory for it");
    memcpy(header, content + lead, length);
    if (strncmp(npy_value(path, header, "'fortran_order'"), "False", 5) != 0)
        stop(BAD_USE, path, "its array is column-major: save it with numpy.ascontiguousarray");
    tensor->dtype = npy_dtype(npy_value(path, header, "'descr'"));
    const char *next = npy_value(path, header, "'shape'");
    for (tensor->rank = 0; *next && *next != ')';) {
        char *end = NULL;
        if (*next >= '0' && *next <= '9') {
            if (tensor->rank == INGOT_MAX_RANK) stop(BAD_USE, path, "its array has too many dimensions");
            tensor->dims[tensor->rank++] = strtoll(next, &end, 10);
            next = end;
        } else {
            next++;
        }
    }
    free(header);
    return lead + length;
}

/* Reads one input file; a raw one gets its shape later, when every size is known. */
static void load(const char *path, const ingot_tensor_info *info, int64_t *sizes, ingot_tensor *tensor) {
    if (info->dtype == INGOT_STRING) stop(BAD_USE, path, "strings are not read from files here");
    size_t bytes = 0;
    unsigned char *content = read_file(path, &bytes);
    const int is_npy = bytes >= 6 && memcmp(content, "\x93NUMPY", 6) == 0;
    const size_t start = is_npy ? read_npy(path, content, bytes, tensor) : 0;
    tensor->bytes = bytes - start;
    memmove(content, content + start, bytes - start);
    tensor->data = content;
    if (!is_npy) return;
    if (tensor->dtype != info->dtype) stop(BAD_USE, path, "its elements have another type than the model's input");
    if (tensor->rank != info->rank) stop(BAD_USE, path, "its array has another number of dimensions than the input");
    for (int32_t i = 0; i < info->rank; i++)
        if (info->dims[i] < 0 && sizes[-1 - info->dims[i]] < 0) sizes[-1 - info->dims[i]] = tensor->dims[i];
}

static size_t element_bits(int32_t dtype) {
    switch (dtype) {
    case INGOT_STRING:
    case INGOT_COMPLEX128: return 128;
    case INGOT_INT64:
    case INGOT_UINT64:
    case INGOT_FLOAT64:
    case INGOT_COMPLEX64: return 64;
    case INGOT_FLOAT32:
    case INGOT_INT32:
    case INGOT_UINT32: return 32;
    case INGOT_FLOAT16:
    case INGOT_BFLOAT16:
    case INGOT_INT16:
    case INGOT_UINT16: return 16;
    default: return 8;
    }
}

static uint64_t elements(const int64_t *dims, int32_t rank) {
    uint64_t count = 1;
    for (int32_t i = 0; i < rank; i++) count *= (uint64_t)dims[i];
    return count;
}

static void *zeros(uint64_t bytes) {
    void *memory = calloc(bytes ? bytes : 1, 1);
    if (!memory) stop(MODEL_FAILED, "an array", "no memory for it");
    return memory;
}

static double half(uint16_t bits) {
    const int exponent = bits >> 10 & 31;
    double value = exponent ? 1024 + (bits & 1023) : bits & 1023;
    for (int i = exponent ? exponent : 1; i < 25; i++) value /= 2;
    for (int i = 25; i < exponent; i++) value *= 2;
    if (exponent == 31) {
        const uint32_t wide = 0x7f800000u | (uint32_t)(bits & 1023) << 13;
        float special;
        memcpy(&special, &wide, sizeof special);
        value = special;
    }
    return bits >> 15 ? -value : value;
}

static double brain(uint16_t bits) {
    const uint32_t wide = (uint32_t)bits << 16;
    float value;
    memcpy(&value, &wide, sizeof value);
    return value;
}

static void print_element(const void *data, int32_t dtype, uint64_t i) {
    switch (dtype) {
    case INGOT_FLOAT32: printf("%.9g\n", (double)((const float *)data)[i]); break;
    case INGOT_FLOAT64: printf("%.17g\n", ((const double *)data)[i]); break;
    case INGOT_FLOAT16: printf("%.9g\n", half(((const uint16_t *)data)[i])); break;
    case INGOT_BFLOAT16: printf("%.9g\n", brain(((const uint16_t *)data)[i])); break;
    case INGOT_COMPLEX64:
        printf("%.9g%+.9gi\n", (double)((const float *)data)[2 * i], (double)((const float *)data)[2 * i + 1]);
        break;
    case INGOT_COMPLEX128:
        printf("%.17g%+.17gi\n", ((const double *)data)[2 * i], ((const double *)data)[2 * i + 1]);
        break;
    case INGOT_STRING:
        fwrite(((const ingot_string *)data)[i].data, 1, ((const ingot_string *)data)[i].bytes, stdout);
        printf("\n");
        break;
    case INGOT_INT8: printf("%d\n", ((const int8_t *)data)[i]); break;
    case INGOT_INT16: printf("%d\n", ((const int16_t *)data)[i]); break;
    case INGOT_INT32: printf("%" PRId32 "\n", ((const int32_t *)data)[i]); break;
    case INGOT_INT64: printf("%" PRId64 "\n", ((const int64_t *)data)[i]); break;
    case INGOT_UINT16: printf("%u\n", ((const uint16_t *)data)[i]); break;
    case INGOT_UINT32: printf("%" PRIu32 "\n", ((const uint32_t *)data)[i]); break;
    case INGOT_UINT64: printf("%" PRIu64 "\n", ((const uint64_t *)data)[i]); break;
    case INGOT_UINT4: printf("%u\n", ((const uint8_t *)data)[i] & 15u); break;
    case INGOT_UINT2: printf("%u\n", ((const uint8_t *)data)[i] & 3u); break;
    case INGOT_INT4: printf("%d\n", ((((const uint8_t *)data)[i] & 15) ^ 8) - 8); break;
    case INGOT_INT2: printf("%d\n", ((((const uint8_t *)data)[i] & 3) ^ 2) - 2); break;
    case INGOT_BOOL:
    case INGOT_UINT8: printf("%u\n", ((const uint8_t *)data)[i]); break;
    default: printf("0x%02x\n", ((const uint8_t *)data)[i]);
    }
}

static void print_tensor(const char *name, const ingot_tensor *tensor) {
    printf("%s [", name);
    for (int32_t i = 0; i < tensor->rank; i++) printf(i ? ", %" PRId64 : "%" PRId64, tensor->dims[i]);
    printf("]\n");
    const uint64_t count = elements(tensor->dims, tensor->rank);
    const uint64_t shown = count <= SHOW_ALL ? count : SHOW_FIRST;
    for (uint64_t i = 0; i < shown; i++) print_element(tensor->data, tensor->dtype, i);
    if (shown < count) printf("... %" PRIu64 " values\n", count);
}

int main(int count, char **words) {
    ingot_model *model = NULL;
    check(@name@_open(NULL, &model), "open");
    options chosen = parse(model, count, words);
    ingot_tensor inputs[@NAME@_INPUT_COUNT + 1] = {{0}}, outputs[@NAME@_OUTPUT_COUNT + 1] = {{0}};
    ingot_tensor_info info = {.struct_size = sizeof info};
    for (int32_t i = 0; i < @NAME@_INPUT_COUNT; i++) {
        check(ingot_input_info(model, i, &info), "input");
        if (chosen.files[i]) load(chosen.files[i], &info, chosen.sizes, &inputs[i]);
    }
    for (int32_t i = 0; i < @NAME@_SYMBOL_COUNT; i++)
        if (chosen.sizes[i] < 0) chosen.sizes[i] = 1;

    int64_t dims[(@NAME@_INPUT_COUNT + 1) * INGOT_MAX_RANK];
    int32_t used = 0;
    for (int32_t i = 0; i < @NAME@_INPUT_COUNT; i++) {
        check(ingot_input_info(model, i, &info), "input");
        ingot_tensor *tensor = &inputs[i];
        const int is_npy = tensor->dtype != 0;
        for (int32_t j = 0; j < info.rank; j++) {
            const int64_t size = info.dims[j] < 0 ? chosen.sizes[-1 - info.dims[j]] : info.dims[j];
            if (!is_npy) tensor->dims[j] = size;
            dims[used++] = tensor->dims[j];
        }
        tensor->struct_size = sizeof *tensor;
        tensor->dtype = info.dtype;
        tensor->rank = info.rank;
        const uint64_t bytes = (elements(tensor->dims, tensor->rank) * element_bits(info.dtype) + 7) / 8;
        if (chosen.files[i] && tensor->bytes != bytes) {
            fprintf(stderr, "example: %s: %" PRIu64 " bytes of data, input %s takes %" PRIu64 "%s\n", chosen.files[i],
                    tensor->bytes, info.name, bytes, @NAME@_SYMBOL_COUNT ? " (give its sizes with --dim)" : "");
            return BAD_USE;
        }
        if (!chosen.files[i]) tensor->data = zeros(bytes);
        tensor->bytes = bytes;
    }

    ingot_context *context = NULL;
    check(ingot_context_create(model, chosen.sizes, &context), "context");
    check(ingot_context_set_threads(context, chosen.threads), "threads");
    check(ingot_bind(context, dims), "shapes");
    for (int32_t i = 0; i < @NAME@_OUTPUT_COUNT; i++) {
        check(ingot_bound_output_info(context, i, &info), "output");
        outputs[i].struct_size = sizeof outputs[i];
        outputs[i].bytes = (elements(info.dims, info.rank) * element_bits(info.dtype) + 7) / 8;
        outputs[i].data = zeros(outputs[i].bytes);
    }
    check(ingot_run(context, inputs, outputs), "run");
    for (int32_t i = 0; i < @NAME@_OUTPUT_COUNT; i++) {
        check(ingot_output_info(model, i, &info), "output");
        print_tensor(info.name, &outputs[i]);
    }

    check(ingot_context_destroy(context), "context");
    check(ingot_close(model), "close");
    for (int32_t i = 0; i < @NAME@_INPUT_COUNT; i++) free(inputs[i].data);
    for (int32_t i = 0; i < @NAME@_OUTPUT_COUNT; i++) free(outputs[i].data);
    return DONE;
}
