/* The public C interface of every library that ingot builds. C11 and C++17, no dependency but libc.
 *
 * A model is immutable and may be shared by any number of threads. A context holds what one inference needs (its
 * working memory and its shapes); contexts of one model run at the same time on different threads, and a context
 * that is already running answers INGOT_E_BUSY to a second thread.
 *
 * Every call that can fail returns INGOT_OK (0) or one of the negative codes below, whose numbers never change;
 * ingot_last_error() then tells the story. Nothing is allocated by ingot_bind, ingot_run and ingot_run_fast.
 * Arrays are dense and row-major, in the byte order of the machine. */
#ifndef INGOT_H
#define INGOT_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* major * 10000 + minor * 100 + patch of the ingot that wrote this header */
#define INGOT_VERSION 100
#define INGOT_MAX_RANK 8

/* ingot_tensor_info.dims of an output: a size computed from several symbols, known once shapes are bound */
#define INGOT_DIM_COMPUTED INT64_MIN

typedef enum ingot_status {
    INGOT_OK = 0,
    INGOT_E_ARGUMENT = -1,  /* a null or misaligned pointer, an index out of range, a wrong struct_size */
    INGOT_E_MEMORY = -2,    /* the allocator had no memory, or the caller's memory is too small */
    INGOT_E_FILE = -3,      /* the weights file cannot be opened or mapped */
    INGOT_E_WEIGHTS = -4,   /* the weights file is damaged or belongs to another model */
    INGOT_E_ABI = -5,       /* the model was built for another version of the runtime */
    INGOT_E_TARGET = -6,    /* this processor lacks instructions that the model was built for */
    INGOT_E_DTYPE = -7,     /* a tensor has the wrong element type */
    INGOT_E_RANK = -8,      /* a tensor has the wrong number of dimensions */
    INGOT_E_SHAPE = -9,     /* a dimension differs from the model's, or one symbol has two sizes */
    INGOT_E_CAPACITY = -10, /* a size exceeds the context's bound, or an output's buffer is too small */
    INGOT_E_BUSY = -11,     /* the context is running on another thread, or the model still has contexts */
    INGOT_E_UNBOUND = -12,  /* no shapes yet: call ingot_bind or ingot_run first */
    INGOT_E_OVERFLOW = -13, /* sizes whose bytes do not fit 63 bits */
    INGOT_E_INDEX = -14,    /* a value used as an index is out of range, found while running */
    INGOT_E_VALUE = -15     /* a value makes an operation undefined, found while running */
} ingot_status;

/* Element types, with the numbers of ONNX. An element of four or two bits is the low bits of a byte of its own. */
typedef enum ingot_dtype {
    INGOT_FLOAT32 = 1,
    INGOT_UINT8 = 2,
    INGOT_INT8 = 3,
    INGOT_UINT16 = 4,
    INGOT_INT16 = 5,
    INGOT_INT32 = 6,
    INGOT_INT64 = 7,
    INGOT_STRING = 8, /* elements are ingot_string */
    INGOT_BOOL = 9,
    INGOT_FLOAT16 = 10,
    INGOT_FLOAT64 = 11,
    INGOT_UINT32 = 12,
    INGOT_UINT64 = 13,
    INGOT_COMPLEX64 = 14,
    INGOT_COMPLEX128 = 15,
    INGOT_BFLOAT16 = 16,
    INGOT_FLOAT8E4M3FN = 17,
    INGOT_FLOAT8E4M3FNUZ = 18,
    INGOT_FLOAT8E5M2 = 19,
    INGOT_FLOAT8E5M2FNUZ = 20,
    INGOT_UINT4 = 21,
    INGOT_INT4 = 22,
    INGOT_FLOAT4E2M1 = 23,
    INGOT_FLOAT8E8M0 = 24,
    INGOT_UINT2 = 25,
    INGOT_INT2 = 26
} ingot_dtype;

/* An element of a tensor of strings: UTF-8, with no end mark and none needed. data may be NULL where bytes is 0. What the
 * strings of an input point to must stay as it is until the run is over, and for as long as strings of an output are
 * used, as these may be parts of it; otherwise they point into the model or the context, and hold until its next run. */
typedef struct ingot_string {
    const char *data;
    uint64_t bytes;
} ingot_string;

typedef struct ingot_desc ingot_desc;
typedef struct ingot_model ingot_model;
typedef struct ingot_context ingot_context;

/* One input or output of a model. Set struct_size to sizeof(ingot_tensor_info) before the call that fills it.
 * dims[i] >= 0: a fixed size; -1 - k: the size of symbol k; INGOT_DIM_COMPUTED. */
typedef struct ingot_tensor_info {
    uint32_t struct_size;
    int32_t dtype;
    int32_t rank;
    int32_t reserved;
    const char *name;
    int64_t dims[INGOT_MAX_RANK];
} ingot_tensor_info;

/* One array of the caller. Set struct_size to sizeof(ingot_tensor). Of an input, everything is read. Of an output,
 * data and bytes (the room there) are read; dtype, rank and dims are filled. data is aligned to its element and
 * may be NULL where the array is empty. Inputs and outputs must not overlap. */
typedef struct ingot_tensor {
    uint32_t struct_size;
    int32_t dtype;
    int32_t rank;
    int32_t reserved;
    void *data;
    uint64_t bytes;
    int64_t dims[INGOT_MAX_RANK];
} ingot_tensor;

/* alloc returns memory of at least `bytes` aligned to `alignment` (a power of two), or NULL; release gets what alloc
 * returned and the same number of bytes. */
typedef void *(*ingot_alloc_function)(size_t bytes, size_t alignment);
typedef void (*ingot_free_function)(void *memory, size_t bytes);

/* INGOT_VERSION of the runtime that answers. */
uint32_t ingot_version(void);

/* "INGOT_E_SHAPE" for INGOT_E_SHAPE; "unknown" for a number that is no status. Never NULL. */
const char *ingot_status_name(int32_t status);

/* What the last failing call on this thread had to say; "" before the first failure. Valid until the next failure on
 * this thread. */
const char *ingot_last_error(void);

/* The allocator of the models and contexts made from now on; each is freed with the functions it was allocated with.
 * Both NULL: back to the default one. Call it while no other thread opens models or makes contexts. */
int32_t ingot_set_allocator(ingot_alloc_function alloc, ingot_free_function release);

/* Opens a model. Use the <name>_open of the model's own header, which supplies `desc`. weights_path NULL: the
 * weights inside the library if they are embedded, else the file <name>.weights beside the library or program. The
 * file is mapped, not read, so that all processes share it: replace it by renaming, never by writing into it. */
int32_t ingot_open(const ingot_desc *desc, const char *weights_path, ingot_model **model);

/* INGOT_E_BUSY while contexts of the model live. NULL is fine. */
int32_t ingot_close(ingot_model *model);

int32_t ingot_input_count(const ingot_model *model);
int32_t ingot_output_count(const ingot_model *model);
int32_t ingot_input_info(const ingot_model *model, int32_t index, ingot_tensor_info *info);
int32_t ingot_output_info(const ingot_model *model, int32_t index, ingot_tensor_info *info);

/* The symbols are the names of the sizes that may differ from run to run; name is NULL for an index out of range. */
int32_t ingot_symbol_count(const ingot_model *model);
const char *ingot_symbol_name(const ingot_model *model, int32_t index);

/* The memory that a context takes when symbol k never exceeds symbol_bounds[k]. Here and below, symbol_bounds may
 * be NULL for a model without symbols. */
int32_t ingot_context_size(const ingot_model *model, const int64_t *symbol_bounds, size_t *bytes);

/* Makes a context inside the caller's memory (aligned to 64), allocating nothing. The memory stays the caller's and
 * must outlive ingot_context_destroy. */
int32_t ingot_context_init(ingot_model *model, void *memory, size_t bytes, const int64_t *symbol_bounds,
                           ingot_context **context);

int32_t ingot_context_create(ingot_model *model, const int64_t *symbol_bounds, ingot_context **context);

/* For contexts of either kind. INGOT_E_BUSY while the context runs. NULL is fine. */
int32_t ingot_context_destroy(ingot_context *context);

/* How many threads a run may use: 1 at first; 0 means all that the process may use. The threads are those of one
 * pool that the whole process shares; its threads start here, not in a run. A context times a few of its runs and uses
 * fewer where that is faster. The results never depend on it. */
int32_t ingot_context_set_threads(ingot_context *context, int32_t threads);

/* Fixes the shapes of the next runs. dims: the dimensions of all inputs, one input after another. */
int32_t ingot_bind(ingot_context *context, const int64_t *dims);

/* Like ingot_output_info with the sizes of the last bind or run. Sizes that depend on the data are, after a bind,
 * upper bounds. */
int32_t ingot_bound_output_info(ingot_context *context, int32_t index, ingot_tensor_info *info);

/* Checks and binds the inputs, checks the outputs' room and fills their shapes, runs. On INGOT_E_CAPACITY for an
 * output the shapes of all outputs are filled. */
int32_t ingot_run(ingot_context *context, const ingot_tensor *inputs, ingot_tensor *outputs);

/* A run that ends with INGOT_E_INDEX or INGOT_E_VALUE may have written part of the outputs. */

/* Runs with the shapes of the last successful ingot_bind or ingot_run and checks nothing else: each pointer must have
 * the room that these shapes need. */
int32_t ingot_run_fast(ingot_context *context, void *const *inputs, void *const *outputs);

#ifdef __cplusplus
}
#endif
#endif
