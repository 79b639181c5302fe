#include <algorithm>
#include <cstdio>
#include <iostream>
#include <set>

#include "bench/options.hpp"
#include "bench/pattern.hpp"
#include "bench/provenance.hpp"
#include "bench/roofline.hpp"
#include "bench/run_log.hpp"
#include "bench/suite.hpp"
#include "engine/device/occupancy.hpp"
#include "engine/error.hpp"

/// m40llm-occupancy: how many warps every kernel keeps on an SM of the Tesla M40, by its machine code and its
/// launches, and how many instructions its products take for a weight.
namespace m40llm::bench {
namespace {

constexpr const char* kProgram = "m40llm-occupancy";

std::string text(const LaunchConfig& launch) {
  std::string grid = std::to_string(launch.grid.x);
  if (launch.grid.y > 1) grid += "x" + std::to_string(launch.grid.y);
  return grid + " x " + std::to_string(launch.block);
}

/// The first that applies, as in the op's table.
bool is_default(const Suite& suite, const VariantInfo& variant, const Shape& shape) {
  const std::vector<VariantInfo> all = suite.variants();
  const auto chosen =
      std::ranges::find_if(all, [&](const VariantInfo& v) { return suite.applies(v.name, shape); });
  return chosen != all.end() && chosen->name == variant.name;
}

/// "4.56", or nothing where there is no product.
std::string a_weight(double instructions) {
  if (instructions == 0) return "";
  char text[32];
  std::snprintf(text, sizeof text, "%.2f", instructions);
  return text;
}

Json record(const Suite& suite, const VariantInfo& variant, const Shape& shape, const LaunchConfig& launch,
            const KernelResources& kernel, const Occupancy& o) {
  const Image* image = find_image(kGm200.arch, kernel.name);
  return {
      {"kind", "occupancy"},
      {"op", suite.op()},
      {"variant", variant.name},
      {"kernel", kernel.name},
      {"source", suite.source()},
      {"shape", named(shape)},
      {"arch", kGm200.arch},
      {"chip", kGm200.name},
      {"image", {{"arch", kGm200.arch}, {"hash", image != nullptr ? Json(hex(image->hash)) : Json(nullptr)}}},
      {"launch", launch_json(launch)},
      {"registers", kernel.registers},
      {"static_shared_bytes", kernel.static_shared_bytes},
      {"local_bytes", kernel.local_bytes},
      {"spill_bytes", kernel.spill_bytes},
      {"blocks_per_sm", o.blocks_per_sm},
      {"warps_per_sm", o.warps_per_sm},
      {"occupancy", modelled(o.occupancy, "registers, shared memory and block size by the chip's limits")},
      {"filled", modelled(o.filled, "warps of the fullest wave over all that the chip holds")},
      {"limiter", to_string(o.limiter)},
      {"sm_limiter", to_string(o.sm_limiter)},
      {"waves", o.waves},
      {"tail_fraction", modelled(o.tail_fraction, "empty block slots in the last wave")}};
}

int run(const std::vector<std::string>& command) {
  std::string json;
  std::string filter;
  std::string device = "auto";
  std::string image = "auto";
  bool only_default = false;
  CommandLine line(
      "Theoretical occupancy of every kernel and launch on the Tesla M40 (sm_52), from its machine code. "
      "Needs no "
      "device and opens none.",
      kProgram);
  line.text("--filter", filter, "only lines \"op/variant shape\" that contain a match", "REGEX");
  line.flag("--default", only_default, "only the variants that the engine chooses at these shapes");
  line.text("--device", device, "auto, cuda, cuda:N or simt, as everywhere; the figures do not depend on it",
            "NAME");
  line.text("--image", image, "the kernels' machine code: auto or sm_52, which is the same here", "ARCH");
  add_json_flag(line, json);
  if (const auto code = line.parse(command)) return *code;
  check_device_name(device);
  if (image != "auto" && image != kGm200.arch) {
    throw Error("--image '" + image + "': occupancy is modelled from the image of " +
                std::string(kGm200.arch) + "; expected that or auto");
  }
  const Pattern wanted(filter, "--filter");

  struct Row {
    const Suite* suite;
    VariantInfo variant;
    Shape shape;
    std::string kernel;
    LaunchConfig launch;
    std::string name() const { return suite->op() + "/" + variant.name; }
  };
  std::vector<Row> rows;
  for (const auto& suite : suites()) {
    for (const VariantInfo& variant : suite->variants()) {
      std::set<std::string> seen;
      for (const Shape& shape : suite->shapes(Sweep::model)) {
        Row row{suite.get(), variant, shape, {}, {}};
        if (!suite->applies(variant.name, shape) || (only_default && !is_default(*suite, variant, shape)) ||
            !wanted.is_in(row.name() + " " + to_string(shape)) || !seen.insert(to_string(shape)).second)
          continue;
        for (const Launch& launch : suite->launches(variant.name, shape, kGm200.n_sms)) {
          if (launch.library_call) continue;  // whose kernels are not ours to look at
          row.kernel = launch.kernel.name;
          row.launch = launch.config;
          rows.push_back(row);
        }
      }
    }
  }
  if (rows.empty()) throw Error("no kernel matches --filter '" + filter + "'");

  std::cerr << "device: none needed; modelled for " << kGm200.name << " (" << kGm200.arch << ", "
            << kGm200.n_sms << " SMs) from the kernels' machine code\n";
  RunLog log(json, command, nullptr);
  std::cerr
      << "read off it: regs, shared (static + the launch's dynamic), local, loop (instructions of a "
         "product's main loop, all that stand in it); modelled: the others. i/w: instructions of a thread "
         "for a weight, by the main loop alone and with what a row's end takes at the shape\n";
  std::printf("%-26s %-12s %4s %11s %5s %6s %8s %5s  %-9s %5s %5s %5s %8s %6s  %s\n", "op/variant", "launch",
              "regs", "shared", "local", "blk/SM", "resident", "occ", "limiter", "waves", "tail", "loop",
              "i/w loop", "i/w", "shape");
  std::size_t done = 0;
  std::size_t failed = 0;
  for (const Row& row : rows) {
    if (interrupted()) break;
    const KernelResources& kernel = sm52_resources(row.kernel);
    const LaunchConfig& launch = row.launch;
    const Occupancy o = occupancy(kGm200, kernel, launch);
    log.append(record(*row.suite, row.variant, row.shape, launch, kernel, o));
    const ProductRounds rounds = row.suite->rounds(row.shape);
    const std::string shared =
        std::to_string(kernel.static_shared_bytes) + "+" + std::to_string(launch.shared_bytes);
    std::printf("%-26s %-12s %4d %11s %5d %6d %8d %4.0f%%  %-9s %5lld %4.0f%% %5s %8s %6s  %s\n",
                row.name().c_str(), text(launch).c_str(), kernel.registers, shared.c_str(),
                kernel.local_bytes, o.blocks_per_sm, kGm200.n_sms * o.blocks_per_sm, 100 * o.occupancy,
                to_string(o.limiter).data(), o.waves, 100 * o.tail_fraction,
                rounds.weights == 0 ? "" : std::to_string(kernel.loop_instructions).c_str(),
                a_weight(loop_instructions_a_weight(kernel, rounds)).c_str(),
                a_weight(instructions_a_weight(kernel, rounds)).c_str(), to_string(row.shape).c_str());
    ++done;
    if (o.limiter == Limiter::invalid) {
      ++failed;
      std::printf("FAILED %s %s: not one block fits an SM\n", row.name().c_str(),
                  to_string(row.shape).c_str());
    }
  }
  log.sync();
  const std::size_t not_run = rows.size() - done;
  return log.finish(done - failed, failed, not_run, not_run > 0 ? "interrupted" : "", failed > 0 ? 1 : 0);
}

}  // namespace
}  // namespace m40llm::bench

int main(int argc, char** argv) {
  return m40llm::bench::run_program("m40llm-occupancy", argc, argv, m40llm::bench::run);
}
