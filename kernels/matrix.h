#pragma once
#include "kernels/formats.h"
#include "kernels/types.h"

/// A weight matrix on the device, row-major, as the loader repacks it (GGUF's blocks of 18, 20 and 34 bytes
/// cannot be read 16 bytes at a time). One row holds `cols` weights; rows are `stride` values apart, stride
/// is a multiple of 32 and what lies behind `cols` is zero. `values` is 256-byte aligned.
///
/// format  values                                             scales
/// F32     float [rows][stride]                               -
/// F16     half  [rows][stride]                               -
/// BF16    the upper half of a float [rows][stride]           -
/// Q8_0    signed char [rows][stride], w = d q                half d [rows][stride / 32]
/// Q4_1    16 bytes a block of 32 [rows][stride / 32][16],    half d, m [rows][stride / 32][2]
///         byte j: weight j low nibble, weight j + 16 high;
///         w = d q + m
/// Q4_0    as Q4_1, w = d (q - 8)                            half d [rows][stride / 32]
/// Q4_K    128 bytes a block of 256, of which byte 32 g + j:  half d, dmin; then 12 bytes of 6-bit scales and
///         weight 64 g + j low nibble, weight 64 g + 32 + j   minima of its 8 sub-blocks of 32 (formats.cuh)
///         high; w = d scale q - dmin minimum                 [rows][stride / 256][16 bytes]
/// Q5_K    160 bytes a block of 256: of its byte j bit s is   as Q4_K [rows][stride / 256][16 bytes]
///         the fifth of weight 32 s + j; behind 32 of them
///         128 as Q4_K's; w as Q4_K
/// Q6_K    192 bytes a block of 256: of each half of 128      signed char scale of 16 weights [16], half d
///         weights 64 bytes with the lower four bits, then    [rows][stride / 256][18 bytes]
///         of each half 32 bytes with the upper two
///         (formats.cuh); w = d scale (q - 32)
/// cols is a multiple of the format's block (the GGUF specification).
struct Matrix {
  const void* values;
  const half* scales;  // null for formats without scales
  int rows;
  int cols;
  int stride;
  Format format;
};
