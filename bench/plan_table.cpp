#include "bench/plan_table.hpp"

#include <algorithm>
#include <iomanip>
#include <span>
#include <sstream>
#include <vector>

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

std::string number(double value) {
  std::ostringstream out;
  out << std::fixed << std::setprecision(0) << value;
  return out.str();
}

void append(std::ostringstream& out, const std::string& label, const std::string& op, std::string_view format,
            const std::string& grid, const Work& work, const std::string& share) {
  out << std::left << std::setw(24) << label << std::setw(30) << op << std::setw(8) << format << std::setw(14)
      << grid << std::right << std::setw(13) << number(work.bytes) << std::setw(9) << share << std::setw(14)
      << number(work.flops) << "\n";
}

}  // namespace

std::string plan_table(const StepPlan& plan, int n_positions) {
  Work total;
  std::size_t launches = 0;
  for (const PlannedOp& op : plan) {
    total.bytes += op.work_at(n_positions).bytes;
    total.flops += op.work_at(n_positions).flops;
    launches += op.launches.size();
  }
  std::ostringstream out;
  out << "plan of a step that attends to " << n_positions
      << " positions (modelled: each input read once, each output written once; figures of one layer, shares "
         "of "
         "all that are alike)\n";
  out << std::left << std::setw(24) << "label" << std::setw(30) << "op/variant" << std::setw(8) << "format"
      << std::setw(14) << "grid x block" << std::right << std::setw(13) << "bytes" << std::setw(9) << "share"
      << std::setw(14) << "flops"
      << "\n";
  for (const Run& run : runs_of(plan)) {
    const int layer = run.first.front().layer;
    if (layer >= 0) {
      out << "layer " << layer;
      if (run.n_layers > 1) out << " to " << layer + run.n_layers - 1 << ", x " << run.n_layers;
      out << "\n";
    }
    for (const PlannedOp& op : run.first) {
      const Work work = op.work_at(n_positions);
      std::ostringstream share;
      share << std::fixed << std::setprecision(2) << 100 * run.n_layers * work.bytes / total.bytes << " %";
      append(out, (layer >= 0 ? "  " : "") + std::string(op.label), op.op + "/" + op.variant, op.format,
             grid_of(op), work, share.str());
    }
  }
  append(out, "total", std::to_string(launches) + " launches a token", "", "", total, "100.00 %");
  return out.str();
}

}  // namespace m40llm::bench
