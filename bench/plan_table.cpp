#include "bench/plan_table.hpp"

#include <algorithm>
#include <iomanip>
#include <span>
#include <sstream>
#include <vector>

#include "bench/roofline.hpp"
#include "engine/device/image.hpp"
#include "kernels/chip.hpp"

namespace m40llm::bench {
namespace {

using Ops = std::span<const PlannedOp>;

std::string grid_of(const PlannedOp& op) {
  std::string text;
  for (const Launch& launch : op.launches) {
    text += text.empty() ? "" : " + ";
    if (launch.library_call) {
      text += launch.kernel.name;
      continue;
    }
    text += std::to_string(launch.config.grid.x);
    if (launch.config.grid.y != 1) text += "," + std::to_string(launch.config.grid.y);
    text += " x " + std::to_string(launch.config.block);
  }
  return text;
}

bool alike(const PlannedOp& a, const PlannedOp& b) {
  return std::string_view(a.label) == b.label && a.op == b.op && a.variant == b.variant &&
         a.format == b.format && grid_of(a) == grid_of(b) && a.work.bytes == b.work.bytes &&
         a.work.flops == b.work.flops;
}

/// The ops from the first on that are of its layer.
Ops of_one_layer(Ops ops) {
  const auto end =
      std::ranges::find_if(ops, [&](const PlannedOp& op) { return op.layer != ops.front().layer; });
  return {ops.begin(), end};
}

/// So many layers from the first on, each with ops alike.
struct Run {
  Ops first;
  int n_layers = 1;
};
std::vector<Run> runs_of(Ops ops) {
  std::vector<Run> runs;
  while (!ops.empty()) {
    const Ops layer = of_one_layer(ops);
    if (layer.front().layer > 0 && std::ranges::equal(layer, runs.back().first, alike)) {
      ++runs.back().n_layers;
    } else {
      runs.push_back({layer});
    }
    ops = ops.subspan(layer.size());
  }
  return runs;
}

std::string number(double value, int decimals = 0) {
  std::ostringstream out;
  out << std::fixed << std::setprecision(decimals) << value;
  return out.str();
}

/// The machine code of a product, of which instructions are counted.
const KernelResources& product_kernel(const PlannedOp& op) {
  return sm52_resources(op.launches.front().kernel.name);
}

/// On a Tesla M40. Instructions are those of products: other ops are small, or read the cache.
Roofline on_m40(const PlannedOp& op, int n_positions) {
  const double instructions = op.rounds.weights == 0 ? 0 : issued_by_warps(product_kernel(op), op.rounds);
  return roofline(kGm200, kGm200Speed, op.work_at(n_positions).bytes, instructions);
}

struct Row {
  std::string label, op, format, grid, bytes, share, flops, a_weight, time_us, bound;
};
void append(std::ostringstream& out, const Row& row) {
  std::ostringstream line;
  line << std::left << std::setw(24) << row.label << std::setw(30) << row.op << std::setw(8) << row.format
       << std::setw(14) << row.grid << std::right << std::setw(13) << row.bytes << std::setw(9) << row.share
       << std::setw(14) << row.flops << std::setw(7) << row.a_weight << std::setw(10) << row.time_us
       << std::setw(7) << row.bound;
  const std::string text = line.str();
  out << text.substr(0, text.find_last_not_of(' ') + 1) << "\n";
}

/// "12.34 ms a token, 81.0 tokens/s"
std::string token_time(double us) {
  return number(us / 1e3, 2) + " ms a token, " + number(1e6 / us, 1) + " tokens/s";
}

}  // namespace

std::string plan_table(const StepPlan& plan, int n_positions) {
  Work total;
  double time_us = 0;
  std::size_t launches = 0;
  for (const PlannedOp& op : plan) {
    total.bytes += op.work_at(n_positions).bytes;
    total.flops += op.work_at(n_positions).flops;
    time_us += on_m40(op, n_positions).time_us();
    launches += op.launches.size();
  }
  std::ostringstream out;
  out << "plan of a step that attends to " << n_positions
      << " positions (modelled: each input read once, each output written once; figures of one layer, shares "
         "of all that are alike; i/w: instructions of sm_52's machine code for a weight; M40 us: the longer "
         "of "
         "bytes over bandwidth and instructions over issue rate)\n";
  append(out, {"label", "op/variant", "format", "grid x block", "bytes", "share", "flops", "i/w", "M40 us",
               "bound"});
  for (const Run& run : runs_of(plan)) {
    const int layer = run.first.front().layer;
    if (layer >= 0) {
      out << "layer " << layer;
      if (run.n_layers > 1) out << " to " << layer + run.n_layers - 1 << ", x " << run.n_layers;
      out << "\n";
    }
    for (const PlannedOp& op : run.first) {
      const Work work = op.work_at(n_positions);
      const Roofline time = on_m40(op, n_positions);
      const bool product = op.rounds.weights > 0;
      append(out, {(layer >= 0 ? "  " : "") + op.label, op.op + "/" + op.variant, std::string(op.format),
                   grid_of(op), number(work.bytes),
                   number(100 * run.n_layers * work.bytes / total.bytes, 2) + " %", number(work.flops),
                   product ? number(instructions_a_weight(product_kernel(op), op.rounds), 2) : "",
                   number(time.time_us(), 1), time.by_issue() ? "issue" : "bytes"});
    }
  }
  append(out, {"total", std::to_string(launches) + " launches a token", "", "", number(total.bytes),
               "100.00 %", number(total.flops), "", number(time_us, 1), ""});
  out << "modelled for a " << kGm200.name << ": " << token_time(time_us) << "; with "
      << number(kGm200Speed.launch_us, 1) << " us for each launch "
      << token_time(time_us + static_cast<double>(launches) * kGm200Speed.launch_us) << "\n";
  return out.str();
}

}  // namespace m40llm::bench
