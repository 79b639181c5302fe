#include "kernels/image/compile.hpp"

#include <nvrtc.h>

#include <cstring>
#include <memory>
#include <optional>
#include <sstream>
#include <stdexcept>
#include <string_view>
#include <vector>

#include "kernels/image/file.hpp"

namespace m40llm::image {
namespace {

void check(nvrtcResult result, const char* call) {
  if (result != NVRTC_SUCCESS)
    throw std::runtime_error(std::string(call) + ": " + nvrtcGetErrorString(result));
}

struct DestroyProgram {
  void operator()(nvrtcProgram program) const { nvrtcDestroyProgram(&program); }
};
using Program = std::unique_ptr<std::remove_pointer_t<nvrtcProgram>, DestroyProgram>;

/// NVRTC gets its headers from memory, under the names that the #include lines use, and sees no folder at
/// all.
Program create_program(const Source& source, const Headers& headers) {
  std::vector<const char*> texts;
  std::vector<const char*> names;
  for (const auto& [name, text] : headers) {
    names.push_back(name.c_str());
    texts.push_back(text.c_str());
  }
  nvrtcProgram program = nullptr;
  check(nvrtcCreateProgram(&program, source.text.c_str(), source.name.c_str(),
                           static_cast<int>(headers.size()), texts.data(), names.data()),
        "nvrtcCreateProgram");
  return Program(program);
}

/// The log, the PTX or the cubin: what a pair of NVRTC's functions gives.
std::string output(const Program& program, decltype(nvrtcGetPTXSize) get_size, decltype(nvrtcGetPTX) get) {
  std::size_t size = 0;
  check(get_size(program.get(), &size), "the size of NVRTC's output");
  std::string text(size, '\0');
  check(get(program.get(), text.data()), "NVRTC's output");
  return text;
}

std::string between(std::string_view line, char quote) {
  const std::size_t begin = line.find(quote);
  const std::size_t end = line.find(quote, begin + 1);
  return begin == line.npos || end == line.npos ? "" : std::string(line.substr(begin + 1, end - begin - 1));
}

/// The header without which the compile stopped, if that was the reason.
std::optional<std::string> missing_header(const std::string& log) {
  constexpr std::string_view kMessage = "could not open source file ";
  const std::size_t at = log.find(kMessage);
  if (at == log.npos) return std::nullopt;
  return between(std::string_view(log).substr(at), '"');
}

/// Takes the log apart: reports of ptxas -v into spills, the line on old archs and the NULs NVRTC leaves
/// away, all else into diagnostics.
void read_log(std::string log, Compiled& compiled) {
  std::erase(log, '\0');
  std::istringstream lines(log);
  std::string kernel;
  for (std::string line; std::getline(lines, line);) {
    if (line.find_first_not_of(" \t\r") == line.npos) continue;
    if (line.find("Architectures prior to") != line.npos && line.find("deprecated") != line.npos) continue;
    constexpr std::string_view kEntry = "ptxas info    : Compiling entry function ";
    if (line.starts_with(kEntry)) kernel = between(line, '\'');
    if (line.starts_with("ptxas info")) continue;
    // "ptxas         .     448 bytes stack frame, 1028 bytes spill stores, 1128 bytes spill loads"
    if (line.starts_with("ptxas  ") && line.find("bytes stack frame") != line.npos) {
      std::istringstream numbers(line.substr(line.find('.') + 1));
      Spill spill;
      std::string word;
      int frame = 0;
      numbers >> frame >> word >> word >> word >> spill.stores_bytes >> word >> word >> word >>
          spill.loads_bytes;
      if (!numbers || kernel.empty())
        throw std::runtime_error("a line of ptxas that is not understood: " + line);
      // Functions that were not inlined are reported after the kernel that calls them: they count as its own.
      if (spill.stores_bytes + spill.loads_bytes > 0) {
        compiled.spills[kernel].stores_bytes += spill.stores_bytes;
        compiled.spills[kernel].loads_bytes += spill.loads_bytes;
      }
      continue;
    }
    compiled.diagnostics += line + "\n";
  }
}

}  // namespace

Compiled compile(const Source& source, const std::string& arch, Headers headers) {
  Compiled compiled;
  compiled.arch = arch;
  const std::string arch_flag = "--gpu-architecture=" + arch;
  const std::vector<const char*> flags = {arch_flag.c_str(), "--std=c++17",        "--fmad=false",
                                          "--ftz=false",     "--prec-div=true",    "--prec-sqrt=true",
                                          "-lineinfo",       "--ptxas-options=-v", "--no-source-include"};
  // NVRTC does not say what it includes. So it is given nothing at first and asked again with each header it
  // stops at (about 15 ms a round): what it ends with is exactly what the preprocessor wanted for this arch,
  // whatever the #if around it.
  for (;;) {
    const Program program = create_program(source, headers);
    const nvrtcResult result =
        nvrtcCompileProgram(program.get(), static_cast<int>(flags.size()), flags.data());
    const std::string log = output(program, nvrtcGetProgramLogSize, nvrtcGetProgramLog);
    if (result == NVRTC_SUCCESS) {
      read_log(log, compiled);
      compiled.ptx = output(program, nvrtcGetPTXSize, nvrtcGetPTX);
      if (!arch.starts_with("compute_")) compiled.cubin = output(program, nvrtcGetCUBINSize, nvrtcGetCUBIN);
      compiled.headers = std::move(headers);
      return compiled;
    }
    const std::optional<std::string> missing = missing_header(log);
    std::optional<std::string> text =
        missing && !headers.contains(*missing) ? read_file(source.root / *missing) : std::nullopt;
    if (!text) {
      read_log(log, compiled);
      if (compiled.diagnostics.empty())
        compiled.diagnostics = std::string(nvrtcGetErrorString(result)) + "\n";
      throw std::runtime_error(source.name + " does not compile for " + arch + ":\n" + compiled.diagnostics);
    }
    headers.emplace(*missing, std::move(*text));
  }
}

}  // namespace m40llm::image
