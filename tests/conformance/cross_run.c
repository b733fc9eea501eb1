/* Runs generated kernels, one after another, where there is no TVM: the tensors and the calls are
 * tables in program.h. All tensors' values come on the standard input; those of every call's last
 * tensor go out. */

#include <stdio.h>
#include <stdlib.h>
#include <tvm/ffi/c_api.h>
#include <tvm/runtime/c_backend_api.h>

#include "program.h"

enum { THREADS = 2, ALIGNMENT = 64 };

static void *aligned(uint64_t bytes) {
  return aligned_alloc(ALIGNMENT, (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT);
}

static void *allocate(int device, int number, uint64_t bytes, int code, int bits) {
  return aligned(bytes);
}

static int release(int device, int number, void *workspace) {
  free(workspace);
  return 0;
}

/* The tasks of a parallel loop, one after another. */
static int launch(FTVMParallelLambda task, void *closure, int tasks) {
  TVMParallelGroupEnv group = {.num_task = tasks ? tasks : THREADS};
  for (int i = 0; i < group.num_task; ++i)
    if (task(i, &group, closure) != 0) return -1;
  return 0;
}

/* What generated code finds the runtime by. */
void *(*__TVMBackendAllocWorkspace)(int, int, uint64_t, int, int) = allocate;
int (*__TVMBackendFreeWorkspace)(int, int, void *) = release;
int (*__TVMBackendParallelLaunch)(FTVMParallelLambda, void *, int) = launch;

static size_t bytes(const DLTensor *tensor) {
  size_t number = tensor->dtype.bits / 8;
  for (int axis = 0; axis < tensor->ndim; ++axis) number *= tensor->shape[axis];
  return number;
}

int main(void) {
  for (size_t i = 0; i < sizeof tensors / sizeof *tensors; ++i) {
    const size_t size = bytes(&tensors[i]);
    tensors[i].data = aligned(size);
    if (fread(tensors[i].data, 1, size, stdin) != size) return 2;
  }
  for (size_t i = 0; i < sizeof calls / sizeof *calls; ++i) {
    TVMFFIAny arguments[MOST] = {0}, result = {0};
    for (int j = 0; j < calls[i].count; ++j) {
      arguments[j].type_index = kTVMFFIDLTensorPtr;
      arguments[j].v_ptr = &tensors[calls[i].tensors[j]];
    }
    if (calls[i].kernel(NULL, arguments, calls[i].count, &result) != 0) return 3;
  }
  for (size_t i = 0; i < sizeof calls / sizeof *calls; ++i) {
    const DLTensor *output = &tensors[calls[i].tensors[calls[i].count - 1]];
    fwrite(output->data, 1, bytes(output), stdout);
  }
  return 0;
}
