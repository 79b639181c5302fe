#pragma once
#include "engine/device/image.hpp"
#include "engine/ops/variant.hpp"
#include "kernels/chip.hpp"

/// How long a kernel takes on a chip at least, by what its memory and its schedulers can do. Modelled, not measured: all SMs
/// are busy from first to last, nothing waits, and neither the rates of single pipes nor what is done once a block (the
/// norm, x into shared memory) are in it.
namespace m40llm::bench {

/// That all warps of a product issue, by the sizes of its loops in the machine code.
double issued_by_warps(const KernelResources& kernel, const ProductRounds& rounds);
/// Of a thread, for one weight, by the loop over pieces alone; 0 if it is no product.
double loop_instructions_a_weight(const KernelResources& kernel, const ProductRounds& rounds);
/// Likewise of all that is issued for the rows: ends of rows, and lanes without a piece, are in it.
double instructions_a_weight(const KernelResources& kernel, const ProductRounds& rounds);

struct Roofline {
  double memory_us = 0;
  double issue_us = 0;

  bool by_issue() const { return issue_us > memory_us; }
  double time_us() const { return by_issue() ? issue_us : memory_us; }
};
Roofline roofline(const ChipLimits& chip, const ChipSpeed& speed, double bytes, double warp_instructions);

}  // namespace m40llm::bench
