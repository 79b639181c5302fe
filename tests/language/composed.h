#pragma once
#include "kernels/attention_decode.h"
#include "kernels/rms_norm.h"
#include "kernels/swiglu.h"

/// Three ops, each with the output of those before it: attention's queries are the norm's rows.
struct ComposedParams {
  RmsNormParams norm;
  AttentionDecodeParams attention;
  SwigluParams swiglu;
  unsigned* barrier;  // two zeroed words
};
