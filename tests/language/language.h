#pragma once
#include "kernels/types.h"

/// What the kernels of language.cu take; each says what it makes of it.
struct LanguageParams {
  const unsigned* in;
  unsigned* out;
  unsigned* words;  // zeroed
  unsigned first;
  unsigned stride;
  unsigned n;
};
