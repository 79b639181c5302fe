// m40llm-nvrtc: compiles one kernels/*.cu for every arch asked for and writes the machine code, the C++ file
// that embeds it and the list of headers it read. Run by the build (scripts/cmake/CudaImages.cmake).
#define XXH_INLINE_ALL
#include <xxhash.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <filesystem>
#include <future>
#include <iostream>
#include <map>
#include <optional>
#include <stdexcept>

#include "kernels/chip.hpp"
#include "kernels/image/compile.hpp"
#include "kernels/image/cubin.hpp"
#include "kernels/image/embed.hpp"
#include "kernels/image/file.hpp"
#include "kernels/image/ptx.hpp"

namespace m40llm::image {
namespace {

struct Options {
  std::vector<std::string> archs;
  std::filesystem::path root;
  std::filesystem::path out;
  std::filesystem::path depfile;
  std::string toolkit;
  std::filesystem::path source;
};

void declare(CLI::App& app, Options& options) {
  app.add_option("--arch", options.archs, "sm_52 (machine code) or compute_52 (PTX); repeatable")
      ->required()
      ->allow_extra_args(false)
      ->check([](const std::string& arch) {
        const bool known = arch.starts_with("sm_") || arch.starts_with("compute_");
        return known ? std::string() : "'" + arch + "': expected sm_NN or compute_NN";
      });
  app.add_option("--include", options.root,
                 "where #include \"...\" is looked up, and what messages name the source from")
      ->required();
  app.add_option("--out", options.out, "folder that gets SOURCE.<arch>.cubin or .ptx and SOURCE.images.cpp")
      ->required();
  app.add_option("--depfile", options.depfile, "file that gets the Makefile rule of all that was read")
      ->required();
  app.add_option("--toolkit", options.toolkit, "NVRTC's version, as records name it")->required();
  app.add_option("source", options.source, "the kernels' file")->required();
}

Source read_source(const Options& options) {
  const std::optional<std::string> text = read_file(options.source);
  if (!text) throw std::runtime_error("cannot read " + options.source.string());
  const std::filesystem::path name = std::filesystem::relative(options.source, options.root);
  const bool outside = name.empty() || *name.begin() == "..";
  return {outside ? options.source.filename().string() : name.string(), *text, options.root};
}

/// sm_52 alone first: its assembler refuses what PTX for compute_52 lets pass, such as too much shared
/// memory, and the message then stands by itself. Then the others side by side.
std::vector<Compiled> compile_all(const Source& source, std::vector<std::string> archs) {
  std::ranges::stable_partition(archs, [](const std::string& arch) { return arch == kGm200.arch; });
  std::vector<Compiled> compiled;
  compiled.push_back(compile(source, archs.front()));
  std::vector<std::future<Compiled>> others;
  for (std::size_t i = 1; i < archs.size(); ++i) {
    others.push_back(std::async(std::launch::async,
                                [&, i] { return compile(source, archs[i], compiled.front().headers); }));
  }
  for (std::future<Compiled>& other : others) compiled.push_back(other.get());
  return compiled;
}

std::vector<KernelRow> kernel_rows(const Compiled& compiled) {
  const std::map<std::string, std::string> ptx_kernels = read_ptx(compiled.ptx);
  std::vector<KernelRow> rows;
  if (compiled.cubin.empty()) {
    for (const auto& [name, data] : ptx_kernels) rows.push_back({.kernel = {.name = name}});
    return rows;
  }
  for (CubinKernel& kernel : read_cubin(std::as_bytes(std::span(compiled.cubin)))) {
    const std::string& data = ptx_kernels.at(kernel.name);
    if (!data.empty()) kernel.code_hash = XXH3_64bits_withSeed(data.data(), data.size(), kernel.code_hash);
    const auto spill = compiled.spills.find(kernel.name);
    rows.push_back({kernel, spill == compiled.spills.end()
                                ? 0
                                : spill->second.stores_bytes + spill->second.loads_bytes});
  }
  return rows;
}

/// What a kernel does that it must not, a line each, or nothing.
std::string complaints(const Source& source, const Compiled& compiled, const std::vector<KernelRow>& rows) {
  std::string text;
  if (rows.empty()) text += source.name + ": no __global__ function in it\n";
  if (compiled.arch != kGm200.arch) return text;
  for (const KernelRow& row : rows) {
    const CubinKernel& kernel = row.kernel;
    const std::string who = source.name + ": error: kernel '" + kernel.name + "' on " + compiled.arch + " ";
    if (row.spill_bytes > 0) {
      const Spill& spill = compiled.spills.at(kernel.name);
      text += who + "spills: " + std::to_string(spill.stores_bytes) + " bytes of stores and " +
              std::to_string(spill.loads_bytes) + " of loads a thread at " +
              std::to_string(kernel.registers) + " registers\n";
    } else if (kernel.frame_bytes > 0) {
      text += who + "keeps " + std::to_string(kernel.frame_bytes) +
              " bytes a thread in local memory: an array with an index that is not known when compiling, or "
              "a call\n";
    }
  }
  return text;
}

void run(Options options) {
  for (std::filesystem::path* path : {&options.root, &options.out, &options.depfile, &options.source})
    *path = std::filesystem::absolute(*path).lexically_normal();
  std::ranges::sort(options.archs);
  options.archs.erase(std::ranges::unique(options.archs).begin(), options.archs.end());

  const Source source = read_source(options);
  // NVRTC writes the current folder before the source's name into the machine code, whose hash would then say
  // where it was built. In the root folder the code names "/kernels/rms_norm.cu" wherever the checkout lies.
  std::filesystem::current_path("/");
  const std::vector<Compiled> all = compile_all(source, options.archs);
  const std::string stem = options.source.stem().string();

  std::vector<ImageFile> images;
  Headers headers;
  std::string text;
  for (const Compiled& compiled : all) {
    std::vector<KernelRow> rows = kernel_rows(compiled);
    // Each arch has the same warnings to give.
    if (text.find(compiled.diagnostics) == text.npos) text += compiled.diagnostics;
    text += complaints(source, compiled, rows);
    headers.insert(compiled.headers.begin(), compiled.headers.end());
    const bool ptx = compiled.cubin.empty();
    const std::string file = stem + "." + compiled.arch + (ptx ? ".ptx" : ".cubin");
    images.push_back(
        {compiled.arch, ptx, ptx ? compiled.ptx : compiled.cubin, options.out / file, std::move(rows)});
  }
  if (!text.empty()) throw std::runtime_error(text);

  std::filesystem::create_directories(options.out);
  for (const ImageFile& image : images) write_if_changed(image.path, image.code);
  const std::filesystem::path embedded = options.out / (stem + ".images.cpp");
  std::set<std::filesystem::path> read = {options.source};
  for (const auto& [name, header] : headers) read.insert((source.root / name).lexically_normal());
  const std::string rule = depfile(embedded, read);
  write_if_changed(options.depfile, rule);
  const std::string cpp = embedding(stem, source, options.toolkit, images);
  write_if_changed(embedded, cpp);
}

}  // namespace
}  // namespace m40llm::image

int main(int argc, char** argv) {
  m40llm::image::Options options;
  CLI::App app("Compiles one kernels/*.cu for every arch asked for.", "m40llm-nvrtc");
  m40llm::image::declare(app, options);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }
  try {
    m40llm::image::run(options);
    return 0;
  } catch (const std::exception& error) {
    const std::string message = error.what();
    std::cerr << message << (message.ends_with('\n') ? "" : "\n");
    return 1;
  }
}
