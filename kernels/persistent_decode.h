#pragma once
#include "kernels/advance.h"
#include "kernels/argmax.h"
#include "kernels/attention_decode.h"
#include "kernels/embedding.h"
#include "kernels/gate_up.h"
#include "kernels/gemv.h"
#include "kernels/gemv_add.h"
#include "kernels/norm_gemv.h"
#include "kernels/qkv.h"
#include "kernels/rms_norm.h"
#include "kernels/swiglu.h"

/// Ops that have a form in which the blocks of a resident grid share their units, and by which of its ways.
enum class ResidentKind {
  embedding,
  rms_norm,
  qkv,
  attention_split_1,  // by heads of a unit
  attention_split_2,
  attention_split_3,
  attention_split_4,
  gemv,
  gemv_add_shared,
  gemv_add_global,
  gate_up,
  norm_gemv,
  swiglu,
  argmax_parts,
  argmax_join,
  advance,
};

/// One op of a step. Its units have the bits that its own kernel gives.
struct alignas(16) ResidentOp {
  ResidentKind kind;
  Format format;  // of its weights, where it has some
  int waits;      // 1: behind all that ops before it did in any block; 0: in its own
  union Params {
    EmbeddingParams embedding;
    RmsNormParams rms_norm;
    QkvParams qkv;
    AttentionDecodeParams attention_decode;
    GemvParams gemv;
    GemvAddParams gemv_add;
    GateUpParams gate_up;
    NormGemvParams norm_gemv;
    SwigluParams swiglu;
    ArgmaxParams argmax;
    AdvanceParams advance;
  } params;
};

/// A step as one launch of a resident grid: the ops of a program in device memory, one after the other, each by all
/// blocks.
struct PersistentDecodeParams {
  const ResidentOp* program;  // (n_ops)
  unsigned*
      barrier;  // two words of device memory: arrivals, which are `start` before and after, and blocks that have
                // ended, 0 before and after
  unsigned* stood;  // of memory that the host can read: 0; else 1 + the op at which a block gave up to wait
  int n_ops;
  unsigned start;
  unsigned looks;  // of a block that waits, before it gives up
};

/// Each look is a round trip to L2: a quarter of a microsecond at least, so 15 s and more. No honest op takes a hundredth
/// of that; a GPU that another process holds does not look meanwhile.
constexpr unsigned kPersistentLooks = 1u << 26;

constexpr int kPersistentBlock = 256;
/// Shared memory of its own, a block; beside it is the dynamic, for the rows that products take, and of that what argmax
/// needs, and attention for each head of a unit.
constexpr unsigned kPersistentOwnBytes = 1024;
constexpr unsigned kPersistentArgmaxBytes = 256;
constexpr unsigned kPersistentAttentionBytes = 9216;
